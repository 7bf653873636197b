"""Threads that share a product compute it whole, and its bits do not depend on how many they are."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import buffers
from tinygrad_llm.train.parallel import product_threads
from tinygrad_llm.train.parallel.mapping import map_in_workers
from tinygrad_llm.train.parallel.processes import can_fork
from tinygrad_llm.train.parallel.product_threads import (
    SMALLEST_BLOCK,
    ProductThreads,
    products_alone,
    products_in_threads,
)


def operands(rows: int, inner: int, columns: int, dtype: Any = np.float32) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(rows + inner + columns)
    return draw.standard_normal((rows, inner)).astype(dtype), draw.standard_normal((columns, inner)).astype(dtype).T


def computed(a: np.ndarray, b: np.ndarray, threads: int) -> np.ndarray:
    shared, out = ProductThreads(threads), np.full((len(a), b.shape[1]), np.nan, a.dtype)
    try:
        shared.multiply(a, b, out)
    finally:
        shared.end()
    return out


def threads_now() -> int:
    return buffers.multiply.__self__.threads  # type: ignore[attr-defined]


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "product"]


@given(
    rows=st.integers(0, 900),
    columns=st.integers(0, 900),
    inner=st.integers(0, 60),
    threads=st.integers(2, 5),
    dtype=st.sampled_from([np.float32, np.float64, np.complex128]),
)
def test_the_product_is_that_of_numpy_and_of_one_thread(
    rows: int, columns: int, inner: int, threads: int, dtype: Any
) -> None:
    a, b = operands(rows, inner, columns, dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product_threads, "SMALLEST_SHARED", 1)
        product = computed(a, b, threads)
        assert product.tobytes() == computed(a, b, 1).tobytes()
    np.testing.assert_allclose(product, a @ b, rtol=0, atol=1e-4 if dtype == np.float32 else 1e-12)


@pytest.mark.parametrize(("rows", "columns"), [(40, 10_000), (10_000, 40), (2 * SMALLEST_BLOCK, 3), (1500, 700)])
def test_a_large_product_is_cut_along_its_longer_side(monkeypatch: pytest.MonkeyPatch, rows: int, columns: int) -> None:
    shapes, matmul = [], np.matmul

    def noted(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        shapes.append(out.shape)
        return matmul(a, b, out=out)

    a, b = operands(rows, 16, columns)
    monkeypatch.setattr(product_threads, "SMALLEST_SHARED", 1)
    monkeypatch.setattr(np, "matmul", noted)
    computed(a, b, 1)
    assert len(shapes) in range(2, product_threads.MOST_BLOCKS + 1, 2)
    longer = int(columns > rows)
    assert {shape[1 - longer] for shape in shapes} == {min(rows, columns)}
    assert sum(shape[longer] for shape in shapes) == max(rows, columns)


def test_nobody_waits_for_a_thread_that_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    may_begin = threading.Event()
    monkeypatch.setattr(ProductThreads, "_help", lambda self: may_begin.wait(60))
    a, b = operands(64, 256, 1000)
    np.testing.assert_allclose(computed(a, b, 4), a @ b, atol=1e-4)
    may_begin.set()


def test_an_error_of_another_thread_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    caller, is_taken = threading.current_thread(), threading.Event()

    def failing(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        if threading.current_thread() is caller:
            assert is_taken.wait(60)
        else:
            is_taken.set()
            raise MemoryError("no memory")

    a, b = operands(64, 256, 1000)
    monkeypatch.setattr(np, "matmul", failing)
    with pytest.raises(MemoryError, match="no memory"):
        computed(a, b, 2)


def test_infinity_and_nan_come_without_a_warning() -> None:
    a, b = operands(64, 256, 5000)
    a[:, 0], a[:, 1] = np.inf, -np.inf
    with np.errstate(all="ignore"):
        product = computed(a, b, 3)
    assert not np.isfinite(product).any()


def test_a_block_shares_the_products_of_the_process_and_ends_its_threads() -> None:
    a, b = operands(64, 256, 1000)
    with products_in_threads(3):
        shared = buffers.multiply
        product = buffers.matmul(a, b)
        with products_alone():
            assert threads_now() == 1 and not helpers()
            assert buffers.matmul(a, b).tobytes() == product.tobytes()
        assert buffers.multiply is shared and threads_now() == 3
        assert not helpers()
        assert buffers.matmul(a, b).tobytes() == product.tobytes()
        assert helpers()
    assert buffers.multiply is np.matmul and not helpers()
    with products_alone():
        assert buffers.multiply is np.matmul


@pytest.mark.skipif(not can_fork(), reason="fork is not used here")
def test_workers_are_forked_and_compute_the_same_alone() -> None:
    a, b = operands(64, 256, 1000)
    with products_in_threads(2):
        product = buffers.matmul(a, b)
        assert helpers() and not can_fork()

        def in_worker(_: int) -> tuple[int, int, bytes]:
            return os.getpid(), threads_now(), buffers.matmul(a, b).tobytes()

        found = list(map_in_workers(in_worker, range(4), workers=2))
    assert {process for process, _, _ in found} > {os.getpid()}
    assert {(threads, bits) for _, threads, bits in found} == {(1, product.tobytes())}
