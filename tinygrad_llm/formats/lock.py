"""One writing process per run folder: a second process is refused while the first runs, and no stale lock remains.

A lock that is only a file with a process id survives a crash and then blocks its owner. So the lock is the kernel's
(flock, or on Windows a locked byte), held through an open file, and the kernel releases it when the process ends for
any reason. The text in the file only serves to name the process that holds the lock.
"""

import errno
import json
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.formats.atomic import cannot_write

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_FILE = "run.lock"
LOCKED_BYTE = 1 << 30  # on Windows a locked byte cannot be read, so it lies far behind the text
HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


class RunLock:
    """The lock on a run folder, held from `acquire` (or entering `with`) to `release` (or the end of the block).

    The lock file is never deleted: another process might lock a file that no longer has a name. A forked process shares
    the lock and holds it until it ends. On Windows (untested) a locked byte replaces flock. A folder on a network file
    system without locks is refused.

    Raises: CheckpointError if another process (or this one, already) holds the lock, or the file cannot be created
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock, without waiting. Raises: CheckpointError naming the process that holds it."""
        path = self.folder / LOCK_FILE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as problem:
            raise cannot_write(path, problem) from problem
        try:
            _lock(descriptor)
            text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}) + "\n"
            with suppress(OSError):  # on a full disk the lock still works; only its message is less exact
                os.ftruncate(descriptor, 0)
                os.write(descriptor, text.encode())
        except OSError as problem:
            holder = _holder(descriptor)
            os.close(descriptor)
            if problem.errno in HELD_BY_ANOTHER:
                raise CheckpointError(
                    f"{self.folder}: one run at a time may write here; {holder} does. Wait for it, stop it, or choose "
                    "another folder"
                ) from problem
            raise CheckpointError(
                f"{self.folder}: cannot be locked: {problem.strerror}; choose a folder on a local disk"
            ) from problem
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock, if it is held."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # the kernel's lock ends with the last descriptor of the open file
            self._descriptor = None

    def __enter__(self) -> "RunLock":
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _lock(descriptor: int) -> None:
    if sys.platform == "win32":
        os.lseek(descriptor, LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _holder(descriptor: int) -> str:
    """The process that wrote the lock file, if its text can be parsed: it may hold anything."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        entry = json.loads(os.read(descriptor, 1000))
        return f"process {int(entry['pid'])} on {str(entry['host'])[:100]!r}"
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "another process"
