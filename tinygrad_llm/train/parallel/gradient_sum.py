"""One sum of all gradients over all processes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train.parallel.communicator import Communicator


class GradientSum:
    """Lays all gradients end to end, sums them over the processes, and gives each parameter its part of the sum.

    One large message costs far less than one for each parameter. At its end stands, for each parameter, how many
    processes have a gradient for it: where none has, it stays None, as it would in one process.

    The messages wait for backward to end. To send buckets while it still runs was not worth its code: on one machine
    the sum takes about 2% of a step, and whoever copies memory meanwhile takes a core from the products.
    """

    def __init__(self, parameters: Iterable[Tensor], communicator: Communicator) -> None:
        self.parameters = [p for p in parameters if p.requires_grad]
        self.communicator = communicator
        self._flat: Array | None = None  # kept: to get so much memory from the system anew is dear

    def __call__(self) -> None:
        """After this, every process has the same gradients, to the bit. They lie in one buffer until the next call."""
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
