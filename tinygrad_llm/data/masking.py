"""Masked language modelling: hide tokens for BERT to predict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.checks import expect_probability
from tinygrad_llm.data.padding import IGNORE_INDEX
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator

MASK = "[MASK]"
Masked = tuple[NDArray[np.int64], NDArray[np.int64]]


class BatchSource(Protocol):
    """Yields batches whose first part is ids (B, T), one epoch per iteration, and can resume: a `WindowLoader`."""

    def __iter__(self) -> Iterator[Any]: ...

    def state(self) -> dict[str, Any]: ...

    def set_state(self, state: Mapping[str, Any], /) -> None: ...


def mask_tokens(
    ids: NDArray[np.int64], mask_id: int, vocab_size: int, generator: Generator, share: float = 0.15
) -> Masked:
    """Choose a `share` of the tokens as targets (Devlin et al. 2018, arXiv:1810.04805, section 3.1).

    Of the chosen tokens 80% become `mask_id`, 10% a random token, and 10% stay: the model cannot tell which tokens it
    must predict, so it needs to represent all of them. Random tokens are below `vocab_size`, which may exclude the last
    ids.

    Shapes: ids (B, T) -> inputs (B, T), targets (B, T), -100 where no token was chosen
    Raises: ConfigError for a share outside [0, 1]
    """
    expect_probability("mask_tokens", "share", share)
    ids = np.asarray(ids)
    chosen = generator.uniform(0, 1, ids.shape) < share
    kind, random_token = generator.uniform(0, 1, ids.shape), generator.randint(0, vocab_size, ids.shape)
    inputs = np.where(chosen & (kind < 0.8), mask_id, ids)
    inputs = np.where(chosen & (kind >= 0.9), random_token, inputs)
    return inputs, np.where(chosen, ids, IGNORE_INDEX)


def framed(masked: Masked, frame: Sequence[int]) -> Masked:
    """Masked rows between the two ids of `frame`, `[CLS]` and `[SEP]`, which are no targets; unchanged without a frame.

    Shapes: inputs and targets (B, T) -> (B, T + 2)
    """
    inputs, targets = masked
    if not frame:
        return masked
    first, last = (np.full((len(inputs), 1), token) for token in frame)
    no_target = np.full((len(inputs), 1), IGNORE_INDEX)
    return np.hstack([first, inputs, last]), np.hstack([no_target, targets, no_target])


class MaskedLoader:
    """Batches of another loader with masked tokens, different ones in each epoch, each row within `frame`.

    The generator's state is part of `state()`, so that a resumed run masks the same tokens.
    """

    def __init__(
        self,
        loader: BatchSource,
        mask_id: int,
        vocab_size: int,
        generator: Generator,
        share: float = 0.15,
        frame: Sequence[int] = (),
    ) -> None:
        self.loader, self.generator, self.frame = loader, generator, frame
        self.mask_id, self.vocab_size, self.share = mask_id, vocab_size, share

    def __iter__(self) -> Iterator[Masked]:
        for ids, *_ in self.loader:
            yield framed(mask_tokens(ids, self.mask_id, self.vocab_size, self.generator, self.share), self.frame)

    def state(self) -> dict[str, Any]:
        """The position in the epoch and in both random streams."""
        return {"loader": self.loader.state(), "masking": self.generator.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state()` was taken.

        Raises: ConfigError for a state of other data, or a value that is not a state
        """
        try:
            inner, masking = state["loader"], state["masking"]
        except (KeyError, TypeError) as error:
            raise ConfigError(f"MaskedLoader.set_state: needs what state() gave; {error!r}") from error
        self.loader.set_state(inner)
        self.generator.set_state(masking)
