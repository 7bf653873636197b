"""The loss of a classifier that counts right answers: same loss, and the accuracy of training and evaluation."""

import numpy as np

from tinygrad_llm import manual_seed
from tinygrad_llm.finetune import Classifier, classification_loss
from tinygrad_llm.finetune.accuracy import CountingLoss
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.train import evaluating


def test_the_loss_is_the_same_and_right_answers_are_counted() -> None:
    manual_seed(1)
    body = GPT(GPTConfig(vocab_size=7, context_length=4, embedding_dim=8, num_heads=2, num_layers=1, dropout=0.0))
    model = Classifier(body, ["a", "b"], trainable="all")
    ids, lengths = np.arange(12).reshape(3, 4) % 7, np.array([4, 3, 2])
    answers = model(ids, lengths).data.argmax(axis=-1)
    batch = (ids, np.array([answers[0], answers[1], 1 - answers[2]]), lengths)
    loss = CountingLoss()
    assert loss.training_figure() == loss.validation_figure() == ""
    model.train()
    assert loss(model, batch).item() == classification_loss(model, batch).item()
    with evaluating(model):
        loss(model, (ids[:2], answers[:2], lengths[:2]))
    assert loss.training_figure() == "accuracy 66.7%"
    assert loss.validation_figure() == "accuracy 100.0%"
    assert loss.validation_figure() == ""


def test_counts_of_workers_are_those_of_their_rows_of_the_same_batch() -> None:
    first, worker = CountingLoss(), CountingLoss()
    first._trained.extend([(1, 4), (2, 4)])
    worker._trained.append((3, 3))
    worker._evaluated.append((1, 2))
    first.add_counts(worker.take_counts())
    assert list(first._trained) == [(1, 4), (5, 7)]
    assert first.validation_figure() == "accuracy 50.0%"
    assert worker.take_counts() == ([], [])
