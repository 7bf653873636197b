"""One large matrix product shared by threads of this process: for programs that use a model, and train no run.

BLAS's own threads get equal parts of a product, and all wait for the last one: where another program keeps a core busy,
each product takes as long as the thread that shares this core. Here a product is cut into blocks, and a thread that has
finished one takes the next, so that a slow thread takes fewer. BLAS computes a block on one thread, and its bits depend
on its shape alone: not on the number of threads, nor on the load. The tiles of attention are shared in the same way.

Training shares the rows of a batch among processes instead (`workers.py`), and so all that lies between the products.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.ops import attention_tiles
from tinygrad_llm.train.parallel.blas_threads import limited_blas_threads
from tinygrad_llm.train.parallel.cores_and_memory import usable_cores

SMALLEST_BLOCK = 96  # columns, or rows: BLAS copies the other operand for each block, which takes 2 to 6% of the time
MOST_BLOCKS = 16  # of a product: enough for a slow thread to take fewer
SMALLEST_SHARED = 1 << 22  # multiplications: a smaller product takes hardly more time than waking a thread


class ProductThreads:
    """Threads that share products: the one that calls `multiply`, and `threads` - 1 others, begun when first needed."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._team = _Team()

    def multiply(self, a: Array, b: Array, out: Array) -> Array:
        """Write a @ b into `out`, which shares no memory with them, and return it. Shapes: a (N, K), b (K, M)

        Raises: what any thread has met, such as MemoryError
        """
        (rows, inner), columns = a.shape, b.shape[1]
        if max(rows, columns) < 2 * SMALLEST_BLOCK or rows * inner * columns < SMALLEST_SHARED:
            return np.matmul(a, b, out=out)
        parts = _blocks(max(out.shape))
        if out.shape[1] >= out.shape[0]:
            blocks = [(a, b[:, part], out[:, part]) for part in parts]
        else:
            blocks = [(a[part], b, out[part]) for part in parts]
        self.for_each(_multiply_block, blocks)
        return out

    def for_each(self, work: Callable[[Any], object], pieces: Sequence[Any]) -> tuple[()]:
        """Do `work` on each of these pieces, which do not depend on each other; as `map`, but it returns nothing.

        Raises: what any thread has met, such as MemoryError
        """
        shared = _SharedWork(work, pieces)
        self._team.help(shared, min(self.threads, len(pieces)) - 1)
        try:
            shared.work()
            shared.wait()
        except BaseException:
            shared.pieces.clear()  # after Ctrl-C, nobody needs what is left
            raise
        return ()

    def end(self) -> None:
        """End the threads; the next product starts new ones."""
        team, self._team = self._team, _Team()
        team.end()

    def forget_threads(self) -> None:
        """In a forked process, which has none of the threads: compute alone, with the same bits."""
        self.threads, self._team = 1, _Team()


class _Team:
    """Threads that wait for work, from the first to `end`."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []
        self._works: queue.SimpleQueue[_SharedWork | None] = queue.SimpleQueue()

    def help(self, shared: _SharedWork, count: int) -> None:
        """Have `count` threads take pieces of the work, or as many as the system allows.

        Two callers at once may begin one thread more than they need.
        """
        while len(self._threads) < count:
            thread = threading.Thread(target=self._work, name="product", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # as where the number of threads is limited: those that run compute all
                break
            self._threads.append(thread)
        for _ in self._threads[:count]:
            self._works.put(shared)

    def end(self) -> None:
        self._works.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (shared := self._works.get()) is not None:
            shared.work()
            del shared  # its last piece may be freed
        self._works.put(None)  # for the next thread to end


class _SharedWork:
    """Work that is being done: the pieces that nobody has taken yet, and how many are finished."""

    def __init__(self, work: Callable[[Any], object], pieces: Sequence[Any]) -> None:
        self.pieces = deque(pieces)  # which hold the arrays: once all are taken, they may be freed
        self._work, self._count, self._finished = work, len(pieces), itertools.count(1)
        self._is_done = threading.Lock()
        if pieces:
            self._is_done.acquire()
        self._error: Exception | None = None
        self._on_float_errors = np.geterr()  # each thread has its own

    def work(self) -> None:
        """Take pieces until none is left."""
        with np.errstate(**self._on_float_errors):
            while True:
                try:
                    piece = self.pieces.popleft()  # one step, which no other thread can interrupt
                except IndexError:
                    return
                try:
                    self._work(piece)
                except Exception as error:
                    self._error = error
                if next(self._finished) == self._count:
                    self._is_done.release()

    def wait(self) -> None:
        """Wait for the pieces that others have taken, but not for a thread that has not begun one."""
        self._is_done.acquire()
        if self._error is not None:
            raise self._error


def _multiply_block(block: tuple[Array, Array, Array]) -> None:
    a, b, out = block
    np.matmul(a, b, out=out)


def _blocks(size: int) -> list[slice]:
    """So many rows or columns in blocks of equal sizes: few, but an even number, as most machines have cores."""
    count = MOST_BLOCKS if size >= 2 * MOST_BLOCKS * SMALLEST_BLOCK else min(8, size // SMALLEST_BLOCK // 2 * 2)
    step = -(-size // (8 * count)) * 8  # a multiple of what BLAS computes at once
    return [slice(start, start + step) for start in range(0, size, step)]


_active: list[ProductThreads] = []  # of the `products_in_threads` blocks that run now; the last one is used
_lock = threading.Lock()


def _use(shared: ProductThreads | None) -> None:
    buffers.multiply = np.matmul if shared is None else shared.multiply
    attention_tiles.for_each = map if shared is None else shared.for_each


@contextmanager
def products_in_threads(threads: int | None = None) -> Iterator[None]:
    """In the block, threads share the large products of this process, whichever thread asks; by default one per core.

    BLAS itself has one thread then, whatever the environment says.

        with products_in_threads():
            print(generate(model, prompt, 20))

    Raises: ConfigError if `threads` is not an integer of at least 1
    """
    if threads is not None:
        expect_count("products_in_threads", "threads", threads)
    shared = ProductThreads(usable_cores() if threads is None else threads)
    with limited_blas_threads(1, even_if_chosen=True):
        with _lock:
            _active.append(shared)
            _use(shared)
        try:
            yield
        finally:
            with _lock:
                _active.remove(shared)  # blocks of several threads, or generators, end in any order
                _use(_active[-1] if _active else None)
            shared.threads = 1  # for another thread that is about to use it
            shared.end()


@contextmanager
def products_alone() -> Iterator[None]:
    """In the block, this process computes its products alone, with the same bits: the cores have other work.

    It has no threads for products then, and may fork.
    """
    for shared in tuple(_active):
        shared.end()
    with products_in_threads(1) if are_cut() else nullcontext():
        yield


def are_cut() -> bool:
    """Whether products are cut into blocks, as in a `products_in_threads` block, which changes how sums are rounded."""
    return bool(_active)


def _leave_threads_behind() -> None:
    for shared in _active:
        shared.forget_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_threads_behind)
