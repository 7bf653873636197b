"""Dropout masks that do not depend on the number of processes that share a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import ShapeError
from tinygrad_llm.nn import Module, draw_dropout_from
from tinygrad_llm.random import Generator, Shape


class SharedMasks(Generator):
    """A generator whose dropout masks are rows of the masks of a larger batch.

    All processes read the same random stream: each draws the values of its own rows and skips those of the others. The
    masks, and the position of the stream after them, are therefore those of a process that has the whole batch.
    Skipping costs about half as much as drawing.

    Shapes: a mask is (b, ...) for the b rows of this process, or (k · b, ...) for k batches of them, concatenated
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed)
        self.part: tuple[int, int, int] | None = None  # first row, row after the last, rows of the whole batch

    @contextmanager
    def of_rows(self, rows: slice, whole: int) -> Iterator[None]:
        """Context in which masks are for these rows of a batch of `whole` rows, which may be a part itself."""
        before = self.part
        first, _, all_rows = before or (0, whole, whole)
        self.part = first + rows.start, first + rows.stop, all_rows
        try:
            yield
        finally:
            self.part = before

    def dropout_mask(self, shape: Shape, p: float) -> NDArray[np.bool_]:
        start, stop, whole = self.part or (0, 1, 1)
        mine = stop - start
        if mine == whole:
            return super().dropout_mask(shape, p)
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        if not sizes or not mine or sizes[0] % mine:
            raise ShapeError(
                f"dropout among several processes: the first axis must count the examples, {mine} or a multiple; got "
                f"{sizes}: give the model its batch first"
            )
        row = math.prod(sizes[1:])
        parts = []
        for _ in range(sizes[0] // mine):
            self.skip_dropout_mask(start * row, p)
            parts.append(super().dropout_mask((mine, *sizes[1:]), p))
            self.skip_dropout_mask((whole - stop) * row, p)
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


def share_masks(model: Module, generator: Generator) -> SharedMasks:
    """Make the model draw its dropout masks from a `SharedMasks` that continues the stream of `generator`, if this is
    none itself: one that draws a part of a batch goes on with it.
    """
    if isinstance(generator, SharedMasks):
        masks = generator
    else:
        masks = SharedMasks(generator.seed)
        masks.set_state(generator.state())
    draw_dropout_from(model, masks)
    return masks
