"""Large arrays get memory that nobody refers to any more, and never memory that somebody does."""

import bdb
import cProfile
import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, buffers

ROWS, COLUMNS = 512, 1024  # 2 MB of float32


@pytest.fixture(autouse=True)
def an_empty_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buffers, "_free", {})
    monkeypatch.setattr(buffers, "_loans", {})
    monkeypatch.setattr(buffers, "_peak_bytes", 0)


def held() -> int:
    """Bytes of all blocks, free and in use."""
    free = sum(size * len(blocks) for size, blocks in buffers._free.items())
    return free + sum(loan.block.size_class for loan in buffers._loans.values())


def large(rows: int = ROWS, dtype: type = np.float32) -> np.ndarray:
    return buffers.empty((rows, COLUMNS), dtype)


def test_a_large_array_has_the_requested_shape_and_dtype() -> None:
    x = large(dtype=np.float64)
    assert (x.shape, x.dtype, type(x)) == ((ROWS, COLUMNS), np.float64, np.ndarray)
    assert x.flags.c_contiguous
    assert x.flags.writeable
    assert buffers.empty_like(x[:, ::2]).shape == (ROWS, COLUMNS // 2)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool])
def test_arrays_begin_where_a_line_of_the_cache_does(dtype: type) -> None:
    kept = [buffers.empty((1 << 18, width), dtype) for width in range(1, 6)]
    assert [x.ctypes.data % 64 for x in kept] == [0] * 5
    last = kept.pop()
    last[...] = 1  # to its last byte
    del last
    again = buffers.zeros((1 << 18, 5), dtype)
    assert not again.any() and again.ctypes.data % 64 == 0


def test_a_copy_is_an_array_of_its_own() -> None:
    x = large()
    x[...] = 2
    y = buffers.copy(x.T)
    assert y.flags.c_contiguous and y.shape == x.T.shape and (y == 2).all() and not np.shares_memory(x, y)


def test_memory_is_used_again_once_its_array_is_dead() -> None:
    x = large()
    place = x.ctypes.data
    del x
    y = large()
    assert y.ctypes.data == place
    assert large().ctypes.data != place  # y is alive
    assert held() == 2 * y.nbytes


@pytest.mark.parametrize("view", [lambda x: x[3:9].T, lambda x: x.reshape(-1)[::7], lambda x: memoryview(x), iter])
def test_a_view_keeps_the_memory(view: Callable[..., Any]) -> None:
    x = large()
    place, seen = x.ctypes.data, view(x)
    del x
    assert large().ctypes.data != place
    del seen
    assert large().ctypes.data == place


def test_a_buffer_may_be_somewhat_larger_but_not_much() -> None:
    x = large()
    place = x.ctypes.data
    del x
    slightly_smaller = large(ROWS - 100)
    assert slightly_smaller.ctypes.data == place
    del slightly_smaller
    half = large(ROWS // 2)
    assert half.base.size_class == half.nbytes


def test_small_arrays_are_left_to_numpy() -> None:
    x = buffers.empty((10, 10), np.float32)
    assert x.flags.owndata
    assert not buffers._loans


def test_no_more_is_held_than_was_needed_at_once() -> None:
    for rows in range(ROWS, 8 * ROWS, 100):  # every array is a tenth larger than the one before, or less
        kept = [large(rows) for _ in range(3)]
        in_use = sum(loan.block.size_class for loan in buffers._loans.values())
        assert in_use <= (1 + 1 / buffers.STEPS) * sum(x.nbytes for x in kept) * 1.5
        assert held() <= 1.1 * buffers._peak_bytes + kept[0].nbytes  # 1.1: the documented slack
        del kept


def test_what_is_alive_never_shares_memory() -> None:
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


# -- under everything that looks, interrupts or forks


def use_the_pool(turns: int = 60) -> None:
    """Arithmetic whose results show at once when two live arrays share memory."""
    a, b = (np.full((ROWS, COLUMNS), one, np.float32) for one in (1, 2))
    for _ in range(turns):
        x = buffers.add(a, a)
        y = buffers.add(b, b)
        view = x[1:]
        del x
        z = buffers.add(view, view)
        if not ((view == 2).all() and (y == 4).all() and (z == 4).all()):
            raise AssertionError("an array in use was handed out again")


def test_under_a_tracer_that_reads_and_keeps_every_frames_variables() -> None:
    kept = []

    def trace(frame: Any, event: Any, argument: Any) -> Any:
        if "tinygrad_llm" in frame.f_code.co_filename or frame.f_code is use_the_pool.__code__:
            kept.append(dict(frame.f_locals))
            del kept[:-50]
            frame.f_locals.get("x")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        use_the_pool(8)
    finally:
        sys.settrace(before)
    assert kept


def test_imported_and_used_under_a_tracer() -> None:
    """Nothing is learned at import that a tracer could falsify."""
    program = """
import ast  # which Python 3.12.1 itself cannot import under such a tracer
import sys
kept = []
def trace(frame, event, argument):
    kept.append(frame.f_locals); del kept[:-200]
    return trace
sys.settrace(trace)
import numpy as np
from tinygrad_llm import Tensor
a, b = Tensor(np.full((512, 1024), 0.5, np.float32)), Tensor(np.full((512, 1024), 5, np.float32))
c = a + a
d = b + b
print(c.data.min(), c.data.max(), d.data.min(), d.data.max())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1.0", "1.0", "10.0", "10.0"]


def test_under_the_debugger_at_every_line() -> None:
    class Stepper(bdb.Bdb):
        lines = 0

        def user_line(self, frame: Any) -> None:
            self.lines += 1
            list(frame.f_locals.items())
            self.set_step()

    stepper = Stepper()
    stepper.runcall(use_the_pool, 3)
    assert stepper.lines > 100


def test_under_a_profiler() -> None:
    profile = cProfile.Profile()
    profile.runcall(use_the_pool, 20)
    seen = []
    sys.setprofile(lambda frame, event, argument: seen.append(len(frame.f_locals)))
    try:
        use_the_pool(10)
    finally:
        sys.setprofile(None)
    assert seen


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_a_signal_handler_may_allocate_at_any_point() -> None:
    handled: list[bool] = []
    running: list[int] = []

    def handler(number: Any, frame: Any) -> None:
        if len(running) > 20:  # on a busy machine the next signals come before this one is handled
            return
        running.append(number)
        x = large()
        x[...] = 7
        y = buffers.add(x, x)
        handled.append(bool((y == 14).all()))
        running.pop()

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
    try:
        use_the_pool(150)
        while len(handled) <= 10:  # on a busy machine a signal stands for many
            use_the_pool(10)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert all(handled)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_children_forked_while_another_thread_allocates() -> None:
    stop = threading.Event()

    def allocate() -> None:
        while not stop.is_set():
            use_the_pool(1)

    thread = threading.Thread(target=allocate)
    thread.start()
    try:
        for _ in range(8):
            child = os.fork()
            if not child:
                try:
                    signal.alarm(120)  # a child that hangs is ended
                    use_the_pool(2)
                    os._exit(0)
                finally:
                    os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        thread.join()


def test_an_array_that_a_finalizer_brings_back_keeps_its_memory() -> None:
    class Keeper:
        saved = None

        def __del__(self) -> None:
            Keeper.saved = self.array

    keeper = Keeper()
    keeper.array, keeper.itself = large(), keeper
    keeper.array[...] = 3
    del keeper
    gc.collect()
    others = [large() for _ in range(3)]
    for other in others:
        other[...] = 4
    assert (Keeper.saved == 3).all()
    Keeper.saved = None


def test_blocks_of_arrays_in_cycles_come_back_when_these_are_collected() -> None:
    cycle = [large()]
    cycle.append(cycle)
    place = cycle[0].ctypes.data
    del cycle
    gc.collect()
    assert large().ctypes.data == place


def test_an_array_of_another_type_over_the_same_memory_keeps_it() -> None:
    class Other(np.ndarray):
        pass

    for view in (lambda x: x.view(Other), lambda x: np.frombuffer(x, np.uint8), np.lib.stride_tricks.as_strided):
        x = large()
        place, kept = x.ctypes.data, view(x)
        del x
        assert large().ctypes.data != place
        del kept
        assert large().ctypes.data == place


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.complex128, np.int64])
@pytest.mark.parametrize("shape", [(), (0,), (5,), (3, 4), (512, 512)])
def test_select_is_where(dtype: Any, shape: Any) -> None:
    rng = np.random.default_rng(0)
    x, mask = rng.normal(size=shape).astype(dtype), np.asarray(rng.random(shape) < 0.5)
    if x.size > 4 and dtype not in (np.int64,):
        x.flat[:3] = np.inf, np.nan, -np.inf
    np.testing.assert_array_equal(buffers.select(mask, x), np.where(mask, x, 0))
    if len(shape) == 2:
        np.testing.assert_array_equal(buffers.select(mask.T, x.T), np.where(mask.T, x.T, 0))
    np.testing.assert_array_equal(buffers.select(np.array(True), x), x)


def test_threads_never_get_the_same_memory() -> None:
    wrong = []

    def work(number: int) -> None:
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


def test_views_and_arrays_are_distinguished() -> None:
    x = large()
    assert not buffers.is_view(x)
    assert not buffers.is_view(np.ones(3))
    assert all(buffers.is_view(view) for view in (x[1:], x.T, x.reshape(-1), np.ones(3)[1:], np.ones((2, 2)).T))


def test_matmul_is_the_product() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 600, 600))
    np.testing.assert_array_equal(buffers.matmul(a, b.T), a @ b.T)
    assert buffers.matmul(a.astype(np.float32), b).dtype == np.float64


@pytest.mark.parametrize(("a", "b"), [((ROWS, COLUMNS), (ROWS, COLUMNS)), ((ROWS, COLUMNS), (1, COLUMNS)), ((), ())])
def test_add_is_the_sum(a: tuple[Any, ...], b: tuple[Any, ...]) -> None:
    x, y = np.random.default_rng(2).normal(size=(2, ROWS, COLUMNS))
    x, y = x[tuple(slice(0, n) for n in a) if a else (0, 0)], y[tuple(slice(0, n) for n in b) if b else (0, 0)]
    total = buffers.add(np.asarray(x), np.asarray(y))
    assert isinstance(total, np.ndarray)
    np.testing.assert_array_equal(total, x + y)
    assert (total.base is not None) == (a == b and a != ())


def test_a_leaf_takes_a_large_gradient_without_a_copy() -> None:
    weight = Tensor(np.ones((ROWS, COLUMNS), np.float32), requires_grad=True)
    given = large()
    weight.collect(given)
    assert weight.grad is given
    other = Tensor(np.ones((ROWS, COLUMNS), np.float32), requires_grad=True)
    other.collect(given[:])
    assert not np.shares_memory(other.grad, given)


def test_free_blocks_are_kept_while_no_more_is_held_than_at_the_peak() -> None:
    kept = [large(4 * ROWS), large(2 * ROWS)]
    before = held()
    kept.clear()
    small = large(ROWS // 8)
    assert held() == before + small.nbytes


def test_a_block_of_one_and_a_half_times_the_bytes_is_used_again() -> None:
    larger = large(ROWS * 3 // 2)
    address = larger.ctypes.data
    del larger
    assert large(ROWS).ctypes.data == address


def test_the_owner_of_pooled_memory_is_the_array_not_the_block() -> None:
    x = large()
    assert buffers.memory_owner(x) is x and buffers.memory_owner(x[1:].T) is x


@pytest.mark.parametrize(("requested", "kept"), [(2 * ROWS, ROWS), (5 * ROWS, 4 * ROWS)])
def test_the_free_blocks_of_the_most_different_size_are_dropped_first(
    requested: int, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = [large(ROWS), large(4 * ROWS)]
    sizes = [x.nbytes for x in free]
    free.clear()
    monkeypatch.setattr(buffers, "_peak_bytes", (sum(sizes) + requested * sizes[0] // ROWS - 1) / (1 + buffers.SLACK))
    array = large(requested)
    assert held() == array.nbytes + kept * sizes[0] // ROWS


@pytest.mark.parametrize("size", [buffers.SMALLEST + 1, 3 * buffers.SMALLEST + 1])
def test_a_new_block_is_at_most_an_eighth_larger_than_its_array(size: int) -> None:
    array = buffers.empty((size,), np.uint8)
    assert array.nbytes <= held() <= array.nbytes * 9 / 8
