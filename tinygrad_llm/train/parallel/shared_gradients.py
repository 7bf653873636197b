"""The sum of all processes' gradients, which each process adds to while it still walks back.

One copy of the gradients lies in memory that all processes map. A process adds a gradient there as soon as its backward
has computed it, and frees its own. Rounding depends on the order of a sum, so that each parameter has a fixed order:
the first contribution of each process, in the order of ranks; then the second ones, for a weight that is used twice;
and so on. The order begins with another rank for every parameter, since the first to write does not add. A process that
comes before its turn keeps its gradient until later in the walk, and waits for the others at the end of it. A large
gradient is added in parts. To hold few of them, the process waits for its turn at once, but at most a second, and not
while all processes wait: they may wait for each other, if some have no gradient for a parameter.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.graph import mode
from tinygrad_llm.train.parallel.training_memory import TrainingMemory

PART = 1 << 21  # elements of a large gradient that are added at once: 8 MB in float32
SECONDS_FOR_TURN = 1.0  # that the parts of a large gradient wait for before they are kept
NANOSECONDS_TOGETHER = 10_000_000  # that all processes wait before they stop: they may wait for each other
PASS = 1 << 32  # more contributions than a parameter gets in one backward pass


class SharedGradients:
    """The part of process `rank` in the sum. `wait` sleeps for a moment, and raises where another process has died."""

    def __init__(self, memory: TrainingMemory, rank: int, wait: Callable[[], None]) -> None:
        parameters, self.wait = len(memory.places), wait
        numbers = memoryview(memory.progress.memory).cast("q")
        # For each process and parameter: its contributions so far, counted from PASS times the passes before.
        self.progress = [numbers[row * parameters : (row + 1) * parameters] for row in range(memory.size)]
        self.written = numbers[memory.size * parameters :][:parameters]  # the latest pass that added to each sum
        # When each process began to wait for others, in nanoseconds; 0 while it goes back through its graph.
        self.waiting = numbers[(memory.size + 1) * parameters :][: memory.size]
        self.mine, self.rank = self.progress[rank], rank
        self.number = 1  # of this pass: `written` is 0 at first
        self.start = 0  # of the counts in this pass
        self.parts = [SharedGradient(self, index, memory, rank) for index in range(parameters)]
        self.early: deque[SharedGradient] = deque()  # parameters with gradients that came before their turn
        self._lock = threading.Lock()
        self._lock.acquire()

    def begin_pass(self, begun: Iterable[int]) -> None:
        """Begin a backward pass, which adds to the sums of the parameters `begun`, and begins those of the others."""
        self.number += 1
        self.waiting[self.rank] = 0
        for index in begun:
            self.written[index] = self.number

    def is_begun(self, index: int) -> bool:
        """Whether a parameter has a gradient in this step, of whatever process."""
        return self.written[index] == self.number

    def end_pass(self) -> None:
        """Wait until all gradients of this process are added."""
        stop = self.start + PASS
        self.waiting[self.rank] = time.monotonic_ns()
        self.order_memory()
        for part in self.parts:
            if not part.early:
                self.mine[part.index] = stop  # the others need not wait for more
        while self.early:
            waiting = deque(part for part in self.early if not part.add_early())
            for part in self.early:
                if not part.early:
                    self.mine[part.index] = stop
            if len(waiting) == len(self.early):
                self.wait()
            self.early = waiting
        self._set_counts(stop)

    def wait_for_all(self) -> None:
        """After `end_pass`, wait until all gradients of every process are added."""
        for progress in self.progress:
            for part in self.parts:
                while progress[part.index] < self.start:
                    self.wait()
        self.order_memory()

    def abandon_pass(self) -> None:
        """End a backward that has failed: no other process is to wait for this one."""
        self.early.clear()
        self.waiting[self.rank] = time.monotonic_ns()
        stop = self.start + PASS
        for part in self.parts:
            part.early.clear()
            self.mine[part.index] = stop
        self._set_counts(stop)

    def wait_for_turn(self, part: SharedGradient) -> None:
        """Wait for the turn to add to this parameter's sum, at most a second; give up while all processes wait."""
        patience = time.monotonic() + SECONDS_FOR_TURN
        self.waiting[self.rank] = time.monotonic_ns()
        while not part.is_next() and time.monotonic() < patience and not self._all_wait():
            self.add_early()
            self.wait()
        self.waiting[self.rank] = 0

    def _all_wait(self) -> bool:
        return min(self.waiting) > 0 and max(self.waiting) < time.monotonic_ns() - NANOSECONDS_TOGETHER

    def _set_counts(self, start: int) -> None:
        self.start = start
        for part in self.parts:
            part.added = 0

    def add_early(self) -> None:
        """Add gradients whose turn has come since; those behind one that still waits are likely to wait too."""
        while self.early and self.early[0].add_early():
            self.early.popleft()

    def order_memory(self) -> None:
        """A memory barrier: no processor lets a write above be seen after one below, or a read below be done before
        one above. Python has no name for it, but a lock needs it where it is released and acquired.
        """
        self._lock.release()
        self._lock.acquire()


class SharedGradient:
    """The shared sum of one parameter's gradients: a leaf's `grad_memory`."""

    __slots__ = ("added", "after", "array", "before", "early", "index", "sums")

    def __init__(self, sums: SharedGradients, index: int, memory: TrainingMemory, rank: int) -> None:
        self.sums, self.index, self.array = sums, index, memory.array(memory.gradients, index)
        order = [(index + i) % memory.size for i in range(memory.size)]
        place = order.index(rank)
        self.before = [sums.progress[other] for other in order[:place]]
        self.after = [sums.progress[other] for other in order[place + 1 :]]
        self.added = 0  # contributions of this process in this pass
        self.early: deque[tuple[Array, Array | slice | None, bool]] = deque()

    def free(self) -> Array | None:
        """The memory, if this process may write the first gradient of a sum straight into it."""
        if self.early or not self.is_next():
            return None
        return None if self.sums.is_begun(self.index) else self.array  # asked second: before its turn, others may begin

    def add_product(self, dy: Array, x: Array) -> Array | None:
        """dW = dyᵀ x: in the shared memory, if it is free; as a new array; or, if it is large, added already, in parts
        that stay small, and None. Shapes: dy (N, O), x (N, I) -> (O, I)

        A large one is computed in the same parts in free memory too, since rounding depends on the shape of a product.
        """
        memory = self.free()
        if self.array.size <= PART or mode.observers:
            return buffers.matmul(dy.T, x, memory)
        step = max(1, PART // x.shape[1])
        for start in range(0, dy.shape[1], step):
            rows = slice(start, start + step)
            part = buffers.matmul(dy[:, rows].T, x, None if memory is None else memory[rows])
            if memory is None:
                self.add(part, rows, last=rows.stop >= dy.shape[1])
        return memory

    def add(self, gradient: Array, rows: Array | slice | None = None, last: bool = True) -> None:
        """Add a gradient, or one of these rows alone, now or when its turn has come.

        A large gradient comes in parts, which are one contribution: all but the final one are not `last`. To keep few
        parts in memory, they wait for their turn, but not without end, since another process may wait for this one: if
        one part has waited in vain, those after it are kept at once.
        """
        if not last and not self.early:
            self.sums.wait_for_turn(self)
        if self.early or not self.is_next():
            if not self.early:
                self.sums.early.append(self)
            self.early.append((gradient, rows, last))
        else:
            self._add(gradient, rows, last)
        self.sums.add_early()

    def add_early(self) -> bool:
        """Add the gradients whose turn has come; returns whether none is left."""
        while self.early and self.is_next():
            self._add(*self.early.popleft())
        return not self.early

    def is_next(self) -> bool:
        """Whether every contribution before this process's next one has been added."""
        index, count = self.index, self.sums.start + self.added
        for progress in self.before:
            if progress[index] <= count:
                return False
        for progress in self.after:
            if progress[index] < count:
                return False
        self.sums.order_memory()
        return True

    def _add(self, gradient: Array, rows: Array | slice | None, last: bool) -> None:
        sums, index, total = self.sums, self.index, self.array
        if sums.written[index] == sums.number:
            if rows is None:
                total += gradient
            else:
                total[rows] += gradient
        else:
            if rows is not None:
                total.fill(0)
                total[rows] = gradient
            elif gradient is not total:
                total[...] = gradient
            sums.written[index] = sums.number
        if last:
            self.added += 1
            sums.order_memory()
            sums.mine[index] = sums.start + self.added
