"""GPT-2's weights from a server on this machine: whole, checked, resumed, and refused where they are not the right."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.errors import ConfigError, DownloadError
from tinygrad_llm.interop import GPT2_SIZES, download_gpt2, gpt2_download

FILES = {"config.json": b"{}", "vocab.json": b"v" * 1000, "merges.txt": b"m" * 2000, "model.safetensors": b"w" * 50_000}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.cut_after: int | None = None


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append((self.path, wanted))
        body = FILES[self.path.rsplit("/", 1)[1]]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Range", f"bytes {start}-{len(body)}/{len(body)}")
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        cut, self.server.cut_after = self.server.cut_after, None
        self.wfile.write(body[start:][:cut])

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A home of small files, which the table is made to expect."""
    digest = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}
    for name, size in list(GPT2_SIZES.items()):
        small = replace(size, config_sha256=digest["config.json"], weights_sha256=digest["model.safetensors"])
        monkeypatch.setitem(GPT2_SIZES, name, small)
    for name in ("vocab.json", "merges.txt"):
        monkeypatch.setitem(gpt2_download.VOCABULARY, name, (len(FILES[name]), digest[name]))
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join(5)


def home(server: Any) -> Any:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("name", GPT2_SIZES)
def test_the_files_of_each_size_come_from_their_pinned_revision(server: Any, tmp_path: Path, name: str) -> None:
    seen = []
    folder = download_gpt2(name, tmp_path / "new", lambda *progress: seen.append(progress), home(server))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == FILES
    assert ("model.safetensors", 50_000, 50_000) in seen
    paths = [path for path, _ in server.asked]
    assert paths[0] == f"/{name}/resolve/{GPT2_SIZES[name].revision}/config.json"
    assert paths[1] == f"/gpt2/resolve/{GPT2_SIZES['gpt2'].revision}/vocab.json"
    assert paths[3] == f"/{name}/resolve/{GPT2_SIZES[name].revision}/model.safetensors"
    download_gpt2(name, folder, home=home(server))
    assert len(server.asked) == 4  # what is there is not fetched again


def test_a_broken_download_is_resumed(server: Any, tmp_path: Path) -> None:
    for name in ("config.json", "vocab.json", "merges.txt"):
        (tmp_path / name).write_bytes(FILES[name])
    server.cut_after = 20_000
    download_gpt2("gpt2", tmp_path, home=home(server))
    assert [wanted for _, wanted in server.asked] == [None, "bytes=20000-"]
    assert (tmp_path / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_other_bytes_are_refused(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FILES, "model.safetensors", b"x" * 50_000)
    with pytest.raises(DownloadError, match="must be sha256"):
        download_gpt2("gpt2", tmp_path, home=home(server))
    assert not (tmp_path / "model.safetensors").exists()


def test_the_table_names_hashes() -> None:
    for size in GPT2_SIZES.values():
        assert len(size.revision) == 40
        for text in (size.config_sha256, size.weights_sha256):
            assert len(text) == 64 and int(text, 16)
    assert len({size.weights_sha256 for size in GPT2_SIZES.values()}) == len(GPT2_SIZES)


def test_an_unknown_size_and_a_machine_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="gpt2, gpt2-medium, gpt2-large, gpt2-xl; got 'gpt3'"):
        download_gpt2("gpt3", tmp_path)
    monkeypatch.setattr(gpt2_download, "HOME", "http://127.0.0.1:1")
    with pytest.raises(DownloadError, match="check the connection and call again"):
        download_gpt2("gpt2", tmp_path / "new")
