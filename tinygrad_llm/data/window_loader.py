"""Batches of windows for pretraining: every token once per epoch, cut at a different place each time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_llm.data.id_file import release_pages
from tinygrad_llm.data.random_order import random_order
from tinygrad_llm.data.windows import SlidingWindows
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator, default_generator

Batch = tuple[NDArray[np.int64], NDArray[np.int64]]


class WindowLoader:
    """Each `iter()` is one epoch: neighbouring windows in random order, the first starting at a random offset.

    A fixed cut would show the model the same beginnings in every epoch; the offset, drawn below `context_length`, moves
    all windows together, so that none overlap and nearly every token is still seen once. A last batch that is not
    full is left out. Random numbers come from `generator`, else from the default one.

    Memory does not grow with the text: ids may be mapped (see id_file.py), and the order of more than 262,144 windows
    is worked out batch by batch (see random_order.py).

    Shapes: ids (N,), possibly memory-mapped -> per batch (batch_size, context_length) twice, the second shifted by one
    Raises: DataError if the ids do not fill one batch; ConfigError for a batch_size below 1
    """

    def __init__(
        self, ids: ArrayLike, context_length: int, batch_size: int, generator: Generator | None = None
    ) -> None:
        self.windows = SlidingWindows(ids, context_length)
        self.context_length, self.batch_size = self.windows.context_length, int(batch_size)
        if batch_size < 1:
            raise ConfigError(f"WindowLoader: batch_size must be at least 1; got {batch_size}")
        self.generator = default_generator() if generator is None else generator
        self._epoch_start: dict[str, Any] | None = None  # the generator's state before the running epoch drew
        self._batches = 0  # given out in the running epoch
        self._resumed = False

    def __iter__(self) -> Iterator[Batch]:
        if not self._resumed:
            self._epoch_start, self._batches = self.generator.state(), 0
        elif self._epoch_start is not None:  # draw the running epoch's order again, and leave the stream after it
            self.generator.set_state(self._epoch_start)
        self._resumed = False
        return self._epoch()

    def _epoch(self) -> Iterator[Batch]:
        ids, width = self.windows.ids, self.context_length
        spare = ids.size - 1 - width  # a text of one window has no room to move
        offset = int(self.generator.randint(0, min(width, spare + 1)))
        order = random_order((ids.size - 1 - offset) // width, self.generator)
        size = min(self.batch_size, len(order))
        within = np.arange(width + 1)
        while (self._batches + 1) * size <= len(order):
            first = offset + width * order[self._batches * size : (self._batches + 1) * size]
            batch = ids[first[:, None] + within].astype(np.int64)
            self._batches += 1
            release_pages(ids)
            yield batch[:, :-1], batch[:, 1:]
        self._epoch_start = None

    def state(self) -> dict[str, Any]:
        """The place in the epoch and in the random stream: the batch after the one in hand comes next."""
        running = self._epoch_start is not None
        return {
            "tokens": int(self.windows.ids.size),
            "batch_size": self.batch_size,
            "epoch_start": self._epoch_start if running else self.generator.state(),
            "batches": self._batches if running else 0,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Stand where `state()` was taken. Raises ConfigError for other data, another batch_size, or no state."""
        try:
            for name, here in (("tokens", self.windows.ids.size), ("batch_size", self.batch_size)):
                if state[name] != here:
                    raise ConfigError(
                        f"WindowLoader.set_state: {name} must be what it was, {state[name]}; got {here}: "
                        "resume with the same text, tokenizer and settings"
                    )
            self.generator.set_state(state["epoch_start"])
            self._epoch_start, self._batches, self._resumed = state["epoch_start"], int(state["batches"]), True
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"WindowLoader.set_state: needs what state() gave; {error!r}") from error


class WindowBatches:
    """The windows of a text in order, as a sequence of batches: what a loss is measured on.

    Shapes: ids (N,) -> item i: (B, context_length) twice, the second shifted by one; the last may have fewer rows
    Raises: DataError if the ids are too few for one window
    """

    def __init__(self, ids: ArrayLike, context_length: int, batch_size: int) -> None:
        self.windows = SlidingWindows(ids, context_length)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.windows) // self.batch_size)

    def __getitem__(self, index: int) -> Batch:
        if not 0 <= index < len(self):
            raise IndexError(index)  # ends a plain `for` over the sequence
        stop = min((index + 1) * self.batch_size, len(self.windows))
        pairs = [self.windows[i] for i in range(index * self.batch_size, stop)]
        release_pages(self.windows.ids)
        return np.stack([inputs for inputs, _ in pairs]), np.stack([targets for _, targets in pairs])
