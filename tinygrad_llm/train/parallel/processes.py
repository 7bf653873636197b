"""The processes behind a team of workers: starting them, calling them, and ending with them.

The first process calls a method by name; every process runs it on its own share, and the first collects the results
in the order of ranks. The call is the barrier: no process goes on to the next before all have answered this one.

A worker never outlives the first process. On Linux the kernel kills it when that ends, however it ends; elsewhere it
reads the end of its pipe. It ignores Ctrl-C and the other signals in `INTERRUPTIONS`, which the first process handles.
When a worker dies, its pipe closes: the first process notices, and ends the other workers.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import io
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError, TinygradLLMError, WorkerError
from tinygrad_llm.train.parallel.blas_threads import environment_of_spawned, threads_of_each
from tinygrad_llm.train.parallel.product_threads import are_cut, products_in_threads
from tinygrad_llm.train.parallel.shared_memory import SharedMemory
from tinygrad_llm.train.trainer import INTERRUPTIONS

SECONDS_TO_END = 5.0  # for workers that were told to; then they are killed
SECONDS_TO_SPIN = 5e-4  # before a process sleeps until a message comes, since waking it takes 0.05 ms
SECONDS_TO_WAIT = 1e-6  # the shortest sleep, which takes 0.07 ms on Linux
SECONDS_BETWEEN_CHECKS = 1.0  # for workers that have died, while another one's answer is expected
PR_SET_PDEATHSIG = 1  # Linux: the signal that a process gets when its parent dies

_main_is_hidden = threading.Lock()
_yield_core: Callable[[], object] = getattr(os, "sched_yield", lambda: time.sleep(0))


def can_fork() -> bool:
    """Whether forking is safe here: Linux, and no other thread that may hold a lock at that moment.

    On macOS the system's own libraries, BLAS among them, do not survive a fork.
    """
    return sys.platform == "linux" and threading.active_count() == 1


class Processes:
    """`size` processes that run the same calls, each on its share; this one is the first.

    Each calls `share.begin(rank, wait)` before all else. In a call, `wait()` sleeps for a moment, for a process that
    needs another one's part; it raises if one has died.

    `teams` such groups of processes share the cores of this machine. Forked workers inherit `share`. Spawned ones get a
    pickled copy, in which arrays of `memory` are references.

    Raises: OSError, pickle.PicklingError, TypeError or AttributeError if a worker cannot be started
    """

    def __init__(self, share: Any, memory: Sequence[SharedMemory], size: int, forked: bool, teams: int = 1) -> None:
        import multiprocessing

        self.share, self.size = share, size
        self._workers: list[tuple[Any, Any]] = []  # a process and this side's end of its pipe
        context: Any = multiprocessing.get_context("fork" if forked else "spawn")
        packed = share if forked else _pickled(share, memory)
        atexit.register(self.kill)
        if forked:
            _return_freed_memory()
        try:
            with _signals_held_back(), nullcontext() if forked else _made_ready_to_spawn(size * teams):
                for rank in range(1, size):
                    mine, its = context.Pipe()
                    inherited = [pipe for _, pipe in self._workers] + [mine] if forked else []
                    arguments = (packed, memory, rank, its, os.getpid(), inherited, are_cut())
                    process = context.Process(target=_work, args=arguments, name=f"worker {rank + 1} of {size}")
                    try:
                        process.start()
                    except BaseException:
                        mine.close()
                        raise
                    finally:
                        its.close()
                    self._workers.append((process, mine))
            share.begin(0, self._wait)
            for rank in range(1, size):
                self._answer_of(rank)
        except BaseException:
            self.kill()
            raise

    def call(self, method: str, *arguments: Any, meanwhile: Callable[[], None] = lambda: None) -> list[Any]:
        """Call a method of every process's share with these arguments; the results in the order of ranks.

        This process, which begins first, then does `meanwhile`, while the others may still be busy. An error ends the
        workers.

        Raises: WorkerError if a worker has died; the error of a worker that failed; ConfigError for arguments that
                cannot be pickled
        """
        message = _packed_call(method, arguments)
        try:
            for rank, (_, pipe) in enumerate(self._workers, start=1):
                try:
                    pipe.send_bytes(message)
                except OSError:
                    raise self._death_of(rank) from None
            own = getattr(self.share, method)(*arguments)
            meanwhile()
            return [own, *(self._answer_of(rank) for rank in range(1, self.size))]
        except BaseException:
            self.kill()  # the next call would take answers that nobody has read for its own
            raise

    @property
    def ended(self) -> bool:
        """Whether there are no workers any more, as after a call that failed."""
        return not self._workers

    @property
    def numbers(self) -> list[int]:
        """The numbers by which the system knows the processes, in the order of ranks."""
        return [os.getpid(), *(process.pid for process, _ in self._workers)]

    def stop(self) -> None:
        """End the workers, and wait for them."""
        for _, pipe in self._workers:
            with suppress(OSError):
                pipe.send_bytes(b"")
        for process, _ in self._workers:
            process.join(SECONDS_TO_END)
        self.kill()

    def kill(self) -> None:
        """End the workers at once, and wait for them."""
        atexit.unregister(self.kill)
        for process, _ in self._workers:
            process.kill()
        for process, pipe in self._workers:
            process.join()
            process.close()
            pipe.close()
        self._workers.clear()

    def _wait(self) -> None:
        time.sleep(SECONDS_TO_WAIT)
        for rank, (process, _) in enumerate(self._workers, start=1):
            if not process.is_alive():
                self._answer_of(rank)  # raises the error that it ended with, if it has sent one
                raise self._death_of(rank)

    def _answer_of(self, rank: int) -> Any:
        pipe = self._workers[rank - 1][1]
        try:
            while not (_spin(pipe) or pipe.poll(SECONDS_BETWEEN_CHECKS)):
                self._wait()  # it may wait itself, for another one that has died
            kind, answer = pickle.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            raise self._death_of(rank) from None
        if kind == "failed":
            raise answer
        return answer

    def _death_of(self, rank: int) -> WorkerError:
        process = self._workers[rank - 1][0]
        process.join(SECONDS_TO_END)
        code = process.exitcode
        how = f"ended with code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
            how += ", as the system does when memory runs out" if -code == getattr(signal, "SIGKILL", 0) else ""
        return WorkerError(
            f"worker {rank + 1} of {self.size}, process {process.pid}, {how}; its work is lost, and the "
            "command ends: a run resumes from its last checkpoint, with fewer workers or a smaller batch if memory is "
            "short"
        )


def _spin(pipe: Any) -> bool:
    """Wait busily for a message that is about to come, but leave the core to any other process that can run.

    Returns whether there is one.
    """
    stop = time.perf_counter() + SECONDS_TO_SPIN
    while not (ready := pipe.poll()) and time.perf_counter() < stop:
        _yield_core()
    return bool(ready)


# -- the worker's side


def _work(
    packed: Any,
    memory: Sequence[SharedMemory],
    rank: int,
    pipe: Any,
    first: int,
    inherited: Sequence[Any],
    cut_products: bool,
) -> None:
    """The whole life of a worker: run the calls that come through the pipe until it ends."""
    for signum in INTERRUPTIONS:
        signal.signal(signum, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _die_with(first)
    for other in inherited:  # while a worker held the first process's end of a pipe, nobody would read its end
        other.close()
    gc.freeze()  # the collector would write into every page that is still shared with the first process
    np.seterr(all="ignore")  # as in the command; infinity and NaN are reported by the trainer
    try:
        with products_in_threads(1) if cut_products else nullcontext():
            share = _unpickled(packed, memory) if isinstance(packed, bytes) else packed
            answer: Any = ("done", share.begin(rank, lambda: _wait(pipe)))
            while True:
                pipe.send_bytes(pickle.dumps(answer))
                _spin(pipe)
                if answer[0] == "failed" or not (message := pipe.recv_bytes()):
                    return
                answer = _outcome(share, message, rank)
    except (EOFError, OSError):  # the first process is gone
        os._exit(1)


def _wait(pipe: Any) -> None:
    """Sleep for a moment in a call. Raises: EOFError if the first process is gone, which now sends nothing"""
    time.sleep(SECONDS_TO_WAIT)  # `poll` would wait for whole milliseconds
    if pipe.poll():
        raise EOFError


def _packed_call(method: str, arguments: Sequence[Any]) -> bytes:
    try:
        return pickle.dumps((method, arguments))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"workers: a batch must consist of arrays and numbers, which can be sent to other processes; got {error}: "
            "change the batches, or train with workers=1"
        ) from error


def _outcome(share: Any, message: bytes, rank: int) -> tuple[str, Any]:
    """What a call gave: ("done", result) or ("failed", error)."""
    try:
        method, arguments = pickle.loads(message)
        return "done", getattr(share, method)(*arguments)
    except TinygradLLMError as error:
        return "failed", error
    except MemoryError:
        return "failed", WorkerError(f"worker {rank + 1}: out of memory; use fewer workers or a smaller batch")
    except BaseException as error:
        return "failed", WorkerError(f"worker {rank + 1}: {type(error).__name__}: {error}")


def _die_with(parent: int) -> None:
    """On Linux, be killed when the process `parent`, which started this one, ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it has ended already
            os._exit(1)


# -- starting


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Deliver signals after the block: a worker that is starting must not handle them as its parent does."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, INTERRUPTIONS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _return_freed_memory() -> None:
    """Let the C library (glibc) return freed memory to the system, such as that of weights that moved into the shared
    memory: a forked worker would share it, and keep it for as long as it lives.
    """
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


@contextmanager
def _made_ready_to_spawn(processes: int) -> Iterator[None]:
    """Give spawned processes their share of BLAS threads, and no main program."""
    with _nothing_to_run_again(), environment_of_spawned(threads_of_each(processes)):
        yield


@contextmanager
def _nothing_to_run_again() -> Iterator[None]:
    """Hide the main program: a spawned process would run its file again, training and all. One thread at a time."""
    with _main_is_hidden:
        main = sys.modules["__main__"]
        sys.modules["__main__"] = type(sys)("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = main


def _pickled(share: Any, memory: Sequence[SharedMemory]) -> bytes:
    """The share for a spawned process; in the place of `memory`, and of arrays that lie in it, come references."""
    numbers = {id(block): number for number, block in enumerate(memory)}
    of_mapping = {id(block.memory): number for number, block in enumerate(memory)}
    starts = [block.array(0, (1,), np.uint8).ctypes.data for block in memory]

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            if isinstance(value, np.ndarray) and id(value.base) in of_mapping:
                number = of_mapping[id(value.base)]
                return number, value.ctypes.data - starts[number], value.shape, value.dtype.str
            return numbers.get(id(value)) if isinstance(value, SharedMemory) else None

    file = io.BytesIO()
    with _nothing_to_run_again():
        Pickler(file, pickle.HIGHEST_PROTOCOL).dump(share)
    return file.getvalue()


def _unpickled(packed: bytes, memory: Sequence[SharedMemory]) -> Any:
    class Unpickler(pickle.Unpickler):
        def persistent_load(self, reference: Any) -> Any:
            if isinstance(reference, int):
                return memory[reference]
            number, start, shape, dtype = reference
            return memory[number].array(start, shape, dtype)

    return Unpickler(io.BytesIO(packed)).load()
