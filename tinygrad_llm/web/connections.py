"""A server with a thread per connection, and a bound on their number that idle connections cannot use up."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MAX_CONNECTIONS = 64
SECONDS_TO_MAKE_ROOM = 5.0  # for the thread of a connection that is ended
REASON = b'{"error": {"message": "too many connections", "type": "server_error", "param": null, "code": "unavailable"}}'
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %d\r\nRetry-After: 1\r\n"
    b"Connection: close\r\n\r\n" % len(REASON)
) + REASON


class BoundedServer(ThreadingHTTPServer):
    """At most `MAX_CONNECTIONS` connections; one more takes the place of the one that has been idle for longest.

    Idle is a connection whose request has not come in full: nobody can keep the others out by opening connections and
    sending nothing, or little. Raises: OSError if the port is taken
    """

    daemon_threads = True
    request_queue_size = 32
    max_connections = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self._room = threading.BoundedSemaphore(self.max_connections)
        self._idle: dict[socket.socket, None] = {}  # those idle for longest first
        self._working: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without the look-up of the host's name, which may take seconds."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def server_close(self) -> None:
        """Stop listening, and end the connections that wait for a request: a browser keeps several of them open."""
        super().server_close()
        with self._lock:
            for connection in self._idle:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def waits(self, connection: socket.socket) -> None:
        """A connection waits for a request."""
        with self._lock:
            self._working.discard(connection)
            self._idle.pop(connection, None)
            self._idle[connection] = None

    def works(self, connection: socket.socket) -> None:
        """A connection's request has come in full."""
        with self._lock:
            self._idle.pop(connection, None)
            self._working.add(connection)

    def wait_for_workers(self, seconds: float) -> None:
        """Wait at most this time until no connection works."""
        end = time.monotonic() + seconds
        while self._working and time.monotonic() < end:
            time.sleep(0.01)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False) and not self._make_room():
            self._turn_away(request)
            return
        self.waits(request)
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # the system has no thread for it
            self._leaves(request)
            self._turn_away(request)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection. Its place is free before it is closed: a client that sees the end may come again."""
        try:
            super().finish_request(request, client_address)
        finally:
            self._leaves(request)

    def _leaves(self, connection: socket.socket) -> None:
        """A connection has ended: another may take its place."""
        with self._lock:
            self._idle.pop(connection, None)
            self._working.discard(connection)
            self._room.release()

    def _turn_away(self, connection: socket.socket) -> None:
        """Tell a connection that there is no place for it, and close it."""
        with contextlib.suppress(OSError):
            connection.settimeout(0.1)
            connection.sendall(BUSY)
        self.shutdown_request(connection)

    def _make_room(self) -> bool:
        """End the connection that has been idle for longest."""
        with self._lock:
            oldest = next(iter(self._idle), None)
            if oldest is None:
                return False
            del self._idle[oldest]
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)
        return self._room.acquire(timeout=SECONDS_TO_MAKE_ROOM)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke concerns nobody else; another error is one of this package, and is printed."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)
