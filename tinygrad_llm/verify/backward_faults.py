"""Mistakes in backward functions: repeated ids, broadcasting."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.graph import Gradients, record_operation
from tinygrad_llm.primitives import arithmetic
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.verify.fault import Fault, Patch


def _embedding_assigning_rows(_: Any, ids: Any, weight: Tensor) -> Tensor:
    rows = np.asarray(ids.data if isinstance(ids, Tensor) else ids)

    def backward(dy: Array) -> Gradients:
        dweight = np.zeros_like(weight.data)
        dweight[rows] = dy
        return (dweight,)

    return record_operation(weight.data[rows], (weight,), backward)


def _first_of_the_copies(gradient: Array, shape: tuple[int, ...]) -> Array:
    while gradient.ndim > len(shape):
        gradient = gradient[0]
    for axis, size in enumerate(shape):
        if size == 1:
            gradient = gradient.take([0], axis=axis)
    return gradient


BACKWARD_FAULTS = (
    Fault(
        name="embedding-overwritten",
        caught_by="slopes",
        story="The embedding's backward assigns rows: of an id that occurs twice, only one gradient is kept.",
        wrong="dweight[ids] = dy",
        right="np.add.at(dweight, ids, dy)",
        hints=(
            "The forward is right.",
            "Frequent tokens learn less than they could.",
            "What happens to an id that occurs twice?",
        ),
        ops={"embedding": _embedding_assigning_rows},
    ),
    Fault(
        name="broadcast-not-summed",
        caught_by="slopes",
        story="A broadcast operand gets the gradient of its first copy instead of the sum over all copies.",
        wrong="return dz[0]",
        right="return dz.sum(axis=0)",
        hints=(
            "The forward is right.",
            "The error depends on the batch size.",
            "Every sequence of a batch uses the same position embeddings.",
        ),
        patches=(Patch(arithmetic, "unbroadcast", _first_of_the_copies),),
    ),
)
