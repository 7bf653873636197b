"""`generate`: where the prompt comes from, which seed it took, JSON, and what a prompt loses."""

import json
import secrets
from pathlib import Path

import pytest
from tiny_base import call, make_base, save_base

from tinygrad_llm import manual_seed
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text import BPETokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("models") / "base")


def test_a_prompt_is_given_by_its_place_or_by_its_flag(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--model", base, "--max-new-tokens", "4", "--seed", "1")
    by_place = call(capsys, "generate", "Hello", *options)
    assert by_place == call(capsys, "generate", "--prompt", "Hello", *options)
    assert by_place[0] == 0 and by_place[1].startswith("Hello") and by_place[2] == []
    code, _, errors = call(capsys, "generate", "Hello", "--prompt", "Hello", *options)
    assert code == 2 and "give the prompt once" in errors[0]


def test_texts_vary_without_a_seed_and_the_seed_taken_repeats_the_text(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("generate", "Hello", "--model", base, "--max-new-tokens", "12")
    texts = []
    for _ in range(3):
        code, text, notes = call(capsys, *options)
        assert code == 0 and len(notes) == 1 and notes[0].startswith("sampling with --seed ")
        assert call(capsys, *options, "--seed", notes[0].split()[-1]) == (0, text, [])
        texts.append(text)
    assert len(set(texts)) > 1


def test_greedy_text_needs_no_seed(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("generate", "Hello", "--model", base, "--max-new-tokens", "3", "--temperature", "0")
    code, text, notes = call(capsys, *options)
    assert (code, notes) == (0, []) and call(capsys, *options)[1] == text


def test_json_holds_the_text_and_all_that_decided_it(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secrets, "randbits", lambda bits: 6)  # with one seed in a hundred the text ends early
    options = ("generate", "Hello", "--model", base, "--max-new-tokens", "5", "--top-k", "3")
    code, printed, notes = call(capsys, *options, "--json")
    report = json.loads(printed)
    assert (code, notes) == (0, [])
    assert report["prompt"] == "Hello" and report["new_tokens"] == 5 and report["ended_by"] == "length"
    assert report["seed"] == 6 and report["top_k"] == 3 and report["temperature"] == 0.8 and report["top_p"] is None
    assert call(capsys, *options, "--seed", report["seed"])[1] == f"Hello{report['text']}\n"


def test_a_truncated_prompt_is_reported(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, notes = call(capsys, "generate", "x" * 300, "--model", base, "--max-new-tokens", "1", "--seed", "0")
    assert code == 0 and len(notes) == 1 and "only the last" in notes[0] and len(notes[0]) <= 80


def test_controls_that_a_model_writes_are_shown_on_a_terminal(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinygrad_llm.terminal.is_terminal", lambda stream=None: True)
    printed = call(capsys, "generate", "a\x1b[2Jb", "--model", base, "--max-new-tokens", "3", "--seed", "0")[1]
    assert printed.startswith(r"a\x1b[2Jb") and "\x1b" not in printed


def test_each_choice_is_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_base(tmp_path / "base")
    argv = ["generate", "--model", base, "--max-new-tokens", "3", "--seed", "4"]
    code, printed, errors = call(capsys, *argv, "--explain", "--top-k", "7", "--top-p", "0.9", "ab")
    assert (code, errors) == (0, [])
    lines = printed.splitlines()
    assert lines[0] == "prompt: ab" and lines[1].split()[:4] == ["token", "prob.", "nats", "rank"]
    assert lines[1].split()[4:] == ["spread", "top_k", "top_p", "candidates"]
    for line in lines[2:5]:
        columns = line.split()
        assert columns[5] == "7" and 1 <= int(columns[6]) <= 7 and "→" in line
    assert lines[5].startswith("3 tokens, mean surprise ") and max(map(len, lines[6:])) < 80
    code, _, errors = call(capsys, *argv, "--explain", "--json")
    assert code == 2 and "give it without --json and --stop" in errors[-1]


@pytest.mark.parametrize(
    "command",
    [
        ["generate", "Hello", "--temperature", "2", "--seed", "1"],
        ["generate", "Hello", "--temperature", "0"],
        ["generate", "Hello", "--explain", "--seed", "1", "--top-k", "300"],
        ["generate", "Hello", "--json", "--seed", "1", "--repetition-penalty", "1.5"],
        ["instruct", "generate", "Hello", "--temperature", "1"],
        ["instruct", "generate", "Hello", "--votes", "3"],
        ["instruct", "evaluate", "--records", "2"],
    ],
    ids=" ".join,
)
def test_rows_of_a_model_beyond_its_tokenizer_are_never_chosen(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = BPETokenizer.train("", vocab_size=257)
    manual_seed(0)
    model = GPT(GPTConfig(5_000, context_length=256, embedding_dim=8, num_heads=2, num_layers=1))
    base = save_base(tmp_path / "base", "gpt", model, tokenizer)
    code, printed, errors = call(capsys, *command, "--model", base, "--max-new-tokens", "12")
    assert code == 0 and not [line for line in errors if "sampling with --seed" not in line], errors
    if "--json" in command:
        assert json.loads(printed)["new_tokens"] == 12 and "vocab_size" not in json.loads(printed)
