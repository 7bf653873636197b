"""Open a file for reading, certain that it is a file: never a pipe that blocks, a device, or a folder."""

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
        with os.fdopen(os.open(path, CAREFULLY | (0 if follow_links else NO_LINK)), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise error(f"{os.fspath(path)}: must be a regular file; it is a pipe, a device or a socket")
            yield file
    except OSError as problem:
        if isinstance(problem, TinygradLLMError):
            raise
        raise error(f"{os.fspath(path)}: cannot be read: {problem.strerror or problem}") from problem
    except ValueError as problem:  # what os.open says of a name with a null byte
        if isinstance(problem, TinygradLLMError) or "null byte" not in str(problem):
            raise
        raise error(f"{os.fspath(path)!r}: a file name holds no null byte") from problem
