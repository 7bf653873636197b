"""A server that answers with what it was sent, for the tests of web/, and clients that send bytes as they like."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

from tinygrad_llm.web.connections import BoundedServer
from tinygrad_llm.web.handler import Handler


class EchoHandler(Handler):
    """GET answers with the path, POST with the body; GET /wait answers after the server's `go`."""

    def do_GET(self) -> None:
        if self.path == "/wait":
            self.server.go.wait(60)  # type: ignore[attr-defined]
        self.send(200, "text/plain", self.path.encode())

    def do_POST(self) -> None:
        body = self.read_body()
        if body is not None:
            self.send(200, "text/plain", body)

    def refuse(self, status: int, reason: str) -> None:
        self.close_connection = True
        self.send(status, "application/json", json.dumps({"error": reason}).encode(), {"Connection": "close"})


@contextlib.contextmanager
def echo(max_connections: int = 8) -> Iterator[BoundedServer]:
    class Server(BoundedServer):
        go = threading.Event()

    Server.max_connections = max_connections
    server = Server(("127.0.0.1", 0), EchoHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def connect(server: Any, data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(server.server_address[:2], timeout=60)
    connection.sendall(data)
    return connection


def exchange(server: Any, data: bytes) -> bytes:
    """Send bytes, and read all until the server closes the connection."""
    with connect(server, data) as connection:
        return rest_of(connection)


def rest_of(connection: socket.socket) -> bytes:
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while more := connection.recv(1 << 16):
            found += more
    return found


def status_of(response: bytes) -> int:
    return int(response.split(b" ", 2)[1])
