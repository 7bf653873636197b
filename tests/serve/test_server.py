"""The endpoints, whole and streamed; who may ask; hostile and broken clients; the end."""

import json
from collections.abc import Iterator

import pytest
from tiny_server import CHAT, COMPLETIONS, ask, refused, send, served, stream, text_of

from tinygrad_llm.serve.server import ModelServer


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with served() as server:
        yield server


def test_the_models(server: ModelServer) -> None:
    listed = json.loads(send(server, "/v1/models", method="GET")[2])
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert model["id"] == "tiny" and model["object"] == "model" and model["has_chat"] and model["takes_system"]
    assert json.loads(send(server, "/v1/models/tiny", method="GET")[2]) == model
    status, _, body = send(server, "/v1/models/other", method="GET")
    assert (status, json.loads(body)["error"]["code"]) == (404, "model_not_found")
    assert send(server, "/health", method="GET")[0] == send(server, "/", method="GET")[0] == 200


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_stream_has_the_text_of_the_whole_answer(server: ModelServer, path: str) -> None:
    whole = ask(server, path)
    chunks = stream(server, path, stream_options={"include_usage": True})
    assert text_of(chunks) == text_of(whole) != ""
    assert chunks[-1]["choices"] == [] and chunks[-1]["usage"] == whole["usage"]
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


def test_an_unknown_parameter_is_named(server: ModelServer) -> None:
    status, error = refused(server, temprature=1)
    assert (status, error["param"], error["code"]) == (400, "temprature", "unknown_parameter")
