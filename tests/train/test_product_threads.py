"""Threads that share a product compute it whole, and its bits do not depend on how many they are."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm import Tensor, buffers, no_grad
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.ops import attention_tiles, scaled_dot_product_attention
from tinygrad_llm.train.parallel import blas_threads, product_threads
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


@pytest.mark.parametrize("is_causal", [False, True])
def test_the_tiles_of_attention_are_shared_too(monkeypatch: pytest.MonkeyPatch, is_causal: bool) -> None:
    monkeypatch.setattr(attention_tiles, "QUERY_ROWS", 4)
    monkeypatch.setattr(attention_tiles, "TILE_SCORES", 60)
    draw = np.random.default_rng(0)
    q, k, v = (Tensor(draw.standard_normal((2, 3, 17, 8)).astype(np.float32), requires_grad=True) for _ in range(3))
    found = []
    for threads in (1, 3):
        with products_in_threads(threads), no_grad():
            found.append(scaled_dot_product_attention(q, k, v, is_causal=is_causal).data)
            assert bool(helpers()) == (threads > 1)
    assert found[0].tobytes() == found[1].tobytes()
    recorded = scaled_dot_product_attention(q, k, v, is_causal=is_causal)
    assert found[0].tobytes() == recorded.data.tobytes()
    with no_grad():
        assert scaled_dot_product_attention(q, k, v, is_causal=is_causal).data.tobytes() == found[0].tobytes()


def test_nobody_waits_for_a_thread_that_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    never_begun: list[Any] = []
    monkeypatch.setattr(product_threads._Team, "_work", lambda self: never_begun.append(self._works))
    a, b = operands(64, 256, 1000)
    np.testing.assert_allclose(computed(a, b, 4), a @ b, atol=1e-4)
    left = never_begun[0].get()
    reference = weakref.ref(a)
    del a
    assert left is not None and reference() is None  # what is left for the threads keeps no array from being freed
    assert len(never_begun) == 3


def test_one_thread_computes_all_where_the_system_has_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    a, b = operands(64, 256, 1000)
    monkeypatch.setattr(threading.Thread, "start", refused)
    np.testing.assert_allclose(computed(a, b, 2), a @ b, atol=1e-4)


def test_ctrl_c_leaves_no_block_for_the_other_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    never_begun: list[Any] = []

    def interrupted(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        raise KeyboardInterrupt

    a, b = operands(64, 256, 1000)
    monkeypatch.setattr(product_threads._Team, "_work", lambda self: never_begun.append(self._works))
    monkeypatch.setattr(np, "matmul", interrupted)
    with pytest.raises(KeyboardInterrupt):
        computed(a, b, 2)
    assert not never_begun[0].get().pieces


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


def test_all_threads_treat_overflow_as_the_caller_does(monkeypatch: pytest.MonkeyPatch) -> None:
    treated: dict[str, str] = {}
    both = threading.Barrier(2, timeout=60)

    def noted(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> None:
        if threading.current_thread().name not in treated:
            treated[threading.current_thread().name] = np.geterr()["over"]
            both.wait()

    a, b = operands(64, 256, 1000)
    monkeypatch.setattr(np, "matmul", noted)
    for way in ("ignore", "raise"):
        treated.clear()
        with np.errstate(over=way):  # type: ignore[call-overload]
            computed(a, b, 2)
        assert set(treated.values()) == {way} and len(treated) == 2


def test_a_block_shares_the_products_of_the_process_and_ends_its_threads() -> None:
    a, b = operands(64, 256, 1000)
    with products_in_threads(3):
        shared = buffers.multiply
        product = buffers.matmul(a, b)
        with products_alone():
            assert threads_now() == 1 and not helpers()
            assert buffers.matmul(a, b).tobytes() == product.tobytes()
        assert buffers.multiply == shared and threads_now() == 3
        assert not helpers()
        assert buffers.matmul(a, b).tobytes() == product.tobytes()
        assert helpers()
    assert buffers.multiply is np.matmul and not helpers()
    assert shared(a, b, out=np.empty_like(product)).tobytes() == product.tobytes()  # as a thread that is late
    assert not helpers()
    with products_alone():
        assert buffers.multiply is np.matmul


def test_blocks_end_in_any_order() -> None:
    """As those of several threads, and of generators that are not used up."""
    first, second = products_in_threads(2), products_in_threads(3)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert threads_now() == 3
    second.__exit__(None, None, None)
    assert buffers.multiply is np.matmul


def test_blas_has_one_thread_also_where_the_user_has_chosen_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [2]
    monkeypatch.setattr(
        blas_threads, "_libraries", lambda: [(lambda: now[0], lambda number: now.__setitem__(0, number))]
    )
    monkeypatch.setattr(blas_threads, "available_cores", lambda: {0, 1})
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with products_in_threads(2):
        assert now == [1]
    assert now == [2]


@pytest.mark.parametrize("threads", [0, -1, 2.5, "2", True])
def test_a_number_of_threads_that_is_none_is_refused(threads: Any) -> None:
    with (
        pytest.raises(ConfigError, match="products_in_threads: threads must be an integer of at least 1; got"),
        products_in_threads(threads),
    ):
        pass


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
