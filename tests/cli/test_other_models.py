"""Models of other people, straight from their Hugging Face folder or GGUF file: every command that takes a language
model."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_files import model_file
from tiny_base import call, make_base
from tiny_chat import CHATML, SPECIAL, chat_tokenizer, save_chat_model

from tinygrad_llm.formats import read_json, read_safetensors
from tinygrad_llm.interop.conventions import read_conventions
from tinygrad_llm.runs import load
from tinygrad_llm.text.vocabulary_files import character_of_byte

STEPS = ["--steps", "3", "--eval-interval", "3", "--warmup-steps", "1"]
RECORDS = [{"instruction": f"Say {n}.", "input": "", "output": str(n)} for n in range(40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("models") / "llama")


@pytest.mark.parametrize("end", [256, 258, 259, 65])
def test_a_text_ends_at_every_id_that_a_file_names(
    end: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for named, length in ((True, 0), (False, 5)):
        settings = {"eos_token_id": [259, 65]} if named or end in (256, 258) else {}
        model = save_chat_model(tmp_path / str(named), always=end, **settings)
        code, printed, _ = call(capsys, "generate", "--model", model, "a", "--max-new-tokens", 5, "--json")
        report = json.loads(printed)
        expected = 0 if end in (256, 258) else length
        assert (code, report["new_tokens"]) == (0, expected) and report["ended_by"] == (
            "length" if expected else "stop"
        )
        code, printed, _ = call(capsys, "instruct", "generate", "--model", model, "a", "--max-new-tokens", 5)
        assert (
            code == 0
            and len(printed.strip()) in (0, 5 * len("A" if end == 65 else "<|stop|>"))
            and (bool(printed.strip()) == bool(expected))
        )
        monkeypatch.setattr("sys.stdin", io.StringIO("a\n"))
        code, printed, _ = call(capsys, "chat", "--model", model, "--max-new-tokens", 5)
        assert ("(cut after" in printed) == bool(expected)


def test_chat_speaks_the_template_and_says_what_it_forgets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = save_chat_model(tmp_path / "model", always=258)
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n" + "two two two two\n" * 3))
    code, printed, errors = call(capsys, "chat", "--model", model, "--system", "Be brief.", "--max-new-tokens", 20)
    assert (code, errors) == (0, []) and "in the form of its chat template" in printed
    assert printed.count("(the oldest question no longer fits the context of 128 tokens)") == 2


def test_a_system_prompt_needs_a_template(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = make_base(tmp_path / "base")
    plain = save_chat_model(tmp_path / "plain", template=None)
    for command, model, options, said in (
        (["chat"], base, (), "continues any text"),
        (["chat"], folder, ("--style", "phi3"), "--style chat"),
        (["instruct", "generate", "a"], base, (), "in the style phi3"),
        (["chat"], plain, ("--style", "chat"), "must have a chat template"),
    ):
        code, _, errors = call(capsys, *command, "--model", model, "--system", "S", *options)
        assert code == 2 and len(errors) == 1 and said in errors[0]
    gemma = CHATML.replace("{% for", "{{ raise_exception('no system') }}{% for", 1)
    code, _, errors = call(capsys, "chat", "--model", save_chat_model(tmp_path / "refusing", gemma))
    assert code in (1, 2) and len(errors) == 1 and ("no system" in errors[0] or ".[hub]" in errors[0])


def test_lora_tuning_in_the_chat_form_and_its_run(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = tmp_path / "records.json", tmp_path / "run"
    data.write_text(json.dumps(RECORDS))
    argv = ["instruct", "train", "--model", folder, "--data", data, "--lora-rank", 2, "--out", out, *STEPS]
    code, _, errors = call(capsys, *argv, "--max-new-tokens", 3, "--stop-at", 1)
    assert (code, errors) == (0, [])
    assert call(capsys, "instruct", "train", "--resume", "--out", out)[::2] == (0, [])
    assert read_json(out / "config.json")["options"]["style"] == "chat"
    conventions = read_conventions(out)
    assert conventions is not None and conventions.template is not None and conventions.template.source == CHATML
    before, after = (read_safetensors(path / "model.safetensors") for path in (folder, out))
    assert len(before) == len(after)
    tuned, _ = load(out)
    assert not np.array_equal(tuned(np.arange(9)).data, load(folder)[0](np.arange(9)).data)
    code, _, errors = call(
        capsys, "instruct", "generate", "--model", out, "--system", "S", "Say 3.", "--max-new-tokens", 3
    )
    assert (code, errors) == (0, [])
    code, _, _ = call(capsys, "export", "--model", out, "--out", tmp_path / "exported")
    assert code == 0 and (tmp_path / "exported" / "chat_template.jinja").read_text() == CHATML
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n"))
    assert "chat template" in call(capsys, "chat", "--model", tmp_path / "exported", "--max-new-tokens", 2)[1]


def test_the_other_tunings_begin_from_a_folder(
    tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, texts = tmp_path / "pairs.json", tmp_path / "texts.csv"
    pairs.write_text(json.dumps([{**record, "chosen": record["output"], "rejected": "no"} for record in RECORDS]))
    with texts.open("w", newline="") as file:
        csv.writer(file).writerows(
            [["text", "label"], *([f"{n} is {n % 2}", "odd" if n % 2 else "even"] for n in range(40))]
        )
    for command, data, rank in (
        ("prefer", pairs, 0),
        ("classify", texts, 0),
        ("prefer", pairs, 2),
        ("classify", texts, 2),
    ):
        whole, parts = (tmp_path / f"{command}-{rank}-{name}" for name in ("whole", "parts"))
        argv = [command, "train", "--model", folder, "--data", data, "--lora-rank", rank, *STEPS]
        assert call(capsys, *argv, "--out", whole)[::2] == (0, [])
        assert call(capsys, *argv, "--out", parts, "--stop-at", 1)[::2] == (0, [])
        assert call(capsys, command, "train", "--resume", "--out", parts)[::2] == (0, [])
        one, other = (read_safetensors(path / "model.safetensors") for path in (whole, parts))
        assert one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)
        if rank:  # a checkpoint holds what is trained, not the frozen weights again
            (checkpoint,) = (parts / "checkpoints").glob("*3")
            trained = read_safetensors(checkpoint / "training.safetensors")
            assert all(name.endswith(("lora_A", "lora_B", "body.head.weight", "body.head.bias")) for name in trained)
    assert read_json(tmp_path / "prefer-0-whole" / "config.json")["options"]["style"] == "chat"
    assert call(capsys, "classify", "predict", "--model", tmp_path / "classify-2-parts", "3 is 1")[0] == 0


def test_evaluation_and_inspection(tmp_path: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task = tmp_path / "task.json"
    task.write_text(json.dumps([{"question": f"{n}?", "choices": ["a", "b"], "answer": 0} for n in range(4)]))
    argv: list[Any] = ["evaluate", "--model", folder, "--task", task, "--shots", 1, "--json"]
    for style, shown in (((), "plain"), (("--style", "chat"), "chat")):
        code, printed, errors = call(capsys, *argv, *style)
        assert (code, errors) == (0, []) and json.loads(printed)["style"] == shown
        assert json.loads(printed)["tasks"]["task"]["count"] == 3
    code, printed, _ = call(capsys, "inspect", "--model", folder, "--prompt", "Hello", "--out", tmp_path / "lens.html")
    assert code == 0 and "5 tokens" in printed
    code, _, errors = call(capsys, "instruct", "evaluate", "--model", folder, "--records", 3, "--max-new-tokens", 2)
    assert (code, errors) == (0, [])


def test_without_a_model_the_newest_run_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_base(Path("runs/base"))
    for action in (["generate", "a"], ["evaluate", "--records", "2"]):
        code, _, errors = call(capsys, "instruct", *action, "--max-new-tokens", 2)
        assert code == 0 and errors[0].endswith("runs/base (the newest run)")


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Path:
    """The model of `folder` as a GGUF file; its tokenizer splits other pieces, and has the same ids for bytes."""
    tokens = [character_of_byte()[byte] for byte in (chat_tokenizer().token_bytes(id)[0] for id in range(256))]
    tokenizer = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": [*tokens, *SPECIAL],
        "tokenizer.ggml.token_type": [1] * 256 + [3] * len(SPECIAL),
        "tokenizer.ggml.merges": [],
        "tokenizer.ggml.bos_token_id": 257,
        "tokenizer.ggml.eos_token_id": 258,
        "tokenizer.chat_template": CHATML,
    }
    path = tmp_path_factory.mktemp("files") / "tiny.gguf"
    path.write_bytes(model_file(load(folder)[0], "llama", tokenizer))
    return path


def test_a_gguf_file_answers_as_its_folder_does(
    folder: Path, gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = gguf.read_bytes()
    assert call(capsys, "import", "--from", gguf, "--out", tmp_path / "run")[::2] == (0, [])
    for argv in (
        ("generate", "a", "--max-new-tokens", 8, "--temperature", 0, "--seed", 1, "--json"),
        ("chat", "--system", "Be brief.", "--max-new-tokens", 6, "--temperature", 0, "--seed", 1),
    ):
        printed = []
        for model in (folder, gguf, tmp_path / "run"):
            monkeypatch.setattr("sys.stdin", io.StringIO("one\ntwo\n"))
            code, text, errors = call(capsys, *argv, "--model", model)
            assert (code, errors) == (0, [])
            printed.append(text.replace(str(model), "MODEL"))
        assert printed[0] == printed[1] == printed[2]
    assert gguf.read_bytes() == before


def test_the_other_commands_take_a_gguf_file(gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = gguf.read_bytes()
    data, text = tmp_path / "records.json", tmp_path / "text.txt"
    data.write_text(json.dumps(RECORDS))
    text.write_text("to and fro, " * 200)
    task = tmp_path / "task.json"
    task.write_text(json.dumps([{"question": f"{n}?", "choices": ["a", "b"], "answer": 0} for n in range(4)]))
    out, few = tmp_path / "run", ("--max-new-tokens", 3)
    for argv in (
        ("inspect", "--prompt", "Hello", "--out", tmp_path / "lens.html"),
        ("evaluate", "--task", task, "--shots", 1),
        ("doctor", "--data", text, "--batch-size", 2),
        ("instruct", "generate", "a", *few),
        ("instruct", "train", "--data", data, "--lora-rank", 2, "--out", out, *STEPS, *few, "--stop-at", 1),
        ("export", "--out", tmp_path / "exported"),
    ):
        code, _, errors = call(capsys, *argv, "--model", gguf)
        assert (code, errors) == (0, []), argv
    assert call(capsys, "instruct", "train", "--resume", "--out", out)[::2] == (0, [])
    assert (tmp_path / "exported" / "chat_template.jinja").read_text() == CHATML
    assert gguf.read_bytes() == before


def test_a_gguf_file_that_cannot_be_opened_is_one_line(
    gguf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.gguf").touch()
    (tmp_path / "short.gguf").write_bytes(gguf.read_bytes()[:-9])
    (tmp_path / "folder.gguf").mkdir()
    for name, said in (
        ("empty.gguf", "must be a GGUF file"),
        ("short.gguf", "the file is cut off"),
        ("none.gguf", "there is none of that name"),
        ("folder.gguf", "no run folder"),
    ):
        code, _, errors = call(capsys, "generate", "--model", tmp_path / name, "a")
        assert code in (1, 2) and len(errors) == 1 and said in errors[0] and name in errors[0], errors
    for name in ("empty.gguf", "short.gguf", "none.gguf", "folder.gguf"):
        code, _, errors = call(capsys, "import", "--from", tmp_path / name, "--out", tmp_path / "run")
        assert code in (1, 2) and len(errors) == 1 and name in errors[0], errors
        assert not (tmp_path / "run").exists()
    code, _, errors = call(capsys, "show", gguf)
    assert code in (1, 2) and len(errors) == 1
