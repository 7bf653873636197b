"""The sum of all processes' gradients, which each process adds to while it still walks back.

One copy of the gradients lies in memory that all processes map. A process adds a gradient there as soon as its backward
has computed it, and frees its own. Rounding depends on the order of a sum, so that each parameter has a fixed order:
the first contribution of each process; then the second ones, for a weight that is used twice; and so on. A process that
comes before its turn keeps its gradient until later in the walk, and waits for the others at the end of it.

The rows of a large parameter are divided into one block per process, and each block has its own fixed order. Every
process begins at a different block and goes on to the next, so processes that keep in step add at the same time without
waiting, as in a ring reduce-scatter (Patarasuk and Yuan 2009, doi:10.1016/j.jpdc.2008.09.002).

The gradient of a large block is computed and added in parts. To hold few of them, a process that comes before its turn
waits for it at once, but at most a second, and not while all processes wait: they may wait for each other, if some have
no gradient for a parameter.
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

PART = 1 << 21  # elements of a large block that are added at once: 8 MB in float32
SECONDS_FOR_TURN = 1.0  # that the parts of a large block wait for before they are kept
NANOSECONDS_TOGETHER = 10_000_000  # that all processes wait before they stop: they may wait for each other
PASS = 1 << 32  # more contributions than a block gets in one backward pass


class SharedGradients:
    """The part of process `rank` in the sum. `wait` sleeps for a moment, and raises where another process has died."""

    def __init__(self, memory: TrainingMemory, rank: int, wait: Callable[[], None]) -> None:
        blocks, self.wait = sum(map(len, memory.blocks)), wait
        numbers = memoryview(memory.progress.memory).cast("q")
        # For each process and block: its contributions so far, counted from PASS times the passes before.
        self.progress = [numbers[row * blocks : (row + 1) * blocks] for row in range(memory.size)]
        self.written = numbers[memory.size * blocks :][:blocks]  # the latest pass that added to each block
        # When each process began to wait for others, in nanoseconds; 0 while it goes back through its graph.
        self.waiting = numbers[(memory.size + 1) * blocks :][: memory.size]
        self.mine, self.rank = self.progress[rank], rank
        self.number = 1  # of this pass: `written` is 0 at first
        self.start = 0  # of the counts in this pass
        self.blocks: list[SharedBlock] = []
        self.parameters = [SharedGradient(self, index, memory) for index in range(len(memory.places))]
        self.early: deque[SharedBlock] = deque()  # those with gradients that came before their turn
        self._lock = threading.Lock()
        self._lock.acquire()

    def begin_pass(self, begun: Iterable[int]) -> None:
        """Begin a backward pass, which adds to the sums of the parameters `begun`, and begins those of the others."""
        self.number += 1
        self.waiting[self.rank] = 0
        for index in begun:
            for block in self.parameters[index].blocks:
                self.written[block.index] = self.number

    def is_begun(self, index: int) -> bool:
        """Whether a parameter has a gradient in this step, of whatever process."""
        return self.parameters[index].blocks[0].is_begun()

    def end_pass(self) -> None:
        """Wait until all gradients of this process are added."""
        stop = self.start + PASS
        self.waiting[self.rank] = time.monotonic_ns()
        self.order_memory()
        for block in self.blocks:
            if not block.early:
                self.mine[block.index] = stop  # the others need not wait for more
        while self.early:
            waiting = deque(block for block in self.early if not block.add_early())
            for block in self.early:
                if not block.early:
                    self.mine[block.index] = stop
            if len(waiting) == len(self.early):
                self.wait()
            self.early = waiting
        self._set_counts(stop)

    def wait_for_all(self) -> None:
        """After `end_pass`, wait until all gradients of every process are added."""
        for progress in self.progress:
            for block in self.blocks:
                while progress[block.index] < self.start:
                    self.wait()
        self.order_memory()

    def abandon_pass(self) -> None:
        """End a backward that has failed: no other process is to wait for this one."""
        self.early.clear()
        self.waiting[self.rank] = time.monotonic_ns()
        stop = self.start + PASS
        for block in self.blocks:
            block.early.clear()
            self.mine[block.index] = stop
        self._set_counts(stop)

    def wait_for_turn(self, block: SharedBlock) -> None:
        """Wait for the turn to add to this block, at most a second; give up while all processes wait."""
        patience = time.monotonic() + SECONDS_FOR_TURN
        self.waiting[self.rank] = time.monotonic_ns()
        while not block.is_next() and time.monotonic() < patience and not self._all_wait():
            self.add_early()
            self.wait()
        self.waiting[self.rank] = 0

    def _all_wait(self) -> bool:
        return min(self.waiting) > 0 and max(self.waiting) < time.monotonic_ns() - NANOSECONDS_TOGETHER

    def _set_counts(self, start: int) -> None:
        self.start = start
        for block in self.blocks:
            block.added = 0

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

    def __init__(self, sums: SharedGradients, index: int, memory: TrainingMemory) -> None:
        self.index, self.array = index, memory.array(memory.gradients, index)
        self.rows, first = memory.blocks[index], len(sums.blocks)
        arrays = [self.array] if len(self.rows) == 1 else [self.array[rows] for rows in self.rows]
        self.blocks = [SharedBlock(sums, first + i, array) for i, array in enumerate(arrays)]
        sums.blocks += self.blocks
        start = (sums.rank - first) % len(self.rows)  # the block to which this process adds first
        self.in_turn = [*range(start, len(self.rows)), *range(start)]

    def add_product(self, dy: Array, x: Array) -> Array | None:
        """Compute dW = dyᵀ x.

        Returns it in the shared memory if this process may begin the sum, else in a new array. A large parameter is
        added block by block, and None is returned.

        Shapes: dy (N, O), x (N, I) -> (O, I)
        """
        if len(self.blocks) == 1 or mode.observers:
            return buffers.matmul(dy.T, x, self.blocks[0].free() if len(self.blocks) == 1 else None)
        for i in self.in_turn:
            self.blocks[i].add_product(dy[:, self.rows[i]], x)
        return None

    def add(self, gradient: Array, rows: Array | None = None) -> None:
        """Add a gradient, or one of these rows alone, now or when its turn has come."""
        if len(self.blocks) == 1:
            self.blocks[0].add(gradient, rows)
            return
        for i in self.in_turn:
            own = self.rows[i]
            if rows is None:
                self.blocks[i].add(gradient[own])
            else:
                inside = (own.start <= rows) & (rows < own.stop)
                self.blocks[i].add(gradient[inside], rows[inside] - own.start)


class SharedBlock:
    """The shared sum of one block of a parameter's rows, or of all of them."""

    __slots__ = ("added", "after", "array", "before", "early", "index", "sums")

    def __init__(self, sums: SharedGradients, index: int, array: Array) -> None:
        self.sums, self.index, self.array = sums, index, array
        size = len(sums.progress)
        order = [(index - i) % size for i in range(size)]  # of the processes
        place = order.index(sums.rank)
        self.before = [sums.progress[other] for other in order[:place]]
        self.after = [sums.progress[other] for other in order[place + 1 :]]
        self.added = 0  # contributions of this process in this pass
        self.early: deque[tuple[Array, Array | slice | None, bool]] = deque()

    def is_begun(self) -> bool:
        """Whether it has a gradient in this step, of whatever process."""
        return self.sums.written[self.index] == self.sums.number

    def free(self) -> Array | None:
        """The memory, if this process may write the first gradient of a sum straight into it."""
        if self.early or not self.is_next():
            return None
        return None if self.is_begun() else self.array  # asked second: before its turn, others may begin

    def add_product(self, dy: Array, x: Array) -> None:
        """Add dyᵀ x in parts that stay small. Shapes: dy (N, O), x (N, I) for the O rows of this block

        They are computed in the same parts in free memory too, since rounding depends on the shape of a product.
        """
        memory = self.free()
        step = max(1, PART // x.shape[1])
        for start in range(0, dy.shape[1], step):
            rows = slice(start, start + step)
            part = buffers.matmul(dy[:, rows].T, x, None if memory is None else memory[rows])
            if memory is None:
                self.add(part, rows, last=rows.stop >= dy.shape[1])
        if memory is not None:
            self.add(memory)

    def add(self, gradient: Array, rows: Array | slice | None = None, last: bool = True) -> None:
        """Add a gradient, or one of these rows alone, now or when its turn has come.

        The parts of a large gradient are one contribution: all but the final one are not `last`. They wait for their
        turn, but not without end, since another process may wait for this one: if one part has waited in vain, those
        after it are kept at once.
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
        if self.is_begun():
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
