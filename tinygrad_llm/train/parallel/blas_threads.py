"""The number of threads that BLAS runs a product on: before NumPy is loaded by environment variables, then by a call.

This file loads no NumPy.
"""

from __future__ import annotations

import ctypes
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tinygrad_llm.train.parallel.launch import available_cores

VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
SET_HERE = VARIABLES[:2] if sys.platform != "darwin" else (*VARIABLES[:2], VARIABLES[3])


def chosen_by_user() -> str | None:
    """The first of the variables that BLAS libraries read which is set, or None."""
    return next((name for name in VARIABLES if os.environ.get(name)), None)


def threads_by_environment(cores: int) -> int:
    """The number of BLAS threads of a process on `cores` cores: as the environment says, else one per core."""
    for name in VARIABLES:
        if (value := os.environ.get(name, "")).isdecimal() and int(value) > 0:
            return min(int(value), cores)
    return min(len(available_cores()), cores)


def threads_of_each(processes: int, cores: int | None = None) -> int:
    """The number of BLAS threads of each of so many processes that share the cores, by default all of this machine."""
    return max(1, (cores or len(available_cores())) // processes)


@contextmanager
def environment_of_spawned(threads: int) -> Iterator[None]:
    """Processes that are spawned in the block load a BLAS of so many threads, unless the user has chosen a number."""
    names = () if chosen_by_user() else SET_HERE
    os.environ.update(dict.fromkeys(names, str(threads)))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]


@contextmanager
def limited_blas_threads(threads: int) -> Iterator[None]:
    """Run the block with this many BLAS threads per process, unless the user's environment has chosen a number.

    Uses threadpoolctl where it is installed, else OpenBLAS's own call in the library that NumPy has loaded; where
    neither is there, a warning says what to set.
    """
    default = threads_by_environment(len(available_cores()))
    if chosen_by_user() or default <= threads:
        yield
        return
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        pass
    else:
        with threadpool_limits(threads, user_api="blas"):
            yield
        return
    calls = _openblas()
    if calls is None:
        warnings.warn(
            f"each worker runs {default} BLAS threads, more than there are cores for: set "
            f"OPENBLAS_NUM_THREADS={threads} before NumPy is imported, or install threadpoolctl",
            stacklevel=4,
        )
        yield
        return
    get, set_number = calls
    before = get()
    set_number(threads)
    try:
        yield
    finally:
        set_number(before)


def _openblas() -> tuple[Callable[[], int], Callable[[int], object]] | None:
    """OpenBLAS's functions that return and set its number of threads, in the library that NumPy's wheels carry."""
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
        for prefix, suffix in (
            ("scipy_openblas", "64_"),
            ("scipy_openblas", ""),
            ("openblas", "64_"),
            ("openblas", ""),
        ):
            try:
                return library[f"{prefix}_get_num_threads{suffix}"], library[f"{prefix}_set_num_threads{suffix}"]
            except AttributeError:
                continue
    return None
