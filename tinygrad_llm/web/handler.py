"""One connection: requests whose every part is bounded, and responses with the headers that keep a page to itself."""

from __future__ import annotations

import contextlib
import re
import socket
from http.server import BaseHTTPRequestHandler

from tinygrad_llm.web import guard
from tinygrad_llm.web.connections import BoundedServer
from tinygrad_llm.web.request_reader import RequestReader

MAX_BODY = 1 << 16  # bytes
SECONDS_TO_SEND = 30.0  # a part of a response
SECONDS_TO_DISCARD = 1.0  # of what a refused client still sends
MOST_TRAILERS = 20
LENGTH = r"[0-9]{1,15}"  # of a body, in bytes


class Handler(BaseHTTPRequestHandler):
    """Base class of the handlers. A subclass defines do_GET, do_POST and `refuse`."""

    server: BoundedServer
    rfile: RequestReader  # type: ignore[assignment]
    protocol_version = "HTTP/1.1"
    timeout = SECONDS_TO_SEND
    max_body = MAX_BODY

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self.rfile = RequestReader(self.connection)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._body_is_unread = False

    def handle_one_request(self) -> None:
        self.server.waits(self.connection)
        try:
            self.rfile.begin()
        except TimeoutError:
            self.close_connection = True
            return
        self.command = self.path = ""  # an error may be sent before http.server has read them
        super().handle_one_request()

    def parse_request(self) -> bool:
        self._body_is_unread = False
        is_whole = super().parse_request()
        if is_whole and not self._expect_version():
            self.refuse(400, "a request line ends with its version, such as HTTP/1.1")
            return False
        if is_whole:
            length, coding = self.headers.get("Content-Length", "0"), self.headers.get("Transfer-Encoding")
            self._body_is_unread = coding is not None or length.strip() != "0"
            if self.command != "POST":
                self.close_connection |= self._body_is_unread  # it must not be taken for the next request
                self._is_whole()
        return is_whole

    def _expect_version(self) -> bool:
        """Whether the request names its version. Responses to HTTP/0.9 have no status, so there it becomes 1.0."""
        is_named = self.request_version != "HTTP/0.9"
        if not is_named:
            self.request_version = "HTTP/1.0"
        return is_named

    def handle_expect_100(self) -> bool:
        """Let the client send the body that it announces, unless it is too large anyway."""
        length = self.headers.get("Content-Length", "")
        self._body_is_unread = True
        return not (re.fullmatch(LENGTH, length) and self._refuse_length(int(length))) and super().handle_expect_100()

    def version_string(self) -> str:
        return self.server_version

    def finish(self) -> None:
        super().finish()
        if self._body_is_unread:  # closed now, the connection would be reset, and the answer lost
            with contextlib.suppress(OSError):
                self.connection.shutdown(socket.SHUT_WR)
                self.rfile.discard(SECONDS_TO_DISCARD)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal belongs to the user."""

    def refuse(self, status: int, reason: str) -> None:
        """Answer with an error, and close the connection."""
        raise NotImplementedError(f"{type(self).__name__} must define refuse")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """The errors that http.server finds, in this server's form."""
        self._expect_version()
        self.refuse(int(code), f"the request cannot be read: {message or explain or self.responses[code][0]}")

    # -- reading

    def read_body(self) -> bytes | None:
        """The whole body, of a stated length or in chunks; None if it is refused, or the client has gone."""
        lengths, coding = self.headers.get_all("Content-Length", []), self.headers.get("Transfer-Encoding")
        if coding is not None and (lengths or coding.strip().lower() != "chunked"):
            self.refuse(400, "a body has one Content-Length, or Transfer-Encoding: chunked; not both, and no other")
            return None
        if coding is None and len(lengths) != 1:
            self.refuse(411, "a request needs one Content-Length")
            return None
        if lengths and not re.fullmatch(LENGTH, lengths[0]):
            self.refuse(400, "Content-Length must be a number of bytes")
            return None
        if lengths and self._refuse_length(int(lengths[0])):
            return None
        if self.headers.get_content_type() != "application/json":
            self.refuse(415, "a body is application/json")
            return None
        self.rfile.begin_body()
        try:
            body = self._read_chunks() if coding is not None else self.rfile.read(int(lengths[0]))
        except TimeoutError:
            self.refuse(408, "the body was not complete in time")
            return None
        if body is None or (lengths and len(body) != int(lengths[0])):
            self.close_connection = True
            return None
        self._body_is_unread = False
        self._is_whole()
        return body

    def _refuse_length(self, length: int) -> bool:
        """Refuse a body that is too long; returns whether it is."""
        if length > self.max_body:
            self.refuse(413, f"a body has at most {self.max_body:,} bytes; got {length:,}")
        return length > self.max_body

    def _read_chunks(self) -> bytes | None:
        """The body of a chunked request (RFC 9112, section 7.1); None if it is refused or incomplete."""
        body = bytearray()
        while True:
            size = re.fullmatch(rb"([0-9A-Fa-f]{1,8})[ \t]*(;[^\r\n]*)?\r?\n", self.rfile.readline(1024))
            if size is None:
                self.refuse(400, "a chunk must begin with its size, in hexadecimal")
                return None
            length = int(size[1], 16)
            if len(body) + length > self.max_body:
                self.refuse(413, f"a body has at most {self.max_body:,} bytes")
                return None
            if not length:
                break
            body += self.rfile.read(length)
            if self.rfile.readline(2) != b"\r\n":
                self.refuse(400, "a chunk must end after the size that it states")
                return None
        for _ in range(MOST_TRAILERS):
            if self.rfile.readline(1024) in (b"\r\n", b"\n"):
                return bytes(body)
        self.refuse(400, "a body in chunks must end with an empty line")
        return None

    def _is_whole(self) -> None:
        """The request has come in full: from now on the connection works."""
        self.connection.settimeout(SECONDS_TO_SEND)
        self.server.works(self.connection)

    # -- writing

    def send(self, status: int, kind: str, body: bytes, more: dict[str, str] | None = None) -> None:
        """A whole response; `more` are further headers."""
        self.send_head(status, {"Content-Type": kind, "Content-Length": str(len(body)), **(more or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_head(self, status: int, headers: dict[str, str]) -> None:
        self.connection.settimeout(SECONDS_TO_SEND)
        self.send_response(status)
        for name, value in {**headers, **guard.HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()

    def begin_events(self) -> None:
        """The head of a stream of server-sent events, which ends with the connection."""
        self.close_connection = True
        self.send_head(200, {"Content-Type": "text/event-stream", "Connection": "close"})
