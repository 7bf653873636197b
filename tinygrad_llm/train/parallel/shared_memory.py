"""Memory that several processes map: what one writes, the others read, and nothing is sent.

A forked process inherits an anonymous mapping. A process that was started anew opens the memory by a name (on Windows)
or is handed its open file, which has no name, so that nothing remains in the system, however the processes end.
"""

from __future__ import annotations

import mmap
import os
import secrets
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array

ALIGNMENT = 64  # bytes, one cache line: no two processes write into the same one


class SharedMemory:
    """`size` bytes of zeros. Pages that no process touches cost nothing.

    With `inherited` false the memory can be pickled into the arguments of a process that is being spawned.

    Raises: OSError if the system has no such memory
    """

    def __init__(self, size: int, inherited: bool = True) -> None:
        self.size, self._file, self._name = max(size, 1), -1, ""
        if inherited:
            self.memory = mmap.mmap(-1, self.size)
        elif sys.platform == "win32":
            self._name = f"tinygrad_llm-{os.getpid()}-{secrets.token_hex(8)}"
            self.memory = mmap.mmap(-1, self.size, tagname=self._name)
        else:
            self._file = _unnamed_file(self.size)
            self.memory = mmap.mmap(self._file, self.size)

    def array(self, offset: int, shape: Sequence[int], dtype: Any) -> Array:
        """An array over the bytes from `offset` on; it keeps the memory alive."""
        array: Array = np.ndarray(shape, dtype, self.memory, offset)
        return array

    def close_file(self) -> None:
        """No more processes are going to be started."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.close_file()  # still open if starting the workers failed

    def __reduce__(self) -> tuple[Any, ...]:
        from multiprocessing import reduction

        return _opened, (self._name if self._file < 0 else reduction.DupFd(self._file), self.size)


def aligned(size: int) -> int:
    """`size` rounded up to whole cache lines. Units: bytes"""
    return -(-size // ALIGNMENT) * ALIGNMENT


def _unnamed_file(size: int) -> int:
    """An open file of zeros in memory: on Linux one that the size of /dev/shm, small in containers, does not limit."""
    file = os.memfd_create("tinygrad_llm") if hasattr(os, "memfd_create") else _nameless_posix_memory()
    os.ftruncate(file, size)
    return file


def _nameless_posix_memory() -> int:
    import _posixshmem

    name = f"/tinygrad-{secrets.token_hex(8)}"  # macOS allows 31 characters
    file: int = _posixshmem.shm_open(name, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode=0o600)
    _posixshmem.shm_unlink(name)
    return file


def _opened(name_or_file: Any, size: int) -> SharedMemory:
    """The memory in a spawned process."""
    opened = SharedMemory.__new__(SharedMemory)
    opened.size, opened._file, opened._name = size, -1, ""
    if isinstance(name_or_file, str):
        opened.memory = mmap.mmap(-1, size, tagname=name_or_file)  # type: ignore[call-arg]
    else:
        file = name_or_file.detach()
        opened.memory = mmap.mmap(file, size)
        os.close(file)
    return opened
