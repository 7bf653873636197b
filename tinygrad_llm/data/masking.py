"""Hiding words for a model to guess: what BERT is trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.data.padding import IGNORE_INDEX
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator

MASK = "[MASK]"
Masked = tuple[NDArray[np.int64], NDArray[np.int64]]


class Loader(Protocol):
    """Batches in epochs whose first part is ids (B, T), resumable: a `WindowLoader`."""

    def __iter__(self) -> Iterator[Any]: ...

    def state(self) -> dict[str, Any]: ...

    def set_state(self, state: Mapping[str, Any], /) -> None: ...


def mask_tokens(
    ids: NDArray[np.int64], mask_id: int, vocab_size: int, generator: Generator, share: float = 0.15
) -> Masked:
    """Hide a `share` of the tokens (Devlin et al. 2018, arXiv:1810.04805, section 3.1).

    Of those chosen 80% become `mask_id`, 10% any token, and 10% stay: the model cannot tell which words it will be
    asked for, and so has to know all of them. Any token is drawn below `vocab_size`, which may leave out the last ids.

    Shapes: ids (B, T) -> inputs (B, T), targets (B, T), -100 where nothing was chosen
    Raises: ConfigError for a share that is no probability
    """
    if not 0 <= share <= 1:
        raise ConfigError(f"mask_tokens: share must be a probability in [0, 1]; got {share}")
    ids = np.asarray(ids)
    chosen = generator.uniform(0, 1, ids.shape) < share
    fate, any_token = generator.uniform(0, 1, ids.shape), generator.randint(0, vocab_size, ids.shape)
    inputs = np.where(chosen & (fate < 0.8), mask_id, ids)
    inputs = np.where(chosen & (fate >= 0.9), any_token, inputs)
    return inputs, np.where(chosen, ids, IGNORE_INDEX)


def framed(masked: Masked, frame: Sequence[int]) -> Masked:
    """Masked rows between two ids, `[CLS]` and `[SEP]`, that are not to be guessed; as they are without a frame.

    Shapes: inputs and targets (B, T) -> (B, T + 2)
    """
    inputs, targets = masked
    if not frame:
        return masked
    first, last = (np.full((len(inputs), 1), token) for token in frame)
    unasked = np.full((len(inputs), 1), IGNORE_INDEX)
    return np.hstack([first, inputs, last]), np.hstack([unasked, targets, unasked])


class MaskedLoader:
    """The batches of another loader with words hidden, others in every epoch, each row in the `frame` of its text.

    `generator` draws which; its place in the stream is part of `state()`, so that a resumed run hides the same words.
    """

    def __init__(
        self,
        loader: Loader,
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
        """The place in the epoch and in both random streams."""
        return {"loader": self.loader.state(), "masking": self.generator.state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Stand where `state()` was taken. Raises ConfigError for other data, or what is no state."""
        try:
            inner, masking = state["loader"], state["masking"]
        except (KeyError, TypeError) as error:
            raise ConfigError(f"MaskedLoader.set_state: needs what state() gave; {error!r}") from error
        self.loader.set_state(inner)
        self.generator.set_state(masking)
