"""Unmodified clients: the openai package, and curl."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tiny_server import HELLO, ask, chat_model, served, text_of

from tinygrad_llm.serve.server import ModelServer

pytestmark = pytest.mark.slow
CHAT: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 12, "seed": 3}
TEXT: dict[str, Any] = {"model": "tiny", "prompt": "Hello", "max_tokens": 12, "seed": 3}


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with served(api_key="secret") as server:
        yield server


@pytest.fixture(scope="module")
def answers() -> Iterator[ModelServer]:
    """A server without a key, to compare with."""
    with served() as server:
        yield server


@pytest.fixture
def openai(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("NO_PROXY", "*")
    return pytest.importorskip("openai")


@pytest.fixture
def client(openai: Any, server: ModelServer) -> Iterator[Any]:
    with openai.OpenAI(base_url=f"{server.address}v1", api_key="secret", max_retries=0) as client:
        yield client


def test_models(client: Any, openai: Any) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("other")
    assert caught.value.code == "model_not_found"


def test_a_chat_whole_and_streamed(client: Any, answers: ModelServer) -> None:
    whole = client.chat.completions.create(**CHAT)
    assert whole.choices[0].message.content == text_of(ask(answers))
    assert whole.choices[0].message.role == "assistant" and whole.choices[0].finish_reason == "length"
    assert (whole.usage.completion_tokens, whole.object) == (12, "chat.completion")
    chunks = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content and len(pieces) > 5
    assert chunks[0].choices[0].delta.role == "assistant" and chunks[-1].usage == whole.usage


def test_the_helper_that_collects_a_stream(client: Any) -> None:
    tokens = client.chat.completions.create(**CHAT, logprobs=True).choices[0].logprobs.content
    stop = tokens[-1].token
    with client.chat.completions.stream(**CHAT, stop=stop) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].finish_reason == "stop" and stop not in final.choices[0].message.content


def test_several_choices_with_log_probabilities(client: Any) -> None:
    answer = client.chat.completions.create(**CHAT, n=3, logprobs=True, top_logprobs=4)
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 3
    for choice in answer.choices:
        assert len(choice.logprobs.content) == 12
        assert all(len(token.top_logprobs) == 4 for token in choice.logprobs.content)


def test_completions(client: Any) -> None:
    whole = client.completions.create(**TEXT, logprobs=2, echo=True)
    assert whole.choices[0].text.startswith("Hello") and len(whole.choices[0].logprobs.tokens) == 5 + 12
    chunks = client.completions.create(**TEXT, stream=True)
    assert "Hello" + "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    several = client.completions.create(**{**TEXT, "prompt": ["Hello", [72, 105]]}, n=2)
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == whole.choices[0].text.removeprefix("Hello")
    ours = client.completions.create(**{**TEXT, "seed": 9}, extra_body={"top_k": 1})
    greedy = client.completions.create(**TEXT, temperature=0)
    assert ours.choices[0].text == greedy.choices[0].text


def test_errors_have_the_clients_classes(client: Any, openai: Any, server: ModelServer) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(**{**CHAT, "messages": [{"role": "user", "content": "x" * 500}]})
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.BadRequestError, match="tools are not supported"):
        client.chat.completions.create(**CHAT, tools=[{"type": "function", "function": {"name": "f"}}])
    with (
        openai.OpenAI(base_url=f"{server.address}v1", api_key="wrong", max_retries=0) as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()


def test_a_stream_that_is_left_frees_its_row_and_many_clients_are_served(client: Any, server: ModelServer) -> None:
    with client.chat.completions.create(**{**CHAT, "max_tokens": 100}, stream=True) as left:
        next(iter(left))
    with ThreadPoolExecutor(16) as threads:
        texts = list(
            threads.map(
                lambda seed: client.chat.completions.create(**{**CHAT, "seed": seed}).choices[0].message.content,
                [seed % 4 for seed in range(32)],
            )
        )
    assert texts == texts[:4] * 8 and len(set(texts)) == 4
    assert server.engine.num_rows == 0


def test_curl(server: ModelServer, answers: ModelServer) -> None:
    if (curl := shutil.which("curl")) is None:
        pytest.skip("needs curl")

    def run(*words: str) -> str:
        command = [curl, "-sS", "--noproxy", "*", "-H", "Authorization: Bearer secret", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout

    chat, json_type = f"{server.address}v1/chat/completions", ("-H", "Content-Type: application/json")
    expected = text_of(ask(answers))
    assert text_of(json.loads(run(chat, *json_type, "-d", json.dumps(CHAT)))) == expected
    streamed = run("-N", chat, *json_type, "-d", json.dumps({**CHAT, "stream": True}))
    events = [part.removeprefix("data: ") for part in streamed.split("\n\n") if part]
    assert events[-1] == "[DONE]" and text_of([json.loads(event) for event in events[:-1]]) == expected
    chunked = run(chat, *json_type, "-H", "Transfer-Encoding: chunked", "-d", json.dumps(CHAT))
    assert text_of(json.loads(chunked)) == expected
    large = json.dumps({**CHAT, "user": "x" * 2_000_000})
    big = subprocess.run(
        [curl, "-sS", "--noproxy", "*", "-H", "Authorization: Bearer secret", *json_type, "-d", "@-", chat],
        input=large,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "a body has at most 1,048,576 bytes" in big.stdout
    assert chat_model().name in run(f"{server.address}v1/models")
