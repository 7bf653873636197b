"""Training, evaluating and using a text classifier."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.data.padding import Encoder, encode_whole, pad_right
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune.metrics import ClassificationReport, confusion_matrix
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.models import Classifier
from tinygrad_llm.ops import cross_entropy, softmax
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train import evaluating
from tinygrad_llm.train.parallel.mapping import map_in_workers


def classification_loss(model: Any, batch: Any) -> Tensor:
    """The loss of a `Trainer` on batches (ids, classes, lengths). Units: nats per text."""
    return model.loss(*batch)


def evaluate_classifier(model: Classifier, batches: Iterable[Any], workers: int | None = None) -> ClassificationReport:
    """Loss, confusion matrix and the metrics computed from it, on batches (ids, classes, lengths) of one split.

    `workers` share the batches, as in `map_in_workers`. Raises: DataError if there are no batches
    """
    results = list(map_in_workers(partial(_judged, model), batches, model, workers))
    if not results:
        raise DataError("evaluate_classifier: at least one batch is needed; got none")
    losses, true, predicted = zip(*results, strict=True)
    confusion = confusion_matrix(np.concatenate(true), np.concatenate(predicted), len(model.config.labels))
    return ClassificationReport(sum(losses) / int(confusion.sum()), confusion)


def _judged(model: Classifier, batch: Any) -> tuple[float, Array, Array]:
    """The summed loss of a batch, its classes, and those that the model predicts."""
    ids, classes, lengths = batch
    with evaluating(model):
        logits = model(ids, lengths)
        loss = cross_entropy(logits, classes, reduction="sum").item()
    return loss, np.asarray(classes), logits.data.argmax(axis=-1)


def classify(
    model: Classifier,
    tokenizer: Encoder,
    texts: Sequence[str],
    max_length: int | None = None,
    pad_id: int = 0,
    batch_size: int = 32,
) -> Array:
    """The probability of each class for each text, cut after `max_length` tokens (default: the context length).

    Shapes: N texts -> (N, num_classes)
    Raises: DataError for a text of no tokens
    """
    longest = model.body.config.context_length if max_length is None else max_length
    rows = [encode_whole(tokenizer, text, longest) for text in texts]
    for text, row in zip(texts, rows, strict=True):
        if not row:
            raise DataError(f"a text must have at least one token; {shown(text)} has none")
    by_length = sorted(range(len(rows)), key=lambda row: len(rows[row]))  # little padding in each batch
    probabilities = np.empty((len(rows), len(model.config.labels)), model.body.head.weight.dtype)
    with evaluating(model):
        for start in range(0, len(rows), batch_size):
            places = by_length[start : start + batch_size]
            lengths = np.array([len(rows[place]) for place in places])
            ids = pad_right([rows[place] for place in places], int(lengths.max()), pad_id)
            probabilities[places] = softmax(model(ids, lengths)).data
    return probabilities
