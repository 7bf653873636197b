"""Conversations with a chat model."""

import json
from pathlib import Path

import pytest
from tiny_chat import chat_tokenizer, save_chat_model
from tiny_lab import send, served

from tinygrad_llm.lab.opening import open_lab
from tinygrad_llm.lab.server import LabServer
from tinygrad_llm.runs.chat_model import ChatModel


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> LabServer:
    folder = save_chat_model(tmp_path_factory.mktemp("chat") / "model")
    with served(open_lab(folder)) as server:
        yield server


def talk(server: LabServer, **fields: object) -> tuple[str, dict]:
    status, headers, body = send(server, "api/chat", fields)
    assert (status, headers["content-type"]) == (200, "text/event-stream"), body
    events = [json.loads(part.removeprefix("data: ")) for part in body.decode().split("\n\n") if part]
    return "".join(event["text"] for event in events), events[-1]


def ask(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


def test_an_answer_comes_in_pieces_and_is_the_same_for_a_seed(server: LabServer) -> None:
    text, last = talk(server, messages=ask("Hello"), maxTokens=20, seed=3)
    assert last["done"] and last["why"] in ("limit", "end of turn")
    assert text == talk(server, messages=ask("Hello"), maxTokens=20, seed=3)[0]
    assert text != talk(server, messages=ask("Hello"), maxTokens=20, seed=4)[0]


def test_an_answer_ends_with_its_context(server: LabServer) -> None:
    assert talk(server, messages=ask("x" * 60), temperature=1.5, seed=1, maxTokens=400)[1]["why"] in (
        "context",
        "end of turn",
    )


def test_a_turn_ends_at_the_models_own_token(tmp_path: Path) -> None:
    folder = save_chat_model(tmp_path / "ends", always=258)
    with served(open_lab(folder)) as server:
        assert talk(server, messages=ask("Hello"), temperature=0) == (
            "",
            {"text": "", "done": True, "why": "end of turn"},
        )
        assert json.loads(send(server, "api/nothing", {})[2])["error"]


def test_the_conversation_is_written_by_the_template(tmp_path: Path) -> None:
    chat = ChatModel.of(save_chat_model(tmp_path / "model"), chat_tokenizer())
    assert chat is not None
    text = chat_tokenizer().decode(chat.encode(chat_tokenizer(), ask("a", "b", "c")))
    assert text.count("<|im_start|>") == 4 and text.endswith("<|im_start|>assistant\n")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "messages must be given"),
        ({"messages": []}, "the last message must be the user's"),
        ({"messages": ask("a", "b")}, "the last message must be the user's"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "a message has a role"),
        ({"messages": ["a"]}, "a message has a role"),
        ({"messages": ask("x" * 500)}, "shorter than the context"),
        ({"messages": ask("a"), "temperature": -1}, "temperature"),
        ({"messages": ask("a"), "p": 2}, "top_p"),
        ({"messages": ask("a"), "maxTokens": 0}, "maxTokens must be an integer"),
        ({"messages": ask("a"), "other": 0}, "the fields are"),
    ],
)
def test_refusals(server: LabServer, fields: dict, message: str) -> None:
    status, _, body = send(server, "api/chat", fields)
    assert status == 400
    assert message in json.loads(body)["error"]


def test_a_model_without_a_form_of_conversations_refuses() -> None:
    with served() as server:
        status, _, body = send(server, "api/chat", {"messages": ask("a")})
    assert status == 409
    assert "no chat template" in json.loads(body)["error"]
