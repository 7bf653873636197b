"""The embedding lookup with a row for padding, which is not learned."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.errors import IdRangeError
from tinygrad_llm.primitives import where
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor


def embedding(ids: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """weight[ids]; the row `padding_idx` gets no gradient, so that what it holds is never learned.

    Shapes: ids (...) integers, weight (V, C) -> (..., C)
    Raises: IdRangeError if padding_idx is outside [-V, V); as the core's `embedding`
    """
    rows = ops.embedding(ids, weight)
    if padding_idx is None:
        return rows
    vocabulary = len(as_tensor(weight))
    if not -vocabulary <= padding_idx < vocabulary:
        raise IdRangeError(f"embedding: padding_idx must be in [{-vocabulary}, {vocabulary}); got {padding_idx}")
    is_padding = np.asarray(as_tensor(ids).data) == padding_idx % vocabulary
    return where(is_padding[..., None], rows.detach(), rows)
