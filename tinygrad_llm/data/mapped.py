"""Memory-mapped arrays: release their pages to the operating system."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray


def release_pages(array: NDArray[Any]) -> None:
    """Release the pages of a memory-mapped array that were read, so that they no longer count as this process's memory.

    The system reads them again when they are needed. An array that is not mapped stays unchanged.
    """
    base: Any = array
    while isinstance(base, np.ndarray):
        base = base.base
    if isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        base.madvise(mmap.MADV_DONTNEED)
