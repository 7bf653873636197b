"""One loss of a model on ids of zeros, for counting and timing: the cost of a forward does not depend on the ids."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.nn import Dropout, Module
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.random import Generator, default_generator
from tinygrad_llm.tensor import Tensor


@contextmanager
def zeros_to_read(model: Module, batch_size: int, tokens: int) -> Iterator[tuple[list[Array], Array]]:
    """Inputs and targets of zeros for `model`; afterwards its generators have the state that they had before.

    Raises: ConfigError for sizes below 1
    """
    if batch_size < 1 or tokens < 1:
        raise ConfigError(f"counting: batch_size and tokens must be at least 1; got {batch_size} and {tokens}")
    ids, targets = np.zeros((batch_size, tokens), np.int64), np.zeros((batch_size, tokens), np.int64)
    generators = {id(generator): generator for generator in _generators(model)}.values()
    before = [generator.state() for generator in generators]
    try:
        yield [ids] * _count_inputs(model), targets
    finally:
        for generator, state in zip(generators, before, strict=True):
            generator.set_state(state)  # counting never changes the training


def loss_of(model: Module, inputs: Sequence[Array], targets: Array) -> Tensor:
    """The loss of a training step: a language model's own, the cross-entropy of any other."""
    if isinstance(model, LanguageModel):
        return model.loss(inputs[0], targets)
    return cross_entropy(model(*inputs), targets)


def _count_inputs(model: Module) -> int:
    """The number of arrays of ids that the model reads: one, or a source and a target."""
    parameters = inspect.signature(model.forward).parameters.values()
    return sum(parameter.default is parameter.empty for parameter in parameters)


def _generators(model: Module) -> Iterator[Generator]:
    """The generators that the dropout of `model` draws from."""
    yield default_generator()
    for module in model.modules():
        if isinstance(module, Dropout) and module.generator is not None:
            yield module.generator
