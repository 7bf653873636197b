"""`chat`: a conversation through a pipe, its history, its commands, and stopping an answer."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_base import call, make_base, save_base

from tinygrad_llm.cli import chat
from tinygrad_llm.cli.chat import Conversation
from tinygrad_llm.data import prompt_style
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate import Sampling
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.train import load


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "base")


def say(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    base: Path,
    *lines: Any,
    options: tuple[Any, ...] = (),
) -> str:
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    code, printed, errors = call(capsys, "chat", "--model", base, "--max-new-tokens", "6", "--seed", "0", *options)
    assert (code, errors) == (0, [])
    return printed


def test_the_same_seed_gives_the_same_answer_again_after_a_reset(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    once = say(capsys, monkeypatch, base, "Hello")
    assert say(capsys, monkeypatch, base, "Hello", "/quit", "never read") == once
    twice = say(capsys, monkeypatch, base, "Hello", "/reset", "/seed 0", "Hello")
    answer = once.split("\n", 2)[2]
    assert answer.strip() and twice == once + "(forgotten)\n(seed 0)\n" + answer


def test_invalid_commands_are_answered_and_the_chat_continues(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = say(
        capsys,
        monkeypatch,
        base,
        "/help",
        "/dance",
        "/temperature hot",
        "/temperature -1",
        "/temperature nan",
        "/temperature 0",
        "/save /no/such/folder/talk.txt",
        "/seed",
        "/seed " + "9" * 5000,
        "x" * 500,
        "",
    )
    for said in (
        "/reset   ",
        "no command /dance",
        "got 'hot'",
        "(/temperature must be a finite number of at least 0; got -1.0)",
        "(temperature 0)",
        "got ''",
        "/save needs a file",
        "shorter than the context",
    ):
        assert said in printed
    assert "(temperature -1)" not in printed and "(temperature nan)" not in printed


@pytest.mark.parametrize("style", [None, "phi3"])
def test_history_stays_within_the_context_and_forgets_the_oldest_turns(base: Path, style: str | None) -> None:
    model, tokenizer = load(base)
    form = None if style is None else prompt_style(style)
    talk = chat.Conversation(model, tokenizer, form, (256,), Sampling(temperature=1.0), 0)
    forgotten = 0
    for number in range(8):
        "".join(talk.answer(f"line {number}", 20))
        forgotten += talk.forgotten
        *before, last = talk.turns
        assert len(talk._prompt(before, last.question)) + len(last.answer) <= model.config.context_length
    assert 1 < len(talk.turns) < 8 and forgotten == 8 - len(talk.turns) and talk.turns[-1].question == "line 7"
    with pytest.raises(ConfigError, match="shorter than the context"):
        next(talk.answer("x" * 200, 5))


def test_ctrl_c_stops_the_answer_and_not_the_program(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> Iterator[int]:
        yield ord("a")
        raise KeyboardInterrupt

    monkeypatch.setattr(chat, "stream", interrupted)
    printed = say(capsys, monkeypatch, base, "Hello", "/temperature 0")
    assert "(stopped; /quit ends)" in printed and printed.endswith("(temperature 0)\n")


def test_invalid_input_is_one_line_of_error(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8"))
    code, _, errors = call(capsys, "chat", "--model", base)
    assert code == 2 and len(errors) == 1 and "UTF-8" in errors[0]


def test_a_closed_input_ends_the_chat(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    code, printed, errors = call(capsys, "chat", "--model", base)
    assert (code, errors) == (0, []) and len(printed.splitlines()) == 2
    code, _, errors = call(capsys, "instruct", "generate", "--model", base)
    assert (code, len(errors)) == (2, 1) and "standard input must be open" in errors[0]


def test_a_backslash_continues_a_message_and_a_truncated_answer_is_reported(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = []

    def heard(self: Conversation, text: str, most: int) -> Iterator[str]:
        asked.append(text)
        self.was_cut = True
        self.transcript += [f"> {text}", "yes", ""]
        yield "yes"

    monkeypatch.setattr(chat.Conversation, "answer", heard)
    printed = say(capsys, monkeypatch, base, "one\\", "two\\", "three", f"/save {tmp_path / 'talk.txt'}", "end\\")
    assert asked == ["one\ntwo\nthree", "end"]
    assert "yes\n(cut after --max-new-tokens)\n" in printed
    assert (tmp_path / "talk.txt").read_text() == "> one\ntwo\nthree\nyes\n"


def test_an_answer_is_cut_where_it_reaches_its_limit(base: Path) -> None:
    model, tokenizer = load(base)
    talk = chat.Conversation(model, tokenizer, None, (), Sampling(temperature=1.0), 0)
    assert "".join(talk.answer("Hello", 3)) and talk.was_cut


def test_without_a_seed_answers_vary(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seeds = set()
    for _ in range(3):
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        code, printed, _ = call(capsys, "chat", "--model", base)
        assert code == 0
        seeds.add(printed.split("Seed: ")[1])
    assert len(seeds) > 1


def test_a_vocabulary_without_a_line_end_can_start_a_text_and_have_a_second_turn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = CharTokenizer.train("abc")
    model = GPT(GPTConfig(3, 16, embedding_dim=8, num_heads=2, num_layers=1))
    base = save_base(tmp_path / "base", "gpt", model, tokenizer)
    assert "got" not in say(capsys, monkeypatch, base, "ab", "ba")
    code, text, errors = call(capsys, "generate", "--model", base, "--seed", "0", "--max-new-tokens", "3")
    assert (code, errors) == (0, []) and len(text.strip()) == 3
