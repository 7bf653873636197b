"""The number of connections, and whom a new one may replace."""

import json
import socketserver
import time

import pytest
from echo_server import connect, echo, exchange, rest_of, status_of

GET = b"GET /%s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_idle_connections_keep_nobody_out() -> None:
    with echo(max_connections=3) as server:
        silent = connect(server)
        half = connect(server, b"GET / HTT")
        body = connect(
            server, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\na"
        )
        for _ in range(4):
            assert status_of(exchange(server, GET % b"a")) == 200
        assert rest_of(silent) == b""  # the one idle for longest went first
        for connection in (silent, half, body):
            connection.close()


def test_connections_that_work_are_not_ended_and_one_more_is_told_so() -> None:
    with echo(max_connections=2) as server:
        waiting = [connect(server, GET % b"wait") for _ in range(2)]
        while len(server._working) < 2:
            time.sleep(0.01)
        response = exchange(server, GET % b"a")
        assert status_of(response) == 503 and b"Retry-After: 1" in response
        assert "too many" in json.loads(response.partition(b"\r\n\r\n")[2])["error"]["message"]
        server.go.set()  # type: ignore[attr-defined]
        assert [status_of(rest_of(connection)) for connection in waiting] == [200, 200]
        server.wait_for_workers(5)
        assert status_of(exchange(server, GET % b"a")) == 200
        for connection in waiting:
            connection.close()


def test_a_connection_without_a_thread_is_told_so_and_keeps_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_thread(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with echo(max_connections=1) as server:
        with monkeypatch.context() as patch:
            patch.setattr(socketserver.ThreadingMixIn, "process_request", no_thread)
            for _ in range(2):
                assert status_of(exchange(server, GET % b"a")) == 503
        assert not server._idle
        assert status_of(exchange(server, GET % b"a")) == 200


def test_a_kept_connection_serves_many_requests() -> None:
    with echo(max_connections=1) as server, connect(server) as kept:
        for _ in range(3):
            kept.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            response = b""
            while not response.endswith(b"/a"):
                response += kept.recv(4096)
            assert status_of(response) == 200


def test_a_server_that_ends_closes_the_connections_that_wait() -> None:
    with echo() as server:
        kept, silent = connect(server, b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"), connect(server)
        while not kept.recv(4096).endswith(b"/a"):
            pass
        while len(server._idle) < 2:
            time.sleep(0.01)
    assert rest_of(kept) == rest_of(silent) == b""
    kept.close()
    silent.close()
