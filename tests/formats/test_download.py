"""Downloads from a local server that cuts off, lies, is slow or redirects."""

import hashlib
import http.server
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tinygrad_llm.errors import DownloadError
from tinygrad_llm.formats import download, http_get
from tinygrad_llm.formats.download import fetch

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.requests: list[str | None] = []  # the Range of each request
        self.cut_after: list[int] = []  # how many bytes to send before hanging up, for the next requests
        self.ranges = True
        self.announce = True
        self.pauses = False  # after the first 1,000 bytes, until `go_on`
        self.go_on = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/file"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.requests.append(wanted)
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and self.server.ranges else 0
        if self.path == "/slow-header":
            self._send_a_header_slowly()
            return
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        if self.path == "/missing":
            self.send_error(404)
            return
        if start >= len(self.server.content) > 0 and wanted and self.server.ranges:
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            size = len(self.server.content)
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if self.server.announce:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.server.cut_after:
            body = body[: self.server.cut_after.pop(0)]
        try:
            if self.server.pauses:
                self.wfile.write(body[:1000])
                self.server.go_on.wait(60)
            self.wfile.write(body[1000 * self.server.pauses :])
        except OSError:
            pass  # the client has hung up, as it should

    def _send_a_header_slowly(self) -> None:
        try:
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(600):
                self.wfile.write(b"x")
                if self.server.go_on.wait(0.1):
                    return
        except OSError:
            pass  # the client has hung up, as it should

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.go_on.set()
        running.shutdown()
        thread.join(60)


def get(server: Any, path: Path, **changes: Any) -> Path | None:
    arguments = {"url": server.url, "path": path, "size": len(CONTENT), "sha256": SHA256, "time_limit": 20}
    return fetch(**arguments | changes)


def test_a_file_is_downloaded_completely_and_only_once(server: Any, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    seen = []
    assert get(server, path, progress=lambda done, total: seen.append((done, total))) == path
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
    get(server, path)
    assert len(server.requests) == 1


@pytest.mark.parametrize("announce", [True, False])
def test_a_broken_connection_is_resumed(server: Any, tmp_path: Path, announce: bool) -> None:
    server.announce = announce
    server.cut_after = [30_000, 20_000]
    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=30000-", "bytes=50000-"]


def test_a_later_call_resumes_the_download(server: Any, tmp_path: Path) -> None:
    server.cut_after = [1000] * download.ATTEMPTS
    with pytest.raises(DownloadError, match="call again"):
        get(server, tmp_path / "file")
    assert not (tmp_path / "file").exists()
    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert server.requests[-1] == f"bytes={1000 * download.ATTEMPTS}-"


def test_a_server_without_ranges_starts_again(server: Any, tmp_path: Path) -> None:
    server.ranges = False
    server.cut_after = [30_000]
    assert get(server, tmp_path / "file").read_bytes() == CONTENT


def test_a_part_that_is_complete_already_needs_no_network(tmp_path: Path, server: Any) -> None:
    (tmp_path / "file.part").write_bytes(CONTENT)
    assert get(server, tmp_path / "file").read_bytes() == CONTENT
    assert server.requests == []


@pytest.mark.parametrize("left_over", [b"\1" * 500, b"\1" * len(CONTENT), b"\1" * (len(CONTENT) + 9)])
def test_a_part_of_another_file_is_discarded(server: Any, tmp_path: Path, left_over: bytes) -> None:
    (tmp_path / "file.part").write_bytes(left_over)
    assert get(server, tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize(
    "content",
    [CONTENT[:-1], CONTENT + b"x", b"", b"\1" + CONTENT[1:], CONTENT * 50],
    ids=["short", "long", "empty", "changed", "huge"],
)
def test_the_wrong_file_is_refused_and_leaves_nothing(server: Any, tmp_path: Path, content: bytes) -> None:
    server.content = content
    with pytest.raises(DownloadError, match="must be"):
        get(server, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_no_more_memory_is_allocated_than_the_file_has_bytes(server: Any, tmp_path: Path) -> None:
    server.content = CONTENT * 50
    seen = []
    with pytest.raises(DownloadError, match="more were sent"):
        get(server, tmp_path / "file", progress=lambda done, total: seen.append(done))
    assert seen[-1] <= len(CONTENT) + (1 << 16)


def test_a_slow_download_stops_at_the_time_limit_and_is_kept(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pauses, hours = True, []
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * len(hours))
    for module in (download, http_get):
        monkeypatch.setattr(module, "time", clock)
    with pytest.raises(DownloadError, match="time limit"):
        get(server, tmp_path / "file", progress=lambda done, total: hours.append(done))
    assert (tmp_path / "file.part").stat().st_size == 1000
    server.pauses = False
    assert get(server, tmp_path / "file").read_bytes() == CONTENT


def test_a_silent_connection_ends_at_the_time_limit(server: Any, tmp_path: Path) -> None:
    server.pauses = True
    with pytest.raises(DownloadError, match="time limit"):
        get(server, tmp_path / "file", time_limit=0.3)


def test_a_missing_file_and_a_dead_server_are_named(server: Any, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="404"):
        get(server, tmp_path / "file", url=server.url.replace("/file", "/missing"))
    with pytest.raises(DownloadError, match="check the connection"):
        get(server, tmp_path / "file", url="http://127.0.0.1:9/file")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://host/file", "", "http://", "http://[", "http://a b/"])
def test_invalid_addresses_are_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(DownloadError):
        fetch(url, tmp_path / "file", size=1, sha256=SHA256, time_limit=5)


def test_a_folder_that_cannot_be_written_is_named(server: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError):
        get(server, tmp_path / "file" / "below")


def test_an_archive_is_unpacked_before_it_is_checked(server: Any, tmp_path: Path) -> None:
    server.content = CONTENT[::-1]
    path = get(server, tmp_path / "file", unpack=lambda archive: archive[::-1])
    assert path.read_bytes() == CONTENT
    with pytest.raises(DownloadError, match="at most 1,000"):
        get(server, tmp_path / "other", unpack=lambda archive: archive, size_limit=1000)


def test_a_file_of_which_only_the_hash_is_known(server: Any, tmp_path: Path) -> None:
    server.cut_after = [5000]
    with pytest.raises(DownloadError, match="at most 60,000 bytes"):
        get(server, tmp_path / "file", size=None, size_limit=60_000)
    server.cut_after = [5000]
    assert get(server, tmp_path / "file", size=None, size_limit=len(CONTENT)).read_bytes() == CONTENT
    assert "bytes=5000-" in server.requests
    with pytest.raises(DownloadError, match="must be sha256 0000"):
        get(server, tmp_path / "other", size=None, size_limit=len(CONTENT), sha256="0" * 64)
    assert not (tmp_path / "other").exists()


def test_the_time_limit_covers_the_headers(server: Any, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="time limit"):
        get(server, tmp_path / "file", url=server.url.replace("/file", "/slow-header"), time_limit=0.5)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/file", "file:///etc/hostname", "gopher://127.0.0.1/"])
def test_a_redirect_to_another_protocol_is_refused(server: Any, tmp_path: Path, target: str) -> None:
    with pytest.raises(DownloadError):
        get(server, tmp_path / "file", url=server.url.replace("/file", f"/to/{target}"))
    assert not (tmp_path / "file").exists()


def test_a_redirect_to_ftp_says_why(server: Any, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="a redirect may only lead to https or stay at http; got 'ftp'"):
        get(server, tmp_path / "file", url=server.url.replace("/file", "/to/ftp://127.0.0.1/file"))


def test_a_redirect_on_the_same_protocol_is_followed(server: Any, tmp_path: Path) -> None:
    path = get(server, tmp_path / "file", url=server.url.replace("/file", f"/to/{server.url}"))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("kind", ["pipe", "link", "folder"])
def test_a_part_that_is_no_regular_file_is_refused(server: Any, tmp_path: Path, kind: str) -> None:
    part, other = tmp_path / "file.part", tmp_path / "other"
    other.write_bytes(b"mine")
    make = {"pipe": lambda: os.mkfifo(part), "link": lambda: part.symlink_to(other), "folder": part.mkdir}
    make[kind]()
    with pytest.raises(DownloadError, match="must be a regular file"):
        get(server, tmp_path / "file", time_limit=5)
    assert other.read_bytes() == b"mine" and server.requests == []
