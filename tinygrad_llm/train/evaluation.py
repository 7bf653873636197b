"""Evaluation: the loss on data that is not trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import no_grad
from tinygrad_llm.nn import Module
from tinygrad_llm.train.batch_loss import Batches, Loss, count_targets, language_model_loss
from tinygrad_llm.train.trainer import Trainer


@contextmanager
def evaluating(model: Module) -> Iterator[None]:
    """Dropout off and nothing recorded; afterwards every module's mode is as it was."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with no_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def evaluate(model: Module, batches: Iterable[Any], loss: Loss = language_model_loss) -> float:
    """The mean loss over all targets of `batches`. Units: nats per target. Raises: ConfigError if there are none"""
    totals, counts = [], []
    with evaluating(model):
        for batch in batches:
            counts.append(count_targets(batch))
            totals.append(loss(model, batch).item() * counts[-1])
    return mean_over_targets(totals, counts)


def mean_over_targets(totals: Sequence[float], counts: Sequence[int]) -> float:
    """The mean over all targets, from the summed loss and the number of targets of each batch. Raises: ConfigError"""
    if not sum(counts):
        raise ConfigError("evaluate: at least one target is needed; got none")
    return sum(totals, 0.0) / sum(counts)


def evenly_spaced(batches: Batches, count: int) -> list[Any]:
    """`count` of the batches, spread over all of them; always the same, so that evaluations compare."""
    chosen = np.linspace(0, len(batches) - 1, min(count, len(batches))).round().astype(int)
    return [batches[int(i)] for i in chosen]


def batches_of(trainer: Trainer, count: int | None) -> list[Any]:
    """The validation batches of an evaluation: `count` of them, by default `eval_batches`. Raises: ConfigError"""
    if not trainer.validation:
        raise ConfigError("evaluate: this trainer was given no validation batches")
    return evenly_spaced(trainer.validation, trainer.settings.eval_batches if count is None else count)


def bits_per_byte(nats_per_token: float, tokens: int, text_bytes: int) -> float:
    """A loss that compares across tokenizers: what it costs to encode a byte of the text. Units: bits."""
    return nats_per_token / math.log(2) * tokens / max(text_bytes, 1)


def perplexity(loss: float) -> float:
    """e^loss: the number of equally likely tokens that would be as surprising. Units: tokens, from nats per token."""
    return math.exp(min(loss, 700.0))
