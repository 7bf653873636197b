"""Windows over one long sequence of token ids: the inputs and targets of a language model."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_llm.checks import expect_count
from tinygrad_llm.errors import DataError, DTypeError, IdRangeError, ShapeError


class SlidingWindows:
    """Pairs of `context_length` ids and the ids that follow each of them, taken every `stride` ids.

        inputs = ids[s : s + context_length],  targets = ids[s + 1 : s + 1 + context_length],  s = i · stride

    A stride of `context_length` (the default) uses each id once as an input; a smaller one overlaps the windows.
    The ids may be any 1-D array of integers, also a memory-mapped one: only the window that is indexed is read.

    Shapes: ids (N,) -> per window inputs (T,) and targets (T,), int64, T = context_length
    Units:  context_length and stride in tokens
    Raises: DataError if the ids are too few for one window; IdRangeError for a window that does not exist

    >>> windows = SlidingWindows([10, 11, 12, 13, 14], context_length=2)
    >>> [[part.tolist() for part in windows[i]] for i in range(len(windows))]
    [[[10, 11], [11, 12]], [[12, 13], [13, 14]]]
    """

    def __init__(self, ids: ArrayLike, context_length: int, stride: int | None = None) -> None:
        ids = np.asanyarray(ids)
        if ids.ndim != 1:
            raise ShapeError(f"SlidingWindows: ids must be one sequence (N,); got {ids.shape}")
        if ids.dtype.kind not in "iu" and ids.size > 0:
            raise DTypeError(f"SlidingWindows: ids must be integers; got {ids.dtype}")
        stride = context_length if stride is None else stride
        expect_count("SlidingWindows", "context_length", context_length)
        expect_count("SlidingWindows", "stride", stride)
        self.ids, self.context_length, self.stride = ids, int(context_length), int(stride)
        if ids.size <= self.context_length:
            raise DataError(
                f"SlidingWindows: a window of context_length {self.context_length} needs at least "
                f"{self.context_length + 1} tokens (the last target included); got {ids.size}: "
                "use a longer text or a smaller context_length"
            )

    def __len__(self) -> int:
        return len(range(0, self.ids.size - self.context_length, self.stride))

    def __getitem__(self, index: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        count = len(self)
        if not -count <= index < count:
            raise IdRangeError(f"SlidingWindows: index must be in 0..{count - 1}; got {index}")
        start = int(index) % count * self.stride
        window = np.array(self.ids[start : start + self.context_length + 1], np.int64)
        return window[:-1], window[1:]
