"""One writer per run folder: a second is refused while the first lives, and never because of a lock left behind.

A lock that is merely a file with a number in it outlives a crash, and then stands in the way. So the file is only the
place; the lock itself is the kernel's (flock, or on Windows a locked byte), held by an open file, and the kernel lets
go of it when the process ends, however it ends. The text in the file only helps to say who is there.
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
LOCKED_BYTE = 1 << 30  # on Windows a locked byte cannot be read either: one far behind the text
HELD_BY_ANOTHER = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


class RunLock:
    """The right to write into a run folder, from `acquire` (or entering `with`) to `release` (or its end).

    The lock file stays: to delete it would let a waiting process lock a file that no longer has a name. A process
    that was forked (not started anew) shares the lock and holds it until it ends, too. On Windows, untested, a locked
    byte takes flock's place. A network file system must support locks, or the folder is refused.

    Raises: CheckpointError where another process (or this one, already) holds the lock, or the file cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock at once or raise CheckpointError, saying who holds it."""
        path = self.folder / LOCK_FILE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError as problem:
            raise cannot_write(path, problem) from problem
        try:
            _lock(descriptor)
            text = json.dumps({"pid": os.getpid(), "host": socket.gethostname()}) + "\n"
            with suppress(OSError):  # on a full disk the lock still holds; only its message is poorer
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
        """Give the lock back; without it, nothing happens."""
        if self._descriptor is not None:
            os.close(self._descriptor)  # with the last descriptor of the open file the kernel's lock goes
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
    """Who wrote into the lock file, or that it is unknown: the text is a courtesy, and may be anything."""
    try:
        os.lseek(descriptor, 0, os.SEEK_SET)
        entry = json.loads(os.read(descriptor, 1000))
        return f"process {int(entry['pid'])} on {str(entry['host'])[:100]!r}"
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "another process"
