"""Downloading one file whose checksum is known: resumed where it broke off, within a time limit, checked, atomic.

Bytes are collected in `NAME.part` in the same folder. A connection that breaks is resumed from there, in this call or a
later one. The file takes its name only when size and checksum are right, so a file of that name is always right.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedRandom, BufferedReader
from pathlib import Path

from tinygrad_llm.errors import DownloadError

ATTEMPTS = 4

# O_NONBLOCK: opening a named pipe would wait for another process. O_NOFOLLOW: a link could lead to any file.
_PART_FLAGS = os.O_RDWR | os.O_CREAT
for _flag in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"):
    _PART_FLAGS |= getattr(os, _flag, 0)


def fetch(
    url: str,
    path: str | os.PathLike[str],
    *,
    size: int | None,
    sha256: str = "",
    checksum: Checksum | None = None,
    headers: Mapping[str, str] | None = None,
    time_limit: float = 600.0,
    progress: Callable[[int, int], None] | None = None,
    unpack: Callable[[bytes], bytes] | None = None,
    size_limit: int = 10_000_000,
) -> Path:
    """Download `url` to `path`, unless that file exists; returns the path.

    The `checksum` may be given as `sha256`. `unpack` turns an archive that was received into the file's content; size
    and checksum are those of the content. `size` may be None if only the checksum is known. If the size of what is
    received is unknown, `size_limit` bounds it. `headers` are sent with each request, "Authorization" only to the host
    of `url`.
    `progress(bytes_done, bytes_total)` is called as bytes arrive. `time_limit` covers the whole call.

    Units: sizes in bytes, time_limit in seconds
    Raises: DownloadError, saying what to do; the part that was received is kept for the next call
    """
    path = Path(path)
    if path.is_file():
        return path
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"a download needs an http or https address; got {url!r}")
    part = path.with_name(path.name + ".part")
    checksum = checksum or Checksum("sha256", sha256)
    deadline = time.monotonic() + time_limit
    download = _Download(url, part, size, checksum, size_limit, deadline, progress, unpack, headers or {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            if download.attempt(attempt):
                _publish(part, path)
                return path
    except DownloadError:
        raise
    except (OSError, ValueError) as error:
        raise DownloadError(
            f"{url}: cannot be downloaded to {path}: {error}: check the connection and call again "
            f"(the received part is kept), or put the file there yourself"
        ) from error
    raise DownloadError(f"{url}: broke off {ATTEMPTS} times: call again to continue where it stopped")


@dataclass(frozen=True)
class Checksum:
    """What a file's content must hash to, in hexadecimal digits. `kind` is "sha256" or "git blob", git's name of a
    content: the SHA-1 of "blob ", the size in decimal digits, a zero byte and the content."""

    kind: str
    digits: str

    def of(self, file: BufferedRandom | BufferedReader) -> str:
        """The digits of a file, of this kind."""
        if self.kind == "sha256":
            return hashlib.file_digest(file, "sha256").hexdigest()
        size = os.fstat(file.fileno()).st_size
        start = functools.partial(hashlib.sha1, b"blob %d\0" % size, usedforsecurity=False)
        return hashlib.file_digest(file, start).hexdigest()


@dataclass(frozen=True)
class _Download:
    """The state of one `fetch`; `deadline` as `time.monotonic` counts."""

    url: str
    part: Path
    size: int | None
    checksum: Checksum
    size_limit: int
    deadline: float
    progress: Callable[[int, int], None] | None
    unpack: Callable[[bytes], bytes] | None
    headers: Mapping[str, str] = field(repr=False)  # they may hold a secret

    def attempt(self, number: int) -> bool:
        """Receive what is missing and check it. True if `part` is now right, False if another attempt may help.

        Raises: DownloadError or OSError if another attempt cannot help
        """
        from tinygrad_llm.formats.http_get import StatusError  # imports Python's whole HTTP client: only when used

        with _open_part(self.part) as file:
            held = os.fstat(file.fileno()).st_size
        try:
            if self.unpack is not None:
                self._receive(None, self.size_limit)
                with _open_part(self.part) as file:
                    content = self.unpack(file.read())
                    file.seek(0)
                    file.truncate()
                    file.write(content)
            elif held != self.size or not held:
                self._receive(self.size, self.size_limit if self.size is None else self.size)
        except StatusError as error:
            if error.code == 416 and held:  # nothing follows the bytes we hold, so they are not of this file
                self.part.unlink()
                return False
            self._discard_if_empty()
            if number < ATTEMPTS and error.wait_before(number, self.deadline):
                return False
            raise DownloadError(f"{self.url}: {error}") from error
        except (ConnectionError, TimeoutError):
            nothing = self._discard_if_empty()
            if number == ATTEMPTS or nothing or time.monotonic() > self.deadline:
                raise
            return False
        return self._is_right(held)

    def _is_right(self, held: int) -> bool:
        """Whether the part has the right size and checksum; if not, it is deleted.

        Raises: DownloadError if it is wrong although nothing of it is from an earlier call (`held` bytes)
        """
        with _open_part(self.part) as file:
            size, digits = os.fstat(file.fileno()).st_size, self.checksum.of(file)
        if size == (size if self.size is None else self.size) and digits == self.checksum.digits:
            return True
        self.part.unlink()
        if held:
            return False
        expected = "" if self.size is None else f"{self.size:,} bytes with "
        raise DownloadError(
            f"{self.url}: must be {expected}{self.checksum.kind} {self.checksum.digits[:16]}...; got {size:,} bytes "
            f"with {digits[:16]}...: the file has changed, or a proxy altered it"
        )

    def _receive(self, size: int | None, limit: int) -> None:
        """Append the missing bytes to the part, or receive all again if the server cannot resume.

        Raises: ConnectionError if the connection ends early, DownloadError beyond `limit` bytes, TimeoutError at the
                deadline
        """
        from tinygrad_llm.formats.http_get import open_url, seconds_left

        with _open_part(self.part) as file:
            done = file.seek(0, os.SEEK_END)
            headers = {"User-Agent": "tinygrad_llm", "Accept-Encoding": "identity", **self.headers}
            if done:
                headers["Range"] = f"bytes={done}-"
            with open_url(self.url, headers, self.deadline) as response:
                resumes = response.status == 206
                if not (resumes and response.headers.get("Content-Range", "").startswith(f"bytes {done}-")):
                    done = file.seek(0)
                    file.truncate()
                announced = response.headers.get("Content-Length", "")
                total = done + int(announced) if re.fullmatch("[0-9]{1,18}", announced) else size
                while done <= limit and (piece := response.read1(1 << 16)):
                    done += len(piece)
                    file.write(piece)
                    if self.progress is not None:
                        self.progress(done, limit if total is None else total)
                    seconds_left(self.deadline)
        if done > limit:
            self.part.unlink()
            raise DownloadError(f"{self.url}: must be at most {limit:,} bytes; more were sent: the file has changed")
        if total is not None and done < total:
            raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")

    def _discard_if_empty(self) -> bool:
        with contextlib.suppress(OSError):
            if not self.part.stat().st_size:
                self.part.unlink()
        return not self.part.exists()


@contextlib.contextmanager
def _open_part(part: Path) -> Iterator[BufferedRandom]:
    """The part, created if missing, open for reading and writing.

    Raises: DownloadError if it is not a regular file, OSError
    """
    if os.path.lexists(part) and not stat.S_ISREG(os.lstat(part).st_mode):
        raise DownloadError(f"{part}: must be a regular file; it is a pipe, a device, a folder or a link: remove it")
    with open(os.open(part, _PART_FLAGS, 0o666), "r+b") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise DownloadError(f"{part}: must be a regular file: remove it")
        yield file


def _publish(part: Path, path: Path) -> None:
    """Give the checked file its name, after its bytes are on the disk."""
    with _open_part(part) as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    with contextlib.suppress(OSError):  # some systems cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
