"""The server: hostile requests, several clients, slow ones, and the end."""

import http.client
import json
import socket
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_lab import PROMPT, send, served, tiny_beginning

from tinygrad_llm.lab.packing import unpack
from tinygrad_llm.lab.requests import REQUESTS
from tinygrad_llm.lab.server import LabServer
from tinygrad_llm.lab.session import Session
from tinygrad_llm.web.handler import MAX_BODY


@pytest.fixture(scope="module")
def server() -> LabServer:
    with served() as server:
        yield server


def test_every_response_has_the_safety_headers(server: LabServer) -> None:
    for path, method in (("api/status", "POST"), ("api/look", "POST"), ("nothing.js", "GET"), ("api/status", "GET")):
        _, headers, _ = send(server, path, {}, method)
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_sources_and_files_are_not_found_by_path(server: LabServer) -> None:
    for path in (
        "../server.py",
        "..%2fserver.py",
        "server.py",
        "page/index.html",
        "api/../server.py",
        "%2e%2e/",
        "a/b.js",
    ):
        assert send(server, path, method="GET")[0] == 404, path


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
# Long trainings, and what begins a twin or a hunt, are asked for elsewhere.
NAMES = sorted(REQUESTS.keys() - {"play", "step", "goto", "chat", "save"})
AT = st.sampled_from(["live", "main@0", "twin", "model:x", "main@-1", "nothing@3", "@", "main@999999999", "é"])


@given(st.sampled_from(NAMES), st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_any_body_is_answered_or_refused_with_a_sentence(server: LabServer, name: str, data: st.DataObject) -> None:
    fields = {}
    for field in REQUESTS[name].fields:
        choices = [
            JSON,
            AT if field == "at" else st.just(PROMPT),
            st.integers(0, 3),
            st.lists(st.integers(-1, 3), max_size=3),
        ]
        if data.draw(st.booleans()):
            fields[field] = data.draw(st.one_of(choices))
    status, _, body = send(server, f"api/{name}", fields)
    if status == 200:
        unpack(body)
    else:
        assert status in (400, 409)
        message = json.loads(body)["error"]
        assert 10 < len(message) < 1_500


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'{"prompt": NaN}', {}, 400),
        (b'{"prompt": "\\ud800"}', {}, 400),
        (b'{"prompt": "a", "prompt": "b"}', {}, 400),
        (b"\xff\xfe", {}, 400),
        (b"[" * 5_000, {}, 400),
        (b'{"prompt": ' + b"9" * 5_000 + b"}", {}, 400),
        (b" " * (MAX_BODY + 1), {}, 413),
        (b"{}", {"Content-Type": "text/plain"}, 415),
        (b"{}", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b"{}", {"Content-Length": "-1"}, 400),
        (b"{}", {"Content-Length": "1e3"}, 400),
    ],
)
def test_hostile_bodies(server: LabServer, body: bytes, headers: dict[str, str], status: int) -> None:
    assert send(server, "api/look", body, headers=headers)[0] == status
    assert send(server, "api/status", {})[0] == 200


def test_other_methods_are_refused(server: LabServer) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert send(server, "api/status", {}, method)[0] == 405
    assert send(server, "api/nothing", {})[0] == 404


def read_events(
    server: LabServer, events: list[tuple[str, dict]], listening: threading.Event, enough: threading.Event, count: int
) -> None:
    """Read to the end. `enough` is set when so many steps have come, and the news that the training stands there."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.request("GET", f"/{server.token}/api/events")
    response = connection.getresponse()
    name = ""
    while line := response.fp.readline().decode():
        if line.startswith("event: "):
            name = line.removeprefix("event: ").strip()
        elif line.startswith("data: "):
            events.append((name, json.loads(line.removeprefix("data: "))))
            listening.set()
            steps = sum(len(data["records"]) for kind, data in events if kind == "records")
            if steps >= count and any(data.get("at") == f"main@{count}" for _, data in events):
                enough.set()
    connection.close()


def test_several_clients_see_every_step_once_and_the_end() -> None:
    session = Session(tiny_beginning())
    seen: list[list[tuple[str, dict]]] = [[], [], []]
    listening, done = ([threading.Event() for _ in seen] for _ in range(2))
    with served(session) as server:
        threads = [
            threading.Thread(target=read_events, args=(server, *of_client, 30))
            for of_client in zip(seen, listening, done, strict=True)
        ]
        for thread in threads:
            thread.start()
        assert all(event.wait(60) for event in listening)  # steps before that are history, for another request
        results: list[int] = []
        askers = [
            threading.Thread(target=lambda: results.append(send(server, "api/look", {"prompt": PROMPT})[0]))
            for _ in range(5)
        ]
        assert send(server, "api/play", {"until": 30})[0] == 200
        for asker in askers:
            asker.start()
        assert all(event.wait(60) for event in done)
        for asker in askers:
            asker.join(60)
        assert results == [200] * 5
    for thread in threads:
        thread.join(60)
    for events in seen:
        records = [record for name, data in events if name == "records" for record in data["records"]]
        assert [record["step"] for record in records] == list(range(1, 31))
        assert [name for name, _ in events][-1] == "bye"
        assert any(data.get("at") == "main@30" for name, data in events if name == "status")


def test_a_client_that_reads_nothing_stops_nobody() -> None:
    with served() as server:
        slow = socket.create_connection(server.server_address[:2])
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        slow.sendall(f"GET /{server.token}/api/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        half = socket.create_connection(server.server_address[:2])
        half.sendall(f"POST /{server.token}/api/look HTTP/1.1\r\nHost: localhost\r\nContent-Le".encode())
        assert unpack(send(server, "api/step", {"count": 40})[2])["step"] == 40
    slow.close()  # the lab has ended all the same
    half.close()


def test_requests_after_the_end_are_told_so() -> None:
    session = Session(tiny_beginning())
    with served(session) as server:
        session.owner.end()
        status, _, body = send(server, "api/status", {})
    assert status == 503
    assert json.loads(body) == {"error": "the lab is ending"}
