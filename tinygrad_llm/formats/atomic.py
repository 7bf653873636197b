"""Atomic writes: a file is replaced completely, or not at all.

A process that is killed while it overwrites a file has lost the old bytes and the new ones. So the new bytes go into a
temporary file in the same folder, and one rename puts them in place after they are on the disk:

    .model.safetensors.1f00c3a2.tmp   written, flushed, fsync
                 |  os.replace: on one file system the name points to the old file or to the new one, never to neither
                 v
    model.safetensors                 then fsync of the folder, because the name lives there

A crash leaves the old file and perhaps a temporary file, which `remove_leftovers` deletes.
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
    errno.ENOENT: "its folder does not exist (any more); create it or choose another",
    errno.ENOTDIR: "a part of its path is a file, not a folder; choose another path",
    errno.EISDIR: "a folder has that name; choose another name",
    errno.ENAMETOOLONG: "its name is too long; choose a shorter one",
}


def short_path(path: str | os.PathLike[str]) -> str:
    """A path for a message: at most 200 characters, the middle left out."""
    name = os.fspath(path)
    return name if len(name) <= 200 else f"{name[:100]}...{name[-97:]}"


def cannot_write(path: str | os.PathLike[str], problem: OSError) -> CheckpointError:
    """The error for a file that could not be written: its name, the reason, and what to do."""
    reason = REASONS.get(problem.errno or 0) or problem.strerror or str(problem)
    return CheckpointError(f"{short_path(path)}: cannot be written: {reason}. An older file there is unchanged")


def expect_file_name(path: str | os.PathLike[str]) -> None:
    """Raises: CheckpointError for a path that no file can have"""
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        possible = False
    if not possible:
        raise CheckpointError(f"{short_path(path)!r}: must be a file's name; it has a null byte or a lone surrogate")


def temporary_beside(path: Path) -> Path:
    """A new name in the same folder, and so on the same file system, that `remove_leftovers` recognises."""
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def remove_leftovers(folder: str | os.PathLike[str]) -> list[str]:
    """Delete the temporary files and folders that killed processes left in `folder`, and return their names.

    Call it only with the folder's lock held: the temporary file of a running process has the same kind of name.
    """
    removed = []
    with suppress(FileNotFoundError):
        for entry in list(os.scandir(folder)):
            if TEMPORARY_NAME.fullmatch(entry.name):
                remove_quietly(Path(entry.path))
                removed.append(entry.name)
    return sorted(removed)


def remove_quietly(path: Path) -> None:
    """Delete a file, or a folder with its contents; ignore what cannot be deleted."""
    with suppress(OSError):  # raised also by is_dir, such as for a name that is too long
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def sync_file(file: BinaryIO) -> None:
    """Return when the bytes are on the disk, as far as the system can tell."""
    file.flush()
    if sys.platform == "darwin":  # on macOS fsync only hands the bytes to the drive, which may keep them in its cache
        with suppress(OSError):  # not every file system supports the stronger call
            fcntl.fcntl(file.fileno(), fcntl.F_FULLFSYNC)
            return
    os.fsync(file.fileno())


def sync_folder(folder: str | os.PathLike[str]) -> None:
    """Return when the names in `folder` are on the disk; Windows has no such call."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if problem.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems do not support it
            raise
    finally:
        os.close(descriptor)


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write bytes to, which replaces `path` when the `with` block ends without an exception.

    If the block raises, `path` is unchanged and the temporary file is deleted. A new file has the permissions of the
    umask; a symbolic link at `path` is replaced, not followed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_write(folder + "/note.txt") as file:
    ...         _ = file.write(b"whole or not at all")
    ...     os.listdir(folder)
    ['note.txt']

    Raises: CheckpointError with the reason, such as a full disk, a read-only folder, or a pipe or device at `path`,
            which root would replace by a file
    """
    expect_file_name(path)
    target = Path(path)
    temporary = temporary_beside(target)
    with suppress(OSError):
        mode = os.stat(target).st_mode  # follows links, since /dev/stdout is one
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # os.replace refuses a folder itself
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
    except BaseException:  # also Ctrl-C: the unfinished file must not stay
        remove_quietly(temporary)
        raise
