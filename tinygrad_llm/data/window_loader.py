"""Batches of windows for pretraining: each epoch reads every token once, cut into windows at a new offset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_llm import data
from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.mapped import release_pages
from tinygrad_llm.data.windows import SlidingWindows
from tinygrad_llm.random import Generator, default_generator

LONGEST_LIST = 1 << 18  # windows; shuffling a list of this length needs about 14 MB

WindowBatch: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]  # inputs and targets


class WindowLoader:
    """Inputs and targets in batches; each `iter()` is one epoch of adjacent windows in random order.

    An epoch's first window starts at a random offset below `context_length`, so that windows begin at other tokens in
    each epoch; windows never overlap, and nearly every token is read once. A last batch that is not full is dropped.
    A text of fewer than `batch_size` windows gives one smaller batch per epoch: see `rows_per_batch`. Random numbers
    come from `generator`; without one, a `Trainer` gives it a generator derived from the seed of its settings, and
    outside of a Trainer they come from the default generator.

    Memory does not grow with the text: ids may be memory-mapped (id_file.py), and the order of more than 262,144
    windows is computed batch by batch (random_order.py).

    Shapes: ids (N,) -> per batch inputs (B, T) and targets (B, T), T = context_length; targets are shifted by one
    Raises: DataError if the ids do not fill one window; ConfigError for a batch_size below 1
    """

    def __init__(
        self, ids: ArrayLike, context_length: int, batch_size: int, generator: Generator | None = None
    ) -> None:
        self.windows = SlidingWindows(ids, context_length)
        expect_count("WindowLoader", "batch_size", batch_size)
        self.context_length, self.batch_size = self.windows.context_length, int(batch_size)
        self._given = generator
        self._epoch_start: dict[str, Any] | None = None  # the generator's state before the current epoch drew
        self._batches = 0  # yielded in the current epoch
        self._resumed = False

    @property
    def generator(self) -> Generator:
        """The generator that the next random numbers are drawn from."""
        return default_generator() if self._given is None else self._given

    def default_to(self, generator: Generator) -> None:
        """Draw from `generator` from now on, unless one was given. A `Trainer` calls it."""
        if self._given is None:
            self._given = generator

    @property
    def rows_per_batch(self) -> int:
        """Windows in a batch: `batch_size`, or as many as the text has if those are fewer."""
        return min(self.batch_size, len(self.windows))

    def __iter__(self) -> Iterator[WindowBatch]:
        if not self._resumed:
            self._epoch_start, self._batches = self.generator.state(), 0
        elif self._epoch_start is not None:  # draw the current epoch's order again; the stream ends up after it
            self.generator.set_state(self._epoch_start)
        self._resumed = False
        return self._epoch()

    def _epoch(self) -> Iterator[WindowBatch]:
        ids, width = self.windows.ids, self.context_length
        spare = ids.size - 1 - width  # 0 for a text of one window, which has no other offset
        offset = int(self.generator.randint(0, min(width, spare + 1)))
        count = (ids.size - 1 - offset) // width
        is_short = count <= LONGEST_LIST
        order = self.generator.randperm(count) if is_short else data.RandomOrder(count, self.generator)
        rows = min(self.batch_size, len(order))
        columns = np.arange(width + 1)
        while (self._batches + 1) * rows <= len(order):
            starts = offset + width * order[self._batches * rows : (self._batches + 1) * rows]
            windows = ids[starts[:, None] + columns].astype(np.int64)
            self._batches += 1
            release_pages(ids)
            yield windows[:, :-1], windows[:, 1:]
        self._epoch_start = None

    def state(self) -> dict[str, Any]:
        """The position in the epoch and in the random stream: after `set_state`, the next batch comes next."""
        running = self._epoch_start is not None
        return {
            "tokens": int(self.windows.ids.size),
            "batch_size": self.batch_size,
            "epoch_start": self._epoch_start if running else self.generator.state(),
            "batches": self._batches if running else 0,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue from where `state()` was taken.

        Raises: ConfigError for a state of other data or another batch_size, or for a value that is not a state
        """
        data.expect_state_of("WindowLoader", state, self.state(), ("tokens", "batch_size"))
        self.generator.set_state(state["epoch_start"])
        self._epoch_start, self._batches, self._resumed = state["epoch_start"], state["batches"], True
