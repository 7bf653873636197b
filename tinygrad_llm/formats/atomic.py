"""Write a file that is there whole or not at all.

Who overwrites a file and is killed half way has lost both the old and the new. So the new bytes go into a temporary
file beside it, and only when the disk says that it has them does one rename put them in place:

    .model.safetensors.1f00c3a2.tmp   written, flushed, fsync
                 |  os.replace: on one file system the name points to the old file or to the new one, never to neither
                 v
    model.safetensors                 then fsync of the folder, because the name lives there

A crash leaves the old file and perhaps a temporary one, which `remove_leftovers` sweeps away.
"""

import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tinygrad_llm.errors import CheckpointError, TinygradLLMError

if sys.platform != "win32":
    import fcntl

TEMPORARY_NAME = re.compile(r"\..+\.[0-9a-f]{8}\.tmp")
REASONS = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission is denied; choose a folder that you may write to",
    errno.EPERM: "permission is denied; choose a folder that you may write to",
    errno.ENOENT: "its folder does not exist (any more); create it or choose another one",
    errno.ENOTDIR: "what should be its folder is a file; choose another place",
    errno.EISDIR: "a folder of that name is in the way",
}


def cannot_write(path: str | os.PathLike[str], problem: OSError) -> CheckpointError:
    """The error that says which file could not be written, why, and what to do about it."""
    reason = REASONS.get(problem.errno or 0) or problem.strerror or str(problem)
    return CheckpointError(f"{os.fspath(path)}: cannot be written: {reason}. What stood there before is untouched")


def temporary_beside(path: Path) -> Path:
    """A new name in the same folder, hence on the same file system, that `remove_leftovers` knows."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def remove_leftovers(folder: str | os.PathLike[str]) -> list[str]:
    """Delete the temporary files and folders that killed writers left in `folder`, and return their names.

    Only for the one who holds the folder's lock: the temporary file of a living writer looks the same.
    """
    removed = []
    with suppress(FileNotFoundError):
        for entry in list(os.scandir(folder)):
            if TEMPORARY_NAME.fullmatch(entry.name):
                remove_quietly(Path(entry.path))
                removed.append(entry.name)
    return sorted(removed)


def remove_quietly(path: Path) -> None:
    """Delete a file or a folder with all it holds; what cannot be deleted stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def sync_file(file: BinaryIO) -> None:
    """Return only when the bytes are on the disk, as far as the system lets one know."""
    file.flush()
    if sys.platform == "darwin":  # there fsync hands the bytes to the drive, which may still hold them in its cache
        with suppress(OSError):  # not every file system knows the stronger call
            fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
            return
    os.fsync(file.fileno())


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Return only when the names in `folder` are on the disk; Windows has no such call, and goes without."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems do without, too
            raise
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Give a file to write bytes to, which takes the place of `path` when the `with` block ends well.

    When the block raises, nothing has happened to `path`, and the temporary file is gone. A new file has the
    permissions that the umask gives; a symbolic link at `path` is replaced, not followed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(folder + "/note.txt") as file:
    ...         _ = file.write(b"whole or not at all")
    ...     os.listdir(folder)
    ['note.txt']

    Raises: CheckpointError, saying why, where the disk is full, the folder read-only or gone, `path` a pipe or a
            device, which the superuser could lose that way, or the like.
    """
    target = Path(path)
    temporary = temporary_beside(target)
    with suppress(OSError):
        mode = os.stat(target).st_mode  # of what a link points to: /dev/stdout is one
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a folder the system itself complains
            raise CheckpointError(f"{target}: cannot be written: a pipe or device must not become a file; name one")
    try:
        with open(temporary, "xb") as file:
            yield file
            sync_file(file)
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as problem:
        remove_quietly(temporary)
        if isinstance(problem, TinygradLLMError):
            raise
        raise cannot_write(path, problem) from problem
    except BaseException:  # Ctrl-C as well: the half file must not stay
        remove_quietly(temporary)
        raise
