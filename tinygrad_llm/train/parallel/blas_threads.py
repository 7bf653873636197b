"""The number of threads that BLAS runs a product on: before NumPy is loaded by environment variables, then by a call.

This file loads no NumPy.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tinygrad_llm.train.parallel.cores_and_memory import available_cores, usable_cores

Setter = Callable[[int], object]
Library = tuple[Callable[[], int], Setter]  # its functions that return and set its number of threads

VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
SET_HERE = VARIABLES[:2] if sys.platform != "darwin" else (*VARIABLES[:2], VARIABLES[3])
_lock = threading.Lock()
_limits: list[int] = []  # of the `limited_blas_threads` blocks that run now, in whatever threads of this process
_unlimited: list[tuple[Setter, int]] = []  # of each library: the threads before the first of these blocks
_for_spawned: set[str] = set()  # variables that are set for a moment, while a process is spawned
_limited_by_command = False


def chosen_by_user() -> str | None:
    """The first of the variables that BLAS libraries read which is set, or None."""
    return next((name for name in VARIABLES if os.environ.get(name) and name not in _for_spawned), None)


def threads_by_environment(cores: int) -> int:
    """The number of BLAS threads of a process on `cores` cores: as the environment says, else one per core."""
    for name in VARIABLES:
        if (value := os.environ.get(name, "")).isdecimal() and int(value) > 0 and name not in _for_spawned:
            return min(int(value), cores)
    return min(len(available_cores()), cores)


def threads_of_each(processes: int, cores: int | None = None) -> int:
    """The number of BLAS threads of each of so many processes that share the cores, by default those that this process
    may use.
    """
    return max(1, (cores or usable_cores()) // processes)


@contextmanager
def environment_of_spawned(threads: int) -> Iterator[None]:
    """Processes that are spawned in the block load a BLAS of so many threads, unless the user has chosen a number."""
    names = () if chosen_by_user() else SET_HERE
    _for_spawned.update(names)
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
        _for_spawned.difference_update(names)


def limit_by_environment(threads: int) -> None:
    """Before NumPy is loaded, set the number of BLAS threads for this program."""
    global _limited_by_command
    os.environ.update(dict.fromkeys(SET_HERE, str(threads)))
    _limited_by_command = True


def adjust_limit_by_environment(processes: int) -> None:
    """After `limit_by_environment`, when the number of processes that share the cores is known: divide these anew."""
    threads = threads_of_each(processes)
    if not _limited_by_command or os.environ.get(SET_HERE[0]) == str(threads):
        return
    limit_by_environment(threads)  # for checkpoints, which record it, and for processes that are spawned
    for _, set_number in _libraries():
        set_number(threads)


@contextmanager
def limited_blas_threads(threads: int, even_if_chosen: bool = False) -> Iterator[None]:
    """Run the block with this many BLAS threads per process, unless the user's environment has chosen a number.

    With `even_if_chosen`, that number is limited too.

    Uses threadpoolctl where it is installed, else OpenBLAS's own call in the library that NumPy has loaded; where
    neither is there, a warning says what to set.
    """
    default = threads_by_environment(len(available_cores()))
    if (chosen_by_user() and not even_if_chosen) or default <= threads:
        yield
        return
    libraries = _libraries()
    if not libraries:
        warnings.warn(
            f"each process runs {default} BLAS threads, more than there are cores for: set "
            f"OPENBLAS_NUM_THREADS={threads} before NumPy is imported"
            + ("" if importlib.util.find_spec("threadpoolctl") else ", or install threadpoolctl"),
            stacklevel=4,
        )
        yield
        return
    with _lock:
        if not _limits:
            _unlimited[:] = [(set_number, get()) for get, set_number in libraries]
        _limits.append(threads)
    try:
        _apply_limits()
        yield
    finally:
        with _lock:
            _limits.remove(threads)
        _apply_limits()


def _apply_limits() -> None:
    with _lock:
        for set_number, number in _unlimited:
            set_number(min([number, *_limits]))


def _libraries() -> list[Library]:
    """The BLAS libraries that are loaded."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        openblas = _openblas()
        return [] if openblas is None else [openblas]
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [(partial(getattr, library, "num_threads"), library.set_num_threads) for library in found]


def _openblas() -> Library | None:
    """OpenBLAS's functions that return and set its number of threads."""
    get, set_number = _openblas_function("get_num_threads"), _openblas_function("set_num_threads")
    return None if get is None or set_number is None else (get, set_number)


def openblas_kernels() -> str | None:
    """The name of the kernels that OpenBLAS uses, such as Haswell (AVX2) or SkylakeX (AVX-512).

    It chooses them by the processor, or by the variable OPENBLAS_CORETYPE. None where NumPy has another BLAS.
    """
    name = _openblas_function("get_corename")
    if name is None:
        return None
    name.restype = ctypes.c_char_p
    return str(name().decode())


def _openblas_function(name: str) -> Any:
    """A function of the OpenBLAS that NumPy's wheels carry, or None."""
    numpy = sys.modules.get("numpy")
    if numpy is None or not numpy.__file__:
        return None
    package = Path(numpy.__file__).parent
    folders = (package.parent / "numpy.libs", package / ".dylibs")
    for path in (path for folder in folders for path in sorted(folder.glob("*openblas*"))):
        try:
            library = ctypes.CDLL(str(path))  # loaded already, so this only finds it
        except OSError:
            continue
        for prefix in ("scipy_openblas", "openblas"):
            for suffix in ("64_", ""):
                if function := getattr(library, f"{prefix}_{name}{suffix}", None):
                    return function
    return None
