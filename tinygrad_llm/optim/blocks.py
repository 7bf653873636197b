"""Walk arrays of one shape together, in pieces that stay in the processor's L2 cache.

An update reads and writes its arrays about a dozen times. Over a whole array each of those passes comes from memory;
over a piece that fits the cache only the first does.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygrad_llm.arrays import Array

# Elements per piece. An update touches five arrays: 5 × 64K × 4 bytes = 1.25 MB. Measured flat from 32K to 128K.
BLOCK = 65_536


def blocks(target: Array, *others: Array) -> Iterator[tuple[Array, ...]]:
    """Yield flat pieces, of at most `BLOCK` elements in C order, of `target` and `others`, all of one shape.

    What is written into a piece of `target` ends up in `target`, whatever its strides. The pieces of the others are
    views, writable like the array itself, where that is C-contiguous, and copies to read from where it is not.
    """
    # `flat` reads and writes any layout in C order but copies; a reshaped contiguous array costs nothing.
    flat = [array.reshape(-1) if array.flags.c_contiguous else array.flat for array in (target, *others)]
    is_view = target.flags.c_contiguous
    for start in range(0, target.size, BLOCK):
        piece = slice(start, start + BLOCK)
        pieces = tuple([np.asarray(array[piece]) for array in flat])
        yield pieces
        if not is_view:
            flat[0][piece] = pieces[0]
