"""A hub on this machine: a server with the hub's answers, another for large files, and the faults of both."""

import hashlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

COMMIT, NEXT_COMMIT = "a" * 40, "b" * 40
CONFIG, WEIGHTS = b'{"model_type": "llama"}\n', b"weights " * 6000
FILES = {
    "README.md": b"# a model",
    "config.json": CONFIG,
    "tokenizer.json": b"{}",
    "tokenizer_config.json": b'{"eos_token": "<|end|>"}',
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"a pickle",
    "onnx/model.onnx": b"another form",
}
LARGE = 1000  # bytes from which a file is stored on the other server


def git_blob(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class FakeHub:
    """Two servers. `requests` are (host, method, path, Authorization, Range); what is set below are faults."""

    def __init__(self) -> None:
        self.files, self.commit = dict(FILES), COMMIT
        self.requests: list[tuple[str, str, str, str | None, str | None]] = []
        self.states_blobs = True  # else a list of names only, as of older hubs
        self.states_checksums = True  # also in headers
        self.token: str | None = None  # needed for all, as of a gated model
        self.status: dict[str, list[int]] = {}  # for the next requests whose path ends so
        self.retry_after = "0"
        self.cut_after: list[int] = []  # of large files: bytes to send before hanging up, for the next requests
        self.sent: dict[str, bytes] = {}  # another content than the list states
        self.length: int | None = None  # a Content-Length that is not true
        self.stall: Callable[[], object] | None = None  # returns when a large file may go on after its first bytes
        self.redirect_to: str | None = None
        self.answer: bytes | None = None  # in place of the list

    @contextmanager
    def running(self) -> Iterator["FakeHub"]:
        servers = []
        for host in ("hub", "store"):
            handler = type("Handler", (Handler,), {"hub": self, "host": host})
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            servers.append(server)
        self.url, self.store = (f"http://127.0.0.1:{server.server_port}" for server in servers)
        try:
            yield self
        finally:
            for server in servers:
                server.shutdown()
                server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        return {"HF_ENDPOINT": self.url}

    def list_of_files(self) -> dict[str, Any]:
        siblings: list[dict[str, Any]] = []
        for name, content in self.files.items():
            entry: dict[str, Any] = {"rfilename": name}
            if self.states_blobs:
                entry |= {"size": len(content), "blobId": git_blob(content)}
                if len(content) >= LARGE:
                    entry["lfs"] = {"size": len(content), "sha256": sha256(content), "pointerSize": 134}
            siblings.append(entry)
        return {"id": "owner/model", "sha": self.commit, "siblings": siblings}


class Handler(http.server.BaseHTTPRequestHandler):
    hub: FakeHub
    host: str

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        hub, path = self.hub, self.path.partition("?")[0]
        token, wanted = self.headers.get("Authorization"), self.headers.get("Range")
        hub.requests.append((self.host, self.command, path, token, wanted))
        for ending, codes in hub.status.items():
            if codes and path.endswith(ending):
                self.send_response(codes.pop(0))
                self.send_header("Retry-After", hub.retry_after)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        if self.host == "store":
            self._send(path.removeprefix("/"), wanted)
        elif hub.token is not None and token != f"Bearer {hub.token}":
            self.send_error(401)
        elif path.startswith("/api/models/owner/old/"):
            self._redirect(path.replace("/old/", "/model/"))
        elif path.startswith("/api/models/owner/model/revision/"):
            body = hub.answer if hub.answer is not None else json.dumps(hub.list_of_files()).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        elif path.startswith(f"/owner/model/resolve/{hub.commit}/"):
            self._resolve(path.split("/", 5)[5], wanted)
        else:
            self.send_error(404)

    def _resolve(self, name: str, wanted: str | None) -> None:
        hub, content = self.hub, self.hub.files.get(name)
        if content is None:
            self.send_error(404)
        elif len(content) >= LARGE:
            checksum = sha256(content)
            self.send_response(302)
            self.send_header("Location", hub.redirect_to or f"{hub.store}/{name}")
            if hub.states_checksums:
                self.send_header("X-Linked-Size", str(len(content)))
                self.send_header("X-Linked-ETag", f'"{checksum}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send(name, wanted)

    def _redirect(self, path: str) -> None:
        self.send_response(307)
        self.send_header("Location", path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, name: str, wanted: str | None) -> None:
        hub = self.hub
        content = hub.sent.get(name, hub.files[name])
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if wanted and start >= len(content):
            self.send_error(416)
            return
        body = content[start:]
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(body) if hub.length is None else hub.length))
        if hub.states_checksums:
            self.send_header("ETag", f'"{git_blob(hub.files[name])}"')
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.host == "store" and hub.cut_after:
            body = body[: hub.cut_after.pop(0)]
            self.close_connection = True
        try:
            if hub.stall is not None and self.host == "store":
                self.wfile.write(body[:100])
                hub.stall()
                body = body[100:]
            self.wfile.write(body)
        except OSError:
            pass  # the client has hung up, as it should

    def log_message(self, *args: Any) -> None:
        pass
