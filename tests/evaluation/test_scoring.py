"""Log-likelihoods with a shared cache equal those of one pass over the whole text."""

import numpy as np
import pytest

from tinygrad_llm import manual_seed, no_grad
from tinygrad_llm.errors import AnomalyError
from tinygrad_llm.evaluation.scoring import ContextReader
from tinygrad_llm.models import GPT, GPTConfig, Llama, LlamaConfig

SIZES = {"vocab_size": 23, "context_length": 12, "embedding_dim": 16, "num_heads": 2, "num_layers": 2}


def model_of(kind: str, dropout: float = 0.0) -> GPT | Llama:
    manual_seed(1)
    if kind == "gpt":
        return GPT(GPTConfig.from_dict({**SIZES, "dropout": dropout}))
    return Llama(LlamaConfig.from_dict({**SIZES, "window": 4}))


def log_probs_of(model: GPT | Llama, ids: list[int]) -> np.ndarray:
    """ln p of each id after the first, by one pass. Shapes: -> (T - 1,)"""
    with no_grad():
        logits = model(np.array([ids[:-1]])).data[0].astype(np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return log_probs[np.arange(len(ids) - 1), ids[1:]]


@pytest.mark.parametrize("kind", ["gpt", "llama"])
def test_contexts_that_share_a_beginning_are_scored_as_if_each_was_read_whole(kind: str) -> None:
    model = model_of(kind).eval()
    reader = ContextReader(model)
    start = [3, 1, 4, 1, 5]
    for context in (start, [*start, 9, 2], [*start, 9], [7], [3, 1, 4, 1, 5, 9, 2, 6], start):
        choices = [[8], [2, 7, 1], [6, 6]]
        scores = reader.score(context, choices)
        assert scores is not None
        for choice, score in zip(choices, scores, strict=True):
            expected = log_probs_of(model, context + choice)[len(context) - 1 :].sum()
            assert score.log_likelihood == pytest.approx(expected, rel=1e-5) and score.tokens == len(choice)


def test_a_text_longer_than_the_context_is_cut_at_its_beginning() -> None:
    model = model_of("gpt").eval()
    context, choices = list(range(11)), [[3], [1, 2, 3, 4]]
    for longest in (None, 6):
        reader, room = ContextReader(model, longest), longest or 12
        assert reader.cuts(context, choices) and not reader.cuts([1, 2], choices)
        for choice, score in zip(choices, reader.score(context, choices) or (), strict=True):
            text = (context + choice)[-(room + 1) :]  # the last token is only predicted
            expected = log_probs_of(model, text)[-len(choice) :].sum()
            assert score.log_likelihood == pytest.approx(expected, rel=1e-5)
    assert ContextReader(model, 3).score([1], choices) is None


def test_greedy_means_that_every_token_is_the_most_likely_one() -> None:
    model = model_of("gpt").eval()
    context = [5, 3]
    for _ in range(3):
        with no_grad():
            context.append(int(model(np.array([context])).data[0, -1].argmax()))
    best = context[2:]
    scores = ContextReader(model).score([5, 3], [best, [*best[:2], (best[2] + 1) % 23], best[:1]])
    assert [score.greedy for score in scores or ()] == [True, False, True]


def test_dropout_is_off_and_the_mode_is_kept() -> None:
    model = model_of("gpt", dropout=0.5).train()
    once, again = (ContextReader(model).score([1, 2], [[3, 4]]) for _ in range(2))
    assert once == again and model.training


def test_a_diverged_model_is_an_anomaly() -> None:
    model = model_of("gpt")
    model.token_embedding.weight.data[...] = np.nan
    with pytest.raises(AnomalyError, match="log-probabilities must be finite"):
        ContextReader(model).score([1], [[2]])
