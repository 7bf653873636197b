"""The lab's server: the page, its requests and its events, over HTTP on 127.0.0.1.

    GET  /TOKEN/            the page
    GET  /TOKEN/main.js     a file of it
    POST /TOKEN/api/look    a request (requests.py), with a JSON body
    GET  /TOKEN/api/events  server-sent events: where the training is, and the records of its steps

Every connection has a thread; what a request computes is computed by the owner's thread alone.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.formats.strict_json import parse_json
from tinygrad_llm.lab import guard
from tinygrad_llm.lab.body import Body
from tinygrad_llm.lab.chat import FIELDS, Answer
from tinygrad_llm.lab.events import events
from tinygrad_llm.lab.owner import Ended
from tinygrad_llm.lab.requests import REQUESTS, answer
from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.training_session import NotPossible
from tinygrad_llm.web.page_files import page_file

CHAT = "chat"  # the one request whose answer is a stream
MAX_BODY = 1 << 16  # bytes
MAX_CONNECTIONS = 64
SECONDS_OF_SILENCE = 30.0  # after which a connection in the middle of a request is closed


class LabServer(ThreadingHTTPServer):
    """Serves `session` on 127.0.0.1; `port` 0 takes a free one. Raises: OSError if the port is taken"""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session, self.token = session, guard.new_token()
        self.ending = threading.Event()
        self.connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(("127.0.0.1", port), Handler)

    @property
    def address(self) -> str:
        """The whole address of the page, with its token."""
        return f"http://127.0.0.1:{self.server_address[1]}/{self.token}/"

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self.connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.connections.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke concerns nobody else; another error is one of this package, and is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: LabServer
    protocol_version = "HTTP/1.1"
    timeout = SECONDS_OF_SILENCE
    server_version, sys_version = "tinygrad-llm-lab", ""

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal belongs to the lab's user."""

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path == "api/events":
            self._send_events()
        elif path.removeprefix("api/") in REQUESTS:
            self._refuse(405, "requests are sent with POST")
        elif file := page_file("lab", path or "index.html"):
            self._send(200, *file)
        else:
            self._refuse(404, "the lab has no such page")

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        body = self._body()
        if body is None:
            return
        name = path.removeprefix("api/")
        if path == name or (name not in REQUESTS and name != CHAT):
            self._refuse(404, "the lab has no such request")
            return
        try:
            if name == CHAT:
                self._send_chat(Body(name, FIELDS, parse_json(body, name)))
                return
            found = answer(self.server.session, name, parse_json(body, name))
            self.server.session.seen.remember(name, body.decode(), found)
            self._send(200, "application/octet-stream", found)
        except NotPossible as error:
            self._refuse(409, str(error))
        except Ended as error:
            self._refuse(503, str(error))
        except TinygradLLMError as error:
            self._refuse(400, str(error))
        except MemoryError:
            self._refuse(409, "there is not enough memory for this")
        except OSError:
            raise  # the connection has broken
        except Exception as error:  # such as code with a mistake of the fault lab makes
            self._refuse(500, f"{type(error).__name__}: {error}")

    def _other_method(self) -> None:
        if self._path() is not None:
            self._refuse(405, "the lab takes GET and POST")

    do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_TRACE = do_CONNECT = _other_method

    # -- reading

    def _path(self) -> str | None:
        """What follows the token in the path; None if the request is refused."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if reason := guard.refusal(self.server.token, self.path, hosts, origins):
            self._refuse(403, reason)
            return None
        after = self.path.lstrip("/")[len(self.server.token) :].partition("?")[0]
        if not after.startswith("/"):  # relative addresses of the page need the slash
            self._send(308, "text/plain; charset=utf-8", b"", {"Location": f"/{self.server.token}/"})
            return None
        return after[1:]

    def _body(self) -> bytes | None:
        """The whole body; None if it is refused."""
        lengths = self.headers.get_all("Content-Length", [])
        if self.headers.get("Transfer-Encoding") is not None or len(lengths) != 1:
            self._refuse(411, "a request needs one Content-Length")
            return None
        if not re.fullmatch(r"[0-9]{1,9}", lengths[0]):
            self._refuse(400, "Content-Length must be a number of bytes")
            return None
        if int(lengths[0]) > MAX_BODY:
            self._refuse(413, f"a body has at most {MAX_BODY:,} bytes; got {lengths[0]}")
            return None
        if self.headers.get_content_type() != "application/json":
            self._refuse(415, "a body is application/json")
            return None
        body = self.rfile.read(int(lengths[0]))
        return body if len(body) == int(lengths[0]) else None

    # -- writing

    def _refuse(self, status: int, reason: str) -> None:
        self.close_connection = True  # a body that was not read must not be taken for the next request
        text = json.dumps({"error": reason}).encode()
        self._send(status, "application/json", text, {"Connection": "close"})

    def _send(self, status: int, kind: str, body: bytes, more: dict[str, str] | None = None) -> None:
        self._send_head(status, {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, **guard.HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()

    def _send_chat(self, body: Body) -> None:
        """An answer as it is generated. It ends with the connection: what nobody reads is not generated."""
        session = self.server.session
        chat = session.ask(lambda: Answer(session, body))
        self._begin_events()
        more: dict[str, Any] = {}
        while not more.get("done"):
            try:
                more = session.ask(chat.more)
            except TinygradLLMError as error:
                more = {"error": str(error), "done": True, "why": "error"}
            self.wfile.write(f"data: {json.dumps(more)}\n\n".encode())

    def _begin_events(self) -> None:
        self.close_connection = True
        self._send_head(200, {"Content-Type": "text/event-stream", "Connection": "close"})

    def _send_events(self) -> None:
        self._begin_events()
        for event in events(self.server.session, self.server.ending):
            self.wfile.write(event)


@contextlib.contextmanager
def serving(server: LabServer) -> Iterator[threading.Thread]:
    """The threads of the lab run inside the block: one serves, one owns the model, which this yields."""
    owner = threading.Thread(target=server.session.run, name="owner of the model", daemon=True)
    acceptor = threading.Thread(target=server.serve_forever, args=(0.05,), name="server", daemon=True)
    owner.start()
    acceptor.start()
    try:
        yield owner
    finally:
        server.ending.set()
        server.session.owner.end()
        with server.session.news:
            server.session.news.notify_all()
        server.shutdown()
        server.server_close()
        owner.join(0.1)
