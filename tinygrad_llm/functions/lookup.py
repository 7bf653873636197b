"""Ids as vectors: the embedding lookup with a row for padding, which is not learned; one-hot vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm import ops
from tinygrad_llm.errors import ConfigError, DTypeError, IdRangeError
from tinygrad_llm.graph import TensorLike
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


def one_hot(ids: TensorLike, num_classes: int = -1) -> Tensor:
    """One-hot vectors: 1 at each id's class, 0 elsewhere, as int64; -1 stands for the largest id plus 1 classes.

    >>> one_hot([0, 2]).tolist()
    [[1, 0, 0], [0, 0, 1]]

    Shapes: ids (...) integers -> (..., num_classes)
    Raises: DTypeError if ids are not integers, IdRangeError for one outside [0, num_classes), ConfigError if there are
            neither ids nor num_classes
    """
    places = as_tensor(ids).data
    if places.dtype.kind not in "iu" and places.size:
        raise DTypeError(f"one_hot: ids must be integers; got {places.dtype}")
    if num_classes == -1:
        if not places.size:
            raise ConfigError("one_hot: num_classes must be given if there are no ids; got -1")
        num_classes = int(places.max()) + 1
    if places.size and (places.min() < 0 or places.max() >= num_classes):
        wrong = places.min() if places.min() < 0 else places.max()
        raise IdRangeError(f"one_hot: ids must be in [0, {num_classes}); got {wrong}")
    return Tensor((places[..., None] == np.arange(num_classes)).astype(np.int64))
