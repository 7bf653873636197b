"""Open a file for reading, certain that it is a file: never a pipe that blocks, a device, or a folder."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader

from tinygrad_llm.errors import FormatError, TinygradLLMError

Path = str | os.PathLike[str]

# Without O_NONBLOCK the mere opening of a named pipe would wait for somebody to write into it.
# Systems that lack one of these flags also lack the thing that it guards against.
CAREFULLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
REASONS = {
    errno.ENOENT: "there is none of that name: check the spelling",
    errno.EISDIR: "it is a folder: name a file in it",
    errno.EACCES: "permission to read it is denied: ask its owner",
}


@contextmanager
def open_regular(
    path: Path, *, follow_links: bool = True, error: type[TinygradLLMError] = FormatError
) -> Iterator[BufferedReader]:
    """Open an existing regular file for reading bytes; whatever the system says against it becomes `error`.

    Raises: `error`, naming the file, where it is missing, unreadable, a folder, a pipe, a device, or (with
    `follow_links=False`) a symbolic link, and where reading inside the `with` block fails.
    """
    try:
        if not follow_links and os.path.islink(path):
            raise error(f"{os.fspath(path)}: must be a file of its own; it is a symbolic link")
        with _open(path, CAREFULLY | (0 if follow_links else NO_LINK), error) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise error(f"{os.fspath(path)}: must be a regular file; it is a pipe, a device or a socket")
            yield file
    except OSError as problem:
        if isinstance(problem, TinygradLLMError):
            raise
        reason = REASONS.get(problem.errno or 0) or problem.strerror or str(problem)
        raise error(f"{os.fspath(path)}: must be a file that can be read; {reason}") from problem


def _open(path: Path, flags: int, error: type[TinygradLLMError]) -> BufferedReader:
    try:
        return open(path, "rb", opener=lambda name, _: os.open(name, flags))
    except ValueError:
        raise error(f"{os.fspath(path)!r}: must be a file's name; it holds a null byte or half a character") from None
