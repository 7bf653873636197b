"""Requests of every form: bodies, chunks, several on one connection, and bytes that are no request."""

from collections.abc import Iterator

import pytest
from echo_server import connect, echo, exchange, rest_of, status_of

from tinygrad_llm.web import handler, request_reader
from tinygrad_llm.web.connections import BoundedServer
from tinygrad_llm.web.handler import MAX_BODY

POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CLOSE = b"Connection: close\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[BoundedServer]:
    with echo() as server:
        yield server


def post(headers: bytes, body: bytes) -> bytes:
    return POST + CLOSE + headers + b"\r\n" + body


@pytest.mark.parametrize(
    ("headers", "body", "status", "answer"),
    [
        (b"Content-Length: 3\r\n", b"abc", 200, b"abc"),
        (b"Content-Length: 0\r\n", b"", 200, b""),
        (b"Content-Length: 2\r\nExpect: 100-continue\r\n", b"ab", 100, b"ab"),
        (
            b"Transfer-Encoding: chunked\r\n",
            b"3\r\nabc\r\n0A;name=value\r\n0123456789\r\n0\r\n\r\n",
            200,
            b"abc0123456789",
        ),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\na\r\n0\r\nTrailer: x\r\n\r\n", 200, b"a"),
        (b"Transfer-Encoding: chunked\r\n", b"1\r\na\r\n" * 15_000 + b"0\r\n\r\n", 200, b"a" * 15_000),
        (b"Transfer-Encoding: chunked\r\n", b"\r\n", 400, b"hexadecimal"),
        (b"Transfer-Encoding: chunked\r\n", b"-1\r\n", 400, b"hexadecimal"),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nabcde\r\n0\r\n\r\n", 400, b"the size that it states"),
        (b"Transfer-Encoding: chunked\r\n", b"fffffff\r\n", 413, b"at most"),
        (b"Transfer-Encoding: chunked\r\n", b"0\r\n" + b"a: b\r\n" * 30, 400, b"empty line"),
        (b"Transfer-Encoding: gzip\r\n", b"", 400, b"chunked"),
        (b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"abc", 400, b"not both"),
        (b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abc", 411, b"one Content-Length"),
        (b"", b"", 411, b"one Content-Length"),
        (b"Content-Length: +3\r\n", b"abc", 400, b"number of bytes"),
        (b"Content-Length: %d\r\n" % (MAX_BODY + 1), b"a" * (MAX_BODY + 1), 413, b"at most 65,536 bytes; got 65,537"),
        (b"Content-Length: 999999999999999\r\n", b"a" * 3_000_000, 413, b"at most"),
        (b"Content-Length: 65537\r\nExpect: 100-continue\r\n", b"", 413, b"at most 65,536 bytes; got 65,537"),
    ],
)
def test_bodies(server: BoundedServer, headers: bytes, body: bytes, status: int, answer: bytes) -> None:
    response = exchange(server, post(headers, body))
    assert status_of(response) == status
    assert response.rpartition(b"\r\n\r\n")[2] == answer if status < 400 else answer in response


def test_another_type_of_body_is_refused(server: BoundedServer) -> None:
    response = exchange(server, post(b"Content-Length: 2\r\n", b"{}").replace(b"application/json", b"text/plain"))
    assert status_of(response) == 415


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n", 400),  # TLS
        (b"garbage\r\n\r\n", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 505),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + (b"A: " + b"b" * 10_000 + b"\r\n") * 20 + b"\r\n", 431),
        (b"GET /old HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_bytes_that_are_no_request_are_refused_in_json(server: BoundedServer, data: bytes, status: int) -> None:
    response = exchange(server, data)
    assert status_of(response) == status
    assert b"application/json" in response or status == 200


def test_requests_on_one_connection_are_answered_in_order(server: BoundedServer) -> None:
    requests = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n" + POST + b"Content-Length: 2\r\n\r\nbc"
    response = exchange(server, requests + b"GET /d HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n")
    assert [part.rpartition(b"\r\n\r\n")[2] for part in response.split(b"HTTP/1.1 ")[1:]] == [b"/a", b"bc", b"/d"]


def test_the_body_of_a_get_is_not_taken_for_the_next_request(server: BoundedServer) -> None:
    response = exchange(
        server, b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n"
    )
    assert response.count(b"HTTP/1.1 200") == 1


def test_half_a_body_ends_the_connection_without_an_answer(server: BoundedServer) -> None:
    with connect(server, POST + b"Content-Length: 10\r\n\r\nabc") as connection:
        connection.shutdown(1)
        assert rest_of(connection) == b""


def test_a_body_that_never_comes_is_not_waited_for(server: BoundedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_reader, "SECONDS_FOR_BODY", 0.05)
    monkeypatch.setattr(handler, "SECONDS_TO_DISCARD", 0.05)
    assert status_of(exchange(server, POST + b"Content-Length: 10\r\n\r\nabc")) == 408
