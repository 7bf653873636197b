"""Large arrays get memory that nobody refers to any more, and never memory that somebody does."""

import threading

import numpy as np
import pytest

from tinygrad_llm import Tensor, buffers

ROWS, COLUMNS = 512, 1024  # 2 MB of float32


@pytest.fixture(autouse=True)
def no_buffers_from_before(monkeypatch):
    monkeypatch.setattr(buffers, "_buffers", [])
    monkeypatch.setattr(buffers, "_most_needed", 0)


def held() -> int:
    return sum(len(buffer) for buffer in buffers._buffers)


def large(rows=ROWS, dtype=np.float32):
    return buffers.empty((rows, COLUMNS), dtype)


def test_a_large_array_comes_as_asked_for():
    x = large(dtype=np.float64)
    assert (x.shape, x.dtype, type(x)) == ((ROWS, COLUMNS), np.float64, np.ndarray)
    assert x.flags.c_contiguous
    assert x.flags.writeable
    assert buffers.empty_like(x[:, ::2]).shape == (ROWS, COLUMNS // 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool])
def test_arrays_begin_where_a_line_of_the_cache_does(dtype):
    kept = [buffers.empty((1 << 18, width), dtype) for width in range(1, 6)]
    assert [x.ctypes.data % 64 for x in kept] == [0] * 5
    last = kept.pop()
    last[...] = 1  # to its last byte
    del last
    again = buffers.zeros((1 << 18, 5), dtype)
    assert not again.any() and again.ctypes.data % 64 == 0


def test_a_copy_is_an_array_of_its_own():
    x = large()
    x[...] = 2
    y = buffers.copy(x.T)
    assert y.flags.c_contiguous and y.shape == x.T.shape and (y == 2).all() and not np.shares_memory(x, y)


def test_memory_is_used_again_once_its_array_is_dead():
    x = large()
    place = x.ctypes.data
    del x
    y = large()
    assert y.ctypes.data == place
    assert large().ctypes.data != place  # y is alive
    assert held() == 2 * (y.nbytes + buffers.ALIGNMENT)


@pytest.mark.parametrize("view", [lambda x: x[3:9].T, lambda x: x.reshape(-1)[::7], lambda x: memoryview(x), iter])
def test_a_view_keeps_the_memory(view):
    x = large()
    place, seen = x.ctypes.data, view(x)
    del x
    assert large().ctypes.data != place
    del seen
    assert large().ctypes.data == place


def test_a_buffer_may_be_somewhat_larger_but_not_much():
    x = large()
    place = x.ctypes.data
    del x
    slightly_smaller = large(ROWS - 100)
    assert slightly_smaller.ctypes.data == place
    del slightly_smaller
    half = large(ROWS // 2)
    assert half.base.size == half.nbytes + buffers.ALIGNMENT


def test_small_arrays_are_left_to_numpy():
    x = buffers.empty((10, 10), np.float32)
    assert x.flags.owndata
    assert not buffers._buffers


def test_no_more_is_held_than_was_needed_at_once():
    for rows in range(ROWS, 8 * ROWS, 100):  # every array is a tenth larger than the one before, or less
        kept = [large(rows) for _ in range(3)]
        assert held() <= (1 + buffers.SLACK) * sum(x.nbytes for x in kept) + kept[0].nbytes
        del kept


def test_what_is_alive_never_shares_memory():
    rng = np.random.default_rng(0)
    alive = {}
    for step in range(300):
        if alive and rng.random() < 0.5:
            del alive[rng.choice(list(alive))]
        x = large(int(rng.integers(300, 900)))
        x[...] = step
        alive[step] = x[rng.integers(0, 100) :]
        del x
        assert all((numbers == step).all() for step, numbers in list(alive.items())[-5:])
    assert all((numbers == step).all() for step, numbers in alive.items())


def test_threads_never_get_the_same_memory():
    wrong = []

    def work(number):
        for turn in range(200):
            x = large(ROWS + 50 * (turn % 7))
            x[...] = number
            if not (x == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_view_is_told_from_an_array():
    x = large()
    assert not buffers.is_view(x)
    assert not buffers.is_view(np.ones(3))
    assert all(buffers.is_view(view) for view in (x[1:], x.T, x.reshape(-1), np.ones(3)[1:], np.ones((2, 2)).T))


def test_matmul_is_the_product():
    a, b = np.random.default_rng(1).normal(size=(2, 600, 600))
    np.testing.assert_array_equal(buffers.matmul(a, b.T), a @ b.T)
    assert buffers.matmul(a.astype(np.float32), b).dtype == np.float64


@pytest.mark.parametrize(("a", "b"), [((ROWS, COLUMNS), (ROWS, COLUMNS)), ((ROWS, COLUMNS), (1, COLUMNS)), ((), ())])
def test_add_is_the_sum(a, b):
    x, y = np.random.default_rng(2).normal(size=(2, ROWS, COLUMNS))
    x, y = x[tuple(slice(0, n) for n in a) if a else (0, 0)], y[tuple(slice(0, n) for n in b) if b else (0, 0)]
    total = buffers.add(np.asarray(x), np.asarray(y))
    assert isinstance(total, np.ndarray)
    np.testing.assert_array_equal(total, x + y)
    assert (total.base is not None) == (a == b and a != ())


def test_a_leaf_takes_a_large_gradient_without_a_copy():
    weight = Tensor(np.ones((ROWS, COLUMNS), np.float32), requires_grad=True)
    given = large()
    weight.collect(given)
    assert weight.grad is given
    other = Tensor(np.ones((ROWS, COLUMNS), np.float32), requires_grad=True)
    other.collect(given[:])
    assert not np.shares_memory(other.grad, given)
