"""The sum of all gradients over all processes (all-reduce)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.parallel.communicator import Communicator


class GradientSum:
    """Concatenates all gradients, sums them over the processes, and gives each parameter its part of the sum.

    One large message costs far less than one per parameter. Its last numbers count, for each parameter, the processes
    that have a gradient for it: where none has, the gradient stays None, as in one process.

    The message is sent after the backward pass. Sending parts of it during the pass was not worth its code: on one
    machine the sum takes about 2% of a step, and copying memory meanwhile takes a core from the matrix products.
    """

    def __init__(self, parameters: Iterable[Tensor], communicator: Communicator) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.communicator = communicator
        self._flat: Array | None = None  # kept, because allocating it anew is slow

    def __call__(self) -> None:
        """Give every process the same gradients, bit by bit. They are views of one buffer until the next call."""
        if self.communicator.size == 1:
            return
        numbers = sum(p.size for p in self.parameters)
        if self._flat is None:
            self._flat = np.empty(numbers + len(self.parameters), np.result_type(*(p.dtype for p in self.parameters)))
        flat, present = self._flat[:numbers], self._flat[numbers:]
        start = 0
        for i, p in enumerate(self.parameters):
            flat[start : start + p.size] = 0 if p.grad is None else p.grad.reshape(-1)
            present[i] = p.grad is not None
            p.grad = None  # its memory is needed no longer
            start += p.size
        self.communicator.sum(self._flat)
        start = 0
        for i, p in enumerate(self.parameters):
            if present[i]:
                p.grad = flat[start : start + p.size].reshape(p.shape).astype(p.dtype, copy=False)
            start += p.size
