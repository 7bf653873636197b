"""The server: the page, and OpenAI's endpoints, over HTTP.

    GET  /                       the page to chat in; its files are /page/NAME
    GET  /health                 {"status": "ok"}
    GET  /v1/models              the one model; /v1/models/ID
    POST /v1/completions         the continuation of a text
    POST /v1/chat/completions    the answer in a conversation

Every connection has a thread; what it asks for is computed by the engine's thread, together with the others'.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats.strict_json import parse_json
from tinygrad_llm.serve.answer_forms import ChatAnswerForm, CompletionAnswerForm
from tinygrad_llm.serve.answering import Answering
from tinygrad_llm.serve.api_error import ApiError, as_api_error
from tinygrad_llm.serve.engine import Engine
from tinygrad_llm.serve.parameters import Wanted, read_chat, read_completion
from tinygrad_llm.serve.served_model import ServedModel
from tinygrad_llm.web import guard
from tinygrad_llm.web.connections import BoundedServer
from tinygrad_llm.web.handler import Handler
from tinygrad_llm.web.page_files import page_file

MODELS, COMPLETIONS, CHAT = "/v1/models", "/v1/completions", "/v1/chat/completions"
SECONDS_BETWEEN_PINGS = 10.0  # of a stream in which nothing comes, such as while a long prompt is read
SECONDS_TO_END = 3.0  # at most, for streams to tell their clients that the server is ending


class ModelServer(BoundedServer):
    """Serves a model at an address; port 0 takes a free one. With `api_key`, clients must send it as a Bearer token.

    `log` prints a line per request on standard error. Raises: OSError if the port is taken
    """

    def __init__(
        self,
        served: ServedModel,
        engine: Engine,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str | None = None,
        log: bool = False,
    ) -> None:
        self.served, self.engine, self.api_key, self.log = served, engine, api_key, log
        self.is_loopback = is_loopback(host)
        super().__init__((host, port), ModelHandler)

    @property
    def address(self) -> str:
        """Where the page is."""
        host, port = str(self.server_address[0]), self.server_address[1]
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    return host in ("127.0.0.1", "localhost", "::1")


class ModelHandler(Handler):
    """One connection."""

    server: ModelServer
    server_version = "tinygrad-llm"
    max_body = 1 << 20  # bytes

    # -- methods

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        served = self.server.served
        if path in (COMPLETIONS, CHAT):
            self._refuse_method("POST")
        elif path == "/health":
            self._send_json(200, {"status": "ok"})
        elif path == MODELS:
            self._send_json(200, {"object": "list", "data": [served.described()]})
        elif path == f"{MODELS}/{served.name}":
            self._send_json(200, served.described())
        elif path.startswith(f"{MODELS}/"):
            name = path.removeprefix(f"{MODELS}/")[:100]
            message = f"the model {name!r} does not exist here; this server has {served.name!r}"
            self._send_error(ApiError(404, message, "model", "model_not_found"))
        elif file := page_file("serve", "index.html" if path == "/" else path.removeprefix("/page/")):
            self.send(200, *file)
        else:
            self._refuse_path()

    do_HEAD = do_GET

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        if path not in (COMPLETIONS, CHAT):
            self._refuse_method("GET") if path == MODELS else self._refuse_path()
            return
        body = self.read_body()
        if body is None:
            return
        served = self.server.served
        try:
            fields = parse_json(body, "request")
            wanted = (read_chat if path == CHAT else read_completion)(fields, served)
            form = (ChatAnswerForm if path == CHAT else CompletionAnswerForm)(
                served, wanted.job.choosing.top is not None
            )
            with Answering(self.server.engine, served, wanted) as answering:
                if wanted.stream:
                    self._send_stream(answering, form, wanted)
                else:
                    self._send_json(200, self._whole(answering, form))
        except FormatError as error:
            self._send_error(ApiError(400, str(error)))
        except OSError:
            raise  # the connection has broken
        except Exception as error:
            self._send_error(as_api_error(error))

    def _other_method(self) -> None:
        if self._path() is not None:
            self._refuse_method("GET, POST")

    do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_TRACE = do_CONNECT = _other_method

    # -- who may ask for what

    def _path(self) -> str | None:
        """The path without its query; None if the request is refused."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        check = guard.refusal if self.server.is_loopback else guard.foreign_origin
        if reason := check(hosts, origins):
            self.refuse(403, reason)
            return None
        path = urllib.parse.unquote(self.path.partition("?")[0].partition("#")[0])
        path = path.rstrip("/") or "/"
        if path.startswith("/v1/") and not self._has_key():
            self.refuse(401, "this server needs its API key: send it as `Authorization: Bearer KEY`")
            return None
        return path

    def _has_key(self) -> bool:
        if self.server.api_key is None:
            return True
        scheme, _, key = self.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and guard.same_secret(key.strip(), self.server.api_key)

    # -- answers

    def _whole(self, answering: Answering, form: CompletionAnswerForm) -> dict[str, Any]:
        pieces: list[list[Any]] = [[] for _ in answering.job.texts]
        reasons = [""] * len(pieces)
        for part in answering.parts(self.rfile.client_has_gone):
            if part is not None:
                pieces[part.choice].append(part.piece)
                reasons[part.choice] = part.reason or ""
        choices = [form.choice(index, *both) for index, both in enumerate(zip(pieces, reasons, strict=True))]
        return form.whole(choices, answering.usage)

    def _send_stream(self, answering: Answering, form: CompletionAnswerForm, wanted: Wanted) -> None:
        self.begin_events()
        self._last_event = time.monotonic()
        try:
            for text in wanted.job.texts:
                if first := form.first(text.choice):
                    self._send_event(form.chunk(first, wanted.include_usage))
            for part in answering.parts(self.rfile.client_has_gone):
                if part is None:
                    self._ping()
                    continue
                index, piece, reason = part
                if reason is None or piece.text or piece.tokens:
                    self._send_event(form.chunk([form.part(index, piece)], wanted.include_usage))
                if reason is not None:
                    last = form.part(index, piece._replace(text="", tokens=[]), reason)
                    self._send_event(form.chunk([last], wanted.include_usage))
            if wanted.include_usage:
                self._send_event(form.chunk([], True, answering.usage))
            self.wfile.write(b"data: [DONE]\n\n")
        except OSError:
            raise
        except Exception as error:  # the head has been sent: the error is an event
            self._send_event(as_api_error(error).body)

    def _send_event(self, data: Any) -> None:
        self._last_event = time.monotonic()
        self.wfile.write(b"data: " + json.dumps(data, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n")

    def _ping(self) -> None:
        """A comment, which clients leave out, so that nobody takes a slow stream for a dead one."""
        if time.monotonic() - self._last_event > SECONDS_BETWEEN_PINGS:
            self._last_event = time.monotonic()
            self.wfile.write(b": reading\n\n")

    # -- responses

    def _send_json(self, status: int, value: Any, more: dict[str, str] | None = None) -> None:
        self.send(status, "application/json", json.dumps(value).encode(), more)

    def _send_error(self, error: ApiError, more: dict[str, str] | None = None) -> None:
        headers = {**error.headers, **(more or {})}
        if self._body_is_unread or self.close_connection or error.status == 503:  # 503: the server may be ending
            self.close_connection = True
            headers["Connection"] = "close"
        self._send_json(error.status, error.body, headers)

    def refuse(self, status: int, reason: str) -> None:
        self.close_connection = True
        self._send_error(ApiError(status, reason))

    def _refuse_path(self) -> None:
        paths = f"{MODELS}, {COMPLETIONS} and {CHAT}"
        self._send_error(ApiError(404, f"there is nothing at {self.path[:100]}: the endpoints are {paths}"))

    def _refuse_method(self, allowed: str) -> None:
        message = f"{self.command} is not possible here; allowed: {allowed}"
        self._send_error(ApiError(405, message, code="method_not_allowed"), {"Allow": allowed})

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        if self.server.log:
            request = f"{self.command or '-'} {self.path[:200] or '-'}"
            line = f"{time.strftime('%H:%M:%S')} {self.client_address[0]} {request} {int(code)}"
            with contextlib.suppress(OSError):  # the reader of a pipe may have gone; the request is answered
                print(ascii(line)[1:-1], file=sys.stderr, flush=True)


@contextlib.contextmanager
def serving(server: ModelServer) -> Iterator[None]:
    """The threads of the server run inside the block: one accepts connections, one owns the model."""
    engine = threading.Thread(target=server.engine.run, name="engine", daemon=True)
    acceptor = threading.Thread(target=server.serve_forever, args=(0.05,), name="server", daemon=True)
    engine.start()
    acceptor.start()
    try:
        yield
    finally:
        server.engine.end()
        server.shutdown()
        server.server_close()
        engine.join(SECONDS_TO_END)
        server.wait_for_workers(SECONDS_TO_END)
