"""Fetching one file known in advance: resumed where it broke, within a time limit, checked, and whole or not at all.

Bytes gather in `NAME.part` beside the file. A connection that breaks is taken up where it broke, in this call or a
later one. Only when size and sha256 are right does the file take its name, so whatever bears the name is right.
"""

import contextlib
import hashlib
import http.client
import os
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from tinygrad_llm.errors import DownloadError

SILENCE_LIMIT = 30.0  # seconds without a byte after which a connection counts as broken
ATTEMPTS = 4


def fetch(
    url: str,
    path: str | os.PathLike[str],
    *,
    size: int | None,
    sha256: str,
    time_limit: float = 600.0,
    progress: Callable[[int, int], None] | None = None,
    unpack: Callable[[bytes], bytes] | None = None,
    size_limit: int = 10_000_000,
) -> Path:
    """Download `url` to `path`, which is left alone if it is there already; returns the path.

    `unpack`, where what comes over the wire is an archive, makes the file's content of it; size and sha256 are those
    of the content. `size` may be None where only the sha256 is known. Where the size of what comes over the wire is
    not known, `size_limit` bounds it. `progress(bytes_done, bytes_in_all)` is called as bytes arrive.

    Units: size in bytes, time_limit in seconds
    Raises: DownloadError, saying what to do; a cut-off file's first part stays for the next call
    """
    path = Path(path)
    if path.is_file():
        return path
    if not url.startswith(("https://", "http://")):
        raise DownloadError(f"a download needs an http or https address; got {url!r}")
    part = path.with_name(path.name + ".part")
    deadline = time.monotonic() + time_limit
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for attempt in range(1, ATTEMPTS + 1):
            began_at = part.stat().st_size if part.exists() else 0
            try:
                if unpack is not None:
                    _receive(url, part, None, size_limit, deadline, progress)
                    part.write_bytes(unpack(part.read_bytes()))
                elif began_at != size:
                    _receive(url, part, size, size_limit if size is None else size, deadline, progress)
            except (ConnectionError, TimeoutError, http.client.HTTPException, urllib.error.URLError) as error:
                if isinstance(error, urllib.error.HTTPError):
                    error.close()
                    if error.code != 416 or not began_at:
                        raise
                    part.unlink()  # 416: the server has nothing after what we hold, so what we hold is not its file
                elif attempt == ATTEMPTS or time.monotonic() > deadline or not part.exists():
                    raise
                continue
            came = _size_and_sha256(part)
            if came[0] == (came[0] if size is None else size) and came[1] == sha256:
                _place(part, path)
                return path
            part.unlink()
            if not began_at:
                wanted = "" if size is None else f"{size:,} bytes with "
                raise DownloadError(
                    f"{url}: must be {wanted}sha256 {sha256[:16]}...; got {came[0]:,} bytes with "
                    f"{came[1][:16]}...: the file has changed at its home, or something stands in between"
                )
    except DownloadError:
        raise
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{url}: the server answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise DownloadError(
            f"{url}: cannot be fetched to {path}: {reason}: check the connection and call again "
            f"(what has come is kept), or put the file there yourself"
        ) from error
    raise DownloadError(f"{url}: broke off {ATTEMPTS} times: call again, and it goes on where it stopped")


def _receive(
    url: str,
    part: Path,
    size: int | None,
    limit: int,
    deadline: float,
    progress: Callable[[int, int], None] | None,
) -> None:
    """Add to `part` what is missing of it, from where it ends if the server can do that.

    Raises: ConnectionError where the connection ends early, DownloadError beyond `limit` bytes, TimeoutError beyond
            the deadline
    """
    done = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "tinygrad_llm", "Accept-Encoding": "identity"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time limit is over")
    with urllib.request.urlopen(request, timeout=min(SILENCE_LIMIT, left)) as response:
        continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {done}-")
        if not continues:
            done = 0
        announced = response.headers.get("Content-Length", "")
        total = done + int(announced) if re.fullmatch("[0-9]{1,18}", announced) else size
        with open(part, "ab" if continues else "wb") as file:
            while done <= limit and (piece := response.read1(1 << 16)):
                done += len(piece)
                file.write(piece)
                if progress is not None:
                    progress(done, limit if total is None else total)
                if time.monotonic() > deadline:
                    raise TimeoutError("the time limit is over")
    if done > limit:
        part.unlink()
        raise DownloadError(f"{url}: must be at most {limit:,} bytes, and more came: the file has changed at its home")
    if total is not None and done < total:
        raise ConnectionError(f"the connection ended after {done:,} of {total:,} bytes")


def _size_and_sha256(path: Path) -> tuple[int, str]:
    with open(path, "rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def _place(part: Path, path: Path) -> None:
    """Give the checked file its name, on disk before it is visible."""
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, path)
    with contextlib.suppress(OSError):  # some systems cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
