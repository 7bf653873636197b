"""One large matrix product shared by threads of this process: for programs that use a model, and train no run.

BLAS's own threads get equal parts of a product, and all wait for the last one: where another program keeps a core busy,
each product takes as long as the thread that shares this core. Here a product is cut into blocks, and a thread that has
finished one takes the next, so that a slow thread takes fewer. BLAS computes a block on one thread, and its bits depend
on its shape alone: not on the number of threads, nor on the load.

Training shares the rows of a batch among processes instead (`workers.py`), and so all that lies between the products.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array
from tinygrad_llm.train.parallel.blas_threads import limited_blas_threads
from tinygrad_llm.train.parallel.cores_and_memory import usable_cores

SMALLEST_BLOCK = 96  # columns, or rows: BLAS copies the other operand for each block, which takes 2 to 6% of the time
MOST_BLOCKS = 16  # of a product: enough for a slow thread to take fewer
SMALLEST_SHARED = 1 << 22  # multiplications: a smaller product takes hardly more time than waking a thread


class ProductThreads:
    """Threads that share products: the one that calls `multiply`, and `threads` - 1 others, begun when first needed."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._helpers: list[threading.Thread] = []
        self._products: queue.SimpleQueue[_Product | None] = queue.SimpleQueue()

    def multiply(self, a: Array, b: Array, out: Array) -> Array:
        """Write a @ b into `out`, which is returned. Shapes: a (N, K), b (K, M), out (N, M)"""
        (rows, inner), columns = a.shape, b.shape[1]
        if max(rows, columns) < 2 * SMALLEST_BLOCK or rows * inner * columns < SMALLEST_SHARED:
            return np.matmul(a, b, out=out)
        product = _Product(a, b, out)
        helpers = min(self.threads, len(product.blocks)) - 1
        while len(self._helpers) < helpers:
            self._helpers.append(threading.Thread(target=self._help, name="product", daemon=True))
            self._helpers[-1].start()
        for _ in range(helpers):
            self._products.put(product)
        product.compute()
        product.wait()
        return out

    def end(self) -> None:
        """End the threads; the next product starts new ones."""
        helpers, self._helpers = self._helpers, []
        for _ in helpers:
            self._products.put(None)
        for helper in helpers:
            helper.join()

    def _help(self) -> None:
        np.seterr(all="ignore")  # of this thread; infinity and NaN follow IEEE 754
        while (product := self._products.get()) is not None:
            product.compute()
            del product  # its arrays may be freed


class _Product:
    """A product that is being computed: the blocks that nobody has taken yet, and how many are finished."""

    def __init__(self, a: Array, b: Array, out: Array) -> None:
        self.a, self.b, self.out = a, b, out
        self.blocks = deque(_blocks(max(out.shape)))
        self._count, self._finished = len(self.blocks), itertools.count(1)
        self._is_done = threading.Lock()
        self._is_done.acquire()
        self._error: BaseException | None = None  # that another thread met

    def compute(self) -> None:
        """Compute blocks until none is left."""
        by_columns = self.out.shape[1] >= self.out.shape[0]
        while True:
            try:
                block = self.blocks.popleft()  # one step, which no other thread can interrupt
            except IndexError:
                return
            try:
                if by_columns:
                    np.matmul(self.a, self.b[:, block], out=self.out[:, block])
                else:
                    np.matmul(self.a[block], self.b, out=self.out[block])
            except BaseException as error:
                self._error = error
            if next(self._finished) == self._count:
                self._is_done.release()

    def wait(self) -> None:
        """Wait for the blocks that others have taken, but not for a thread that has not begun one.

        Raises: what any thread has met, such as MemoryError
        """
        self._is_done.acquire()
        if self._error is not None:
            raise self._error


def _blocks(size: int) -> list[slice]:
    """So many rows or columns in blocks of equal sizes: few, but an even number, as most machines have cores."""
    count = MOST_BLOCKS if size >= 2 * MOST_BLOCKS * SMALLEST_BLOCK else min(8, size // SMALLEST_BLOCK // 2 * 2)
    step = -(-size // (8 * count)) * 8  # a multiple of what BLAS computes at once
    return [slice(start, start + step) for start in range(0, size, step)]


@contextmanager
def products_in_threads(threads: int | None = None) -> Iterator[None]:
    """In the block, threads share the large products of this process, whichever thread asks; by default one per core.

    BLAS itself has one thread then.

        with products_in_threads():
            print(generate(model, prompt, 20))
    """
    before, shared = buffers.multiply, ProductThreads(usable_cores() if threads is None else threads)
    with limited_blas_threads(1):
        buffers.multiply = shared.multiply
        try:
            yield
        finally:
            buffers.multiply = before
            shared.end()


@contextmanager
def products_alone() -> Iterator[None]:
    """In the block, this process computes its products alone, with the same bits: the cores have other work.

    It has no threads for products then, and may fork.
    """
    shared = _product_threads()
    if shared is not None:
        shared.end()
    with nullcontext() if shared is None else products_in_threads(1):
        yield


def _product_threads() -> ProductThreads | None:
    return getattr(buffers.multiply, "__self__", None)  # NumPy's function has none


def _leave_threads_behind() -> None:
    """A forked process has none of the threads; its products keep their bits."""
    if _product_threads() is not None:
        buffers.multiply = ProductThreads(1).multiply


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_threads_behind)
