"""Opening regular files only: a pipe could block, and a device or a folder is no data."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

from tinygrad_llm.errors import FormatError, TinygradLLMError
from tinygrad_llm.formats.atomic import short_path

Path = str | os.PathLike[str]

# O_NONBLOCK: opening a named pipe would wait for another process to write into it.
# A system without one of these flags also lacks what the flag protects from.
NONBLOCKING_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
REASONS = {
    errno.ENOENT: "there is none of that name: check the spelling",
    errno.EISDIR: "it is a folder: name a file in it",
    errno.EACCES: "permission to read it is denied: ask its owner",
    errno.ENAMETOOLONG: "its name is too long: check the spelling",
}


@contextmanager
def open_regular(
    path: Path, *, follow_links: bool = True, error: type[TinygradLLMError] = FormatError
) -> Iterator[BufferedReader]:
    """An existing regular file, open for reading bytes; every OSError becomes `error`.

    Raises: `error`, naming the file, if it is missing, unreadable, a folder, a pipe, a device, or (with
            `follow_links=False`) a symbolic link, or if reading fails inside the `with` block
    """
    try:
        if not follow_links and os.path.islink(path):
            raise error(f"{short_path(path)}: must be a file, not a symbolic link")
        with _open(path, NONBLOCKING_READ | (0 if follow_links else NO_LINK), error) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise error(f"{short_path(path)}: must be a regular file; it is a pipe, a device or a socket")
            yield file
    except OSError as problem:
        if isinstance(problem, TinygradLLMError):
            raise
        reason = REASONS.get(problem.errno or 0) or problem.strerror or str(problem)
        raise error(f"{short_path(path)}: must be a file that can be read; {reason}") from problem


def read_utf8(path: Path) -> str:
    """The text of an existing regular file in UTF-8; line ends are unchanged.

    Raises: FormatError, as `open_regular` does, and for bytes that are not UTF-8
    """
    with open_regular(path) as file:
        content = file.read()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as problem:
        what = f"byte 0x{content[problem.start]:02x} at offset {problem.start} is not ({problem.reason})"
        raise FormatError(f"{short_path(path)}: must be UTF-8; {what}; convert the file to UTF-8") from None


def _open(path: Path, flags: int, error: type[TinygradLLMError]) -> BufferedReader:
    try:
        return open(path, "rb", opener=lambda name, _: os.open(name, flags))
    except ValueError:
        raise error(f"{short_path(path)!r}: must be a file's name; it has a null byte or a lone surrogate") from None
