"""The windows of a text in order, in batches, for the validation loss."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_llm.data.mapped import release_pages
from tinygrad_llm.data.window_loader import WindowBatch
from tinygrad_llm.data.windows import SlidingWindows


class WindowBatches:
    """The windows of a text in order, as a sequence of batches, for the validation loss.

    Shapes: ids (N,) -> item i: (B, context_length) twice, the second shifted by one; the last may have fewer rows
    Raises: DataError if the ids are too few for one window
    """

    def __init__(self, ids: ArrayLike, context_length: int, batch_size: int) -> None:
        self.windows = SlidingWindows(ids, context_length)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.windows) // self.batch_size)

    def __getitem__(self, index: int) -> WindowBatch:
        if not 0 <= index < len(self):
            raise IndexError(index)  # ends a plain `for` over the sequence
        stop = min((index + 1) * self.batch_size, len(self.windows))
        pairs = [self.windows[i] for i in range(index * self.batch_size, stop)]
        release_pages(self.windows.ids)
        return np.stack([inputs for inputs, _ in pairs]), np.stack([targets for _, targets in pairs])
