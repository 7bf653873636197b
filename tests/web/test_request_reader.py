"""Time and size of requests, however the bytes come."""

import http.client
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.web import request_reader
from tinygrad_llm.web.request_reader import MAX_HEAD, RequestReader


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, RequestReader]]:
    client, server = socket.socketpair()
    with client, server:
        yield client, RequestReader(server)


@given(st.lists(st.binary(min_size=1, max_size=5), min_size=1, max_size=10), st.integers(1, 8))
def test_lines_and_bytes_do_not_depend_on_how_they_come(pieces: list[bytes], limit: int) -> None:
    client, server = socket.socketpair()
    with client, server:
        reader = RequestReader(server)
        for piece in pieces:
            client.sendall(piece)
        client.close()
        reader.begin()
        found = []
        while line := reader.readline(limit):
            assert len(line) <= limit and b"\n" not in line[:-1]
            found.append(line)
        assert b"".join(found) == b"".join(pieces)
        assert reader.read(3) == b""


def test_a_slow_head_has_a_time_in_all(
    pair: tuple[socket.socket, RequestReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_reader, "SECONDS_FOR_HEAD", 0.2)
    client, reader = pair
    stop = threading.Event()

    def drip() -> None:
        """A byte now and then, and the end of the line when the head should long have been refused."""
        for _ in range(1000):
            if stop.wait(0.02):
                return
            client.sendall(b"a")
        client.sendall(b"\n")

    thread = threading.Thread(target=drip)
    thread.start()
    reader.begin()
    with pytest.raises(TimeoutError):
        reader.readline()
    stop.set()
    thread.join()


def test_a_silent_connection_is_left_after_its_time(
    pair: tuple[socket.socket, RequestReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_reader, "SECONDS_IDLE", 0.02)
    with pytest.raises(TimeoutError):
        pair[1].begin()


def test_a_long_head_is_refused(pair: tuple[socket.socket, RequestReader]) -> None:
    client, reader = pair
    line = b"a" * 999 + b"\n"
    sender = threading.Thread(target=lambda: [client.sendall(line) for _ in range(70)], daemon=True)
    sender.start()
    reader.begin()
    for _ in range(MAX_HEAD // 1000):
        assert reader.readline() == line
    with pytest.raises(http.client.LineTooLong):
        reader.readline()
    sender.join(60)


def test_a_client_that_has_gone_is_noticed_and_one_that_waits_is_not(
    pair: tuple[socket.socket, RequestReader],
) -> None:
    client, reader = pair
    assert not reader.client_has_gone()
    client.sendall(b"the next request")
    assert not reader.client_has_gone()
    reader.begin()
    assert reader.read(3) == b"the"
    assert not reader.client_has_gone()
    assert reader.read(13) == b" next request"
    client.close()
    assert reader.client_has_gone()
