"""A server of a tiny random model that chats, and a client of it."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tiny_chat import save_chat_model

from tinygrad_llm.serve.engine import Engine
from tinygrad_llm.serve.served_model import ServedModel
from tinygrad_llm.serve.server import ModelServer, serving
from tinygrad_llm.serve.settings import ServingSettings

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
HELLO = [{"role": "user", "content": "Hello"}]


@cache
def chat_model() -> ServedModel:
    """A Llama of two layers with random weights, whose tokens are bytes, with a chat template."""
    with TemporaryDirectory() as folder:
        return ServedModel.open(save_chat_model(Path(folder) / "tiny"))


@contextmanager
def served(model: ServedModel | None = None, *limits: Any, **options: Any) -> Iterator[ModelServer]:
    """A server at a free port; `limits` are those of the `ServingSettings`, `options` those of the server."""
    model = chat_model() if model is None else model
    server = ModelServer(model, Engine(model.model, ServingSettings(*limits)), **options)
    with serving(server):
        yield server


def send(
    server: ModelServer, path: str, body: Any = None, method: str = "POST", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request. Returns status, headers and body."""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=300)
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    connection.request(method, path, raw, {"Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    found = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return found


def ask(server: ModelServer, path: str = CHAT, **fields: Any) -> dict[str, Any]:
    """A whole answer; a chat says hello unless `fields` hold the messages."""
    status, _, body = send(server, path, {**usual(path), **fields})
    assert status == 200, body
    return json.loads(body)


def refused(server: ModelServer, path: str = CHAT, **fields: Any) -> tuple[int, dict[str, Any]]:
    """The status and the error of a request that is refused."""
    status, _, body = send(server, path, {**usual(path), **fields})
    assert status != 200
    return status, json.loads(body)["error"]


def stream(server: ModelServer, path: str = CHAT, **fields: Any) -> list[dict[str, Any]]:
    """The chunks of an answer, which must end with [DONE]."""
    status, headers, body = send(server, path, {**usual(path), "stream": True, **fields})
    assert (status, headers["content-type"]) == (200, "text/event-stream"), body
    events = [part.removeprefix("data: ") for part in body.decode().split("\n\n") if part and not part.startswith(":")]
    assert events[-1] == "[DONE]"
    return [json.loads(event) for event in events[:-1]]


def text_of(answer: Any, choice: int = 0) -> str:
    """The text of a choice, of a whole answer or of chunks in either form."""
    if isinstance(answer, dict):
        found = answer["choices"][choice]
        return found["message"]["content"] if "message" in found else found["text"]
    parts = [part for chunk in answer for part in chunk["choices"] if part["index"] == choice]
    return "".join(part["delta"].get("content", "") if "delta" in part else part["text"] for part in parts)


def usual(path: str) -> dict[str, Any]:
    return {"messages": HELLO, "max_tokens": 12, "seed": 3} if path == CHAT else {"prompt": "Hello", "seed": 3}
