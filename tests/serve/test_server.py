"""The endpoints, whole and streamed; who may ask; hostile and broken clients; the end."""

import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from echo_server import connect, exchange, rest_of, status_of
from tiny_server import CHAT, COMPLETIONS, HELLO, ask, chat_model, send, served, stream, text_of

from tinygrad_llm import no_grad
from tinygrad_llm.generate import generate
from tinygrad_llm.generate.sampling import log_probabilities
from tinygrad_llm.serve.server import ModelHandler, ModelServer


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with served() as server:
        yield server


def request(path: str = CHAT, **fields: Any) -> bytes:
    """The bytes of a request."""
    body = json.dumps({"messages": HELLO, "max_tokens": 110, "seed": 3, **fields}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# -- answers


def test_the_models(server: ModelServer) -> None:
    listed = json.loads(send(server, "/v1/models", method="GET")[2])
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert model["id"] == "tiny" and model["object"] == "model" and model["has_chat"] and model["takes_system"]
    assert json.loads(send(server, "/v1/models/tiny?x=y", method="GET")[2]) == model
    status, _, body = send(server, "/v1/models/other", method="GET")
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
    assert send(server, "/health", method="GET")[0] == send(server, "/", method="GET")[0] == 200


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_stream_has_the_text_of_the_whole_answer(server: ModelServer, path: str) -> None:
    whole = ask(server, path)
    chunks = stream(server, path, stream_options={"include_usage": True})
    assert text_of(chunks) == text_of(whole) != ""
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"] == whole["usage"]
    assert {chunk["usage"] for chunk in chunks[:-1]} == {None} and "usage" not in stream(server, path)[0]
    assert [part["finish_reason"] for chunk in chunks for part in chunk["choices"]][-1] == "length"
    assert len({chunk["id"] for chunk in chunks}) == 1
    usage = whole["usage"]
    assert usage["completion_tokens"] == (12 if path == CHAT else 16)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_a_seed_fixes_the_text_and_choice_i_has_that_of_seed_plus_i(server: ModelServer) -> None:
    both = ask(server, n=2, seed=7)
    assert [choice["index"] for choice in both["choices"]] == [0, 1]
    assert text_of(both, 0) == text_of(ask(server, seed=7))
    assert text_of(both, 1) == text_of(ask(server, seed=8)) != text_of(both, 0)
    chunks = stream(server, n=2, seed=7)
    assert [text_of(chunks, 0), text_of(chunks, 1)] == [text_of(both, 0), text_of(both, 1)]


def test_requests_at_the_same_time_get_the_answers_that_they_get_alone(server: ModelServer) -> None:
    seeds = range(10)
    alone = [text_of(ask(server, seed=seed, max_tokens=20)) for seed in seeds]
    with ThreadPoolExecutor(10) as threads:
        together = list(threads.map(lambda seed: text_of(stream(server, seed=seed, max_tokens=20)), seeds))
    assert together == alone


def test_an_answer_ends_before_a_stop_string(server: ModelServer) -> None:
    whole = text_of(ask(server, max_tokens=60))
    stop = whole[20:23]
    cut = whole[: whole.index(stop)]
    answer = ask(server, max_tokens=60, stop=["never", stop])
    assert text_of(answer) == cut and answer["choices"][0]["finish_reason"] == "stop"
    chunks = stream(server, max_tokens=60, stop=stop)
    assert text_of(chunks) == cut and chunks[-1]["choices"][0]["finish_reason"] == "stop"
    wait_until(lambda: server.engine.num_rows == 0)


def test_log_probabilities_are_those_of_the_tokens_in_the_text(server: ModelServer) -> None:
    whole = ask(server, logprobs=True, top_logprobs=2)
    entries = whole["choices"][0]["logprobs"]["content"]
    assert len(entries) == whole["usage"]["completion_tokens"]
    assert bytes(byte for entry in entries for byte in entry["bytes"]).decode(errors="replace") == text_of(whole)
    for entry in entries:
        top = [other["logprob"] for other in entry["top_logprobs"]]
        assert top == sorted(top, reverse=True) and len(top) == 2
        assert entry["logprob"] <= top[0] < 0
    chunks = stream(server, logprobs=True, top_logprobs=2)
    parts = [part["logprobs"] for chunk in chunks for part in chunk["choices"]]
    assert [entry for part in parts if part for entry in part["content"]] == entries


def test_a_prompt_can_be_echoed_with_its_log_probabilities(server: ModelServer) -> None:
    answer = ask(server, COMPLETIONS, prompt=["Hi", [72, 105, 33]], echo=True, logprobs=1, max_tokens=0)
    hi, ids = answer["choices"]
    assert [hi["text"], ids["text"]] == ["Hi", "Hi!"]
    assert hi["logprobs"]["tokens"] == ["H", "i"] and ids["logprobs"]["text_offset"] == [0, 1, 2]
    assert hi["logprobs"]["token_logprobs"][0] is None and hi["logprobs"]["top_logprobs"][0] is None
    assert hi["logprobs"]["token_logprobs"][1] == pytest.approx(ids["logprobs"]["token_logprobs"][1])
    assert "i" in hi["logprobs"]["top_logprobs"][1]
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": 0, "total_tokens": 5}
    longer = ask(server, COMPLETIONS, prompt="Hi", echo=True, logprobs=0, max_tokens=3)["choices"][0]
    assert longer["text"].startswith("Hi") and len(longer["logprobs"]["tokens"]) == 5
    assert text_of(stream(server, COMPLETIONS, prompt="Hi", echo=True, max_tokens=3)) == longer["text"]


def test_log_probabilities_are_those_of_the_whole_text_read_at_once(server: ModelServer) -> None:
    ids = [int(token) for token in np.random.default_rng(0).integers(0, 256, 90)]
    answer = ask(server, COMPLETIONS, prompt=ids, echo=True, logprobs=1, max_tokens=10, temperature=0)
    found = answer["choices"][0]["logprobs"]["token_logprobs"]
    text = generate(chat_model().model, np.array(ids), 10)
    with no_grad():
        expected = log_probabilities(chat_model().model(text[:-1]).data)
    np.testing.assert_allclose(found[1:], np.take_along_axis(expected, text[1:, None], 1)[:, 0], atol=1e-5)


# -- refusals


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/nothing", "GET", 404, "not_found"),
        ("/v1/engines", "POST", 404, "not_found"),
        ("/page/../server.py", "GET", 404, "not_found"),
        ("/page/%2e%2e/server.py", "GET", 404, "not_found"),
        (CHAT, "GET", 405, "method_not_allowed"),
        ("/v1/models", "POST", 405, "method_not_allowed"),
        (CHAT, "PUT", 405, "method_not_allowed"),
        (CHAT, "OPTIONS", 405, "method_not_allowed"),
    ],
)
def test_paths_and_methods(server: ModelServer, path: str, method: str, status: int, code: str) -> None:
    found, headers, body = send(server, path, method=method)
    error = json.loads(body)["error"]
    assert (found, error["code"], error["type"]) == (status, code, "invalid_request_error")
    assert "access-control-allow-origin" not in headers
    assert ("allow" in headers) == (status == 405)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"n": NaN}', b'{"n": 1, "n": 2}', b"[" * 9999, b"null"])
def test_a_body_that_is_no_object_is_refused(server: ModelServer, body: bytes) -> None:
    status, _, answer = send(server, CHAT, body)
    assert (status, json.loads(answer)["error"]["type"]) == (400, "invalid_request_error")


def test_foreign_pages_and_names_are_refused(server: ModelServer) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        assert send(server, "/v1/models", method="GET", headers=headers)[0] == 403
    own = f"http://localhost:{server.server_address[1]}"
    assert send(server, "/v1/models", method="GET", headers={"Origin": own})[0] == 200


def test_a_key_is_needed_where_there_is_one() -> None:
    with served(api_key="secret") as server:
        for given in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "secret"},
            {"Authorization": "Bearer é"},
        ):
            status, headers, body = send(server, "/v1/models", method="GET", headers=given)
            error = json.loads(body)["error"]
            assert (status, error["code"], error["type"]) == (401, "invalid_api_key", "authentication_error")
            assert headers["www-authenticate"] == "Bearer"
            assert send(server, CHAT, {"messages": HELLO}, headers=given)[0] == 401
        key = {"Authorization": "Bearer secret"}
        assert send(server, "/v1/models", method="GET", headers=key)[0] == 200
        assert send(server, "/", method="GET")[0] == send(server, "/health", method="GET")[0] == 200


def test_on_a_network_address_the_origin_must_be_the_host() -> None:
    with served(host="0.0.0.0", api_key="secret") as server:
        for headers, status in (
            ({"Host": "box.local:80"}, 200),
            ({"Host": "box.local:80", "Origin": "http://box.local:80"}, 200),
            ({"Host": "box.local:80", "Origin": "https://box.local:80"}, 200),
            ({"Host": "box.local:80", "Origin": "http://evil.example"}, 403),
        ):
            headers["Authorization"] = "Bearer secret"
            assert send(server, "/v1/models", method="GET", headers=headers)[0] == status


def test_a_full_queue_is_told_with_a_time_to_try_again() -> None:
    with served(None, 1, 1) as server:
        server.engine._continue_all = lambda: time.sleep(0.001)  # type: ignore[method-assign]
        with connect(server, request()):
            wait_until(lambda: server.engine.num_rows == 1)
            with connect(server, request()):
                wait_until(lambda: len(server.engine._waiting) == 1)
                status, headers, body = send(server, CHAT, {"messages": HELLO, "stream": True})
                assert (status, headers["retry-after"]) == (429, "1")
                assert json.loads(body)["error"]["type"] == "rate_limit_error"
        wait_until(lambda: server.engine.num_rows == 0 and not server.engine._waiting)


# -- broken clients


def test_a_client_that_leaves_frees_its_row() -> None:
    with served() as server:
        server.engine._continue_all = lambda: time.sleep(0.001)  # type: ignore[method-assign]  # no text ends by itself
        for fields in ({"stream": True}, {"stream": False}):
            with connect(server, request(**fields)):
                wait_until(lambda: server.engine.num_rows == 1)
            wait_until(lambda: server.engine.num_rows == 0)


def test_a_client_that_leaves_before_the_head_of_its_stream_frees_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def begin_events(self: ModelHandler) -> None:
        wait_until(lambda: self.server.engine.num_rows == 1)
        raise ConnectionResetError

    monkeypatch.setattr(ModelHandler, "begin_events", begin_events)
    with served() as server:
        server.engine._continue_all = lambda: time.sleep(0.001)  # type: ignore[method-assign]
        assert exchange(server, request(stream=True)) == b""
        wait_until(lambda: server.engine.num_rows == 0)


def test_bytes_of_all_kinds_stop_nobody(server: ModelServer) -> None:
    expected = text_of(ask(server))
    hostile = [
        b"\x00" * 100,
        b"GET / HTTP/1.1\r\n\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n",
        request()[:-5],
        request(stream=True) * 3,
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        b"GET /" + b"x" * 100_000,
    ]
    clients = [connect(server, data) for data in hostile for _ in range(3)]
    assert text_of(ask(server)) == expected
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")  # closed with a reset
        client.close()
    wait_until(lambda: server.engine.num_rows == 0)
    assert text_of(ask(server)) == expected


def test_the_log_has_a_line_for_every_response_also_for_bytes_that_are_no_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with served(log=True) as server:
        assert (
            status_of(exchange(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")) == 200
        )
        for data, status in ((b"garbage\r\n\r\n", 400), (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414)):
            assert status_of(exchange(server, data)) == status
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[-1] for line in lines] == ["200", "400", "414"] and "GET /health" in lines[0]


def test_a_log_that_cannot_be_written_keeps_no_answer_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def write(self, text: str) -> None:
            raise BrokenPipeError("the reader of the log has gone")

    with served(log=True) as server:
        monkeypatch.setattr("sys.stderr", Broken())
        assert send(server, "/health", method="GET")[0] == 200


def test_pipelined_requests_and_old_clients_are_answered(server: ModelServer) -> None:
    models = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    response = exchange(server, models + request(max_tokens=2) + request(max_tokens=2, stream=True))
    assert response.count(b"HTTP/1.1 200 OK") == 3 and response.endswith(b"data: [DONE]\n\n")
    old = exchange(server, request(max_tokens=2, stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
    assert status_of(old) == 200 and old.endswith(b"data: [DONE]\n\n")


def test_a_client_that_does_not_read_stops_nobody(server: ModelServer) -> None:
    with socket.create_connection(server.server_address[:2]) as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        slow.sendall(request(stream=True, logprobs=True, top_logprobs=20))
        assert text_of(ask(server))


@pytest.mark.slow
def test_a_crowd_of_hostile_clients_leaves_nothing_behind() -> None:
    """Twelve clients at a time that ask, leave, send halves, garbage and too much, in an order from a seed."""
    wrong: list[object] = []

    def client(seed: int) -> None:
        draws = random.Random(seed)
        for _ in range(25):
            kind = draws.choice(["ask", "stream", "leave", "reset", "garbage", "half", "slow", "silent", "large"])
            try:
                if kind == "ask":
                    ask(server, max_tokens=5)
                elif kind == "stream":
                    stream(server, max_tokens=5, n=2)
                else:
                    with connect(server) as connection:
                        whole = request(stream=draws.random() < 0.5, max_tokens=draws.randint(1, 100))
                        sent = {
                            "garbage": draws.randbytes(draws.randint(1, 3000)),
                            "half": whole[: draws.randint(1, len(whole) - 1)],
                            "slow": b"",
                            "silent": b"",
                            "large": whole.replace(b"Content-Length: ", b"Content-Length: 99999") + b"x" * 100_000,
                        }.get(kind, whole)
                        connection.sendall(sent)
                        for byte in whole[:20] if kind == "slow" else b"":
                            connection.sendall(bytes([byte]))
                            time.sleep(0.002)
                        time.sleep(draws.random() * 0.02)
                        if kind == "reset":
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            except OSError as error:
                wrong.extend([error] if kind in ("ask", "stream") else [])  # others may be cut off
            except AssertionError as error:
                wrong.append(error)

    with served() as server:
        expected = text_of(ask(server))
        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        wait_until(lambda: server.engine.num_rows == 0 and not server._working and not server._idle)
        assert text_of(ask(server)) == expected
        wait_until(lambda: server._room._value == server.max_connections)  # type: ignore[attr-defined]


# -- the end


def test_streams_are_told_of_the_end() -> None:
    found: list[bytes] = []
    with served() as server:
        server.engine._continue_all = lambda: time.sleep(0.001)  # type: ignore[method-assign]
        client = connect(server, request(stream=True, n=8))
        thread = threading.Thread(target=lambda: found.append(rest_of(client)))
        thread.start()
        wait_until(lambda: server.engine.num_rows > 0)
    thread.join(60)
    client.close()
    assert b"the server is ending" in found[0] and b"[DONE]" not in found[0]
