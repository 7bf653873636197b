"""Reads requests from a socket: each within a time, and its head within a size, however slowly the bytes come."""

from __future__ import annotations

import http.client
import math
import socket
import time

MAX_HEAD = 1 << 16  # bytes of a request line and its headers
SECONDS_IDLE = 30.0  # between two requests of a connection
SECONDS_FOR_HEAD = 10.0  # from the first byte to the end of the headers
SECONDS_FOR_BODY = 30.0


class RequestReader:
    """The `rfile` of a `BaseHTTPRequestHandler`.

    A timeout of the socket alone bounds the wait for each byte: a client that sends one byte per second would hold a
    connection for hours.

    Raises: TimeoutError, from `readline` and `read`, when the time of the request's part is over; OSError
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection, self._buffer = connection, bytearray()
        self._head_bytes: float = MAX_HEAD
        self._deadline = 0.0
        self.closed = False

    def begin(self) -> None:
        """Wait for the first byte of a request; from then on its head has a time."""
        self._head_bytes = MAX_HEAD
        self._deadline = time.monotonic() + SECONDS_IDLE
        if self._buffer or self._receive():
            self._deadline = time.monotonic() + SECONDS_FOR_HEAD

    def begin_body(self) -> None:
        """From now on the body has a time; its lines, such as the sizes of chunks, are no part of the head."""
        self._head_bytes = math.inf
        self._deadline = time.monotonic() + SECONDS_FOR_BODY

    def readline(self, limit: int = MAX_HEAD) -> bytes:
        """A line of at most `limit` bytes; less at the end of what the client sends.

        Raises: LineTooLong, which http.server answers, for a head longer than MAX_HEAD
        """
        while (end := self._buffer.find(b"\n", 0, limit) + 1) == 0 and len(self._buffer) < limit:
            if not self._receive():
                break
        line = self._taken(end or min(len(self._buffer), limit))
        self._head_bytes -= len(line)
        if self._head_bytes < -1:  # http.server itself refuses a request line of one byte more than a head may have
            raise http.client.LineTooLong("headers")
        return line

    def read(self, size: int) -> bytes:
        """`size` bytes; less at the end of what the client sends."""
        while len(self._buffer) < size and self._receive():
            pass
        return self._taken(size)

    def client_has_gone(self) -> bool:
        """Whether the client has closed its side of the connection, as one that has gone does; nothing is read."""
        if self._buffer:
            return False
        timeout = self._connection.gettimeout()
        try:
            self._connection.setblocking(False)
            gone = not self._connection.recv(1, socket.MSG_PEEK)
            self._connection.settimeout(timeout)
        except BlockingIOError:
            self._connection.settimeout(timeout)
            return False
        except OSError:
            return True
        return gone

    def discard(self, seconds: float) -> None:
        """Read on for at most `seconds`, so that a client which is still sending reads the answer to the end."""
        self._buffer.clear()
        self._deadline = time.monotonic() + seconds
        while self._receive():
            self._buffer.clear()

    def close(self) -> None:
        self.closed = True

    def _receive(self) -> bool:
        """More bytes into the buffer; False at the end of what the client sends."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request was not complete in time")
        self._connection.settimeout(left)
        more = self._connection.recv(1 << 16)
        self._buffer += more
        return bool(more)

    def _taken(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken
