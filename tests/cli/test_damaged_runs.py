"""Files of a run that are missing, cut, flipped or from the future: each is named in one line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from training_process import SIZES, TEXT

from tinygrad_llm.cli import main
from tinygrad_llm.formats import newest_whole_snapshot, verify_snapshot, write_snapshot
from tinygrad_llm.text import corpora

NEWEST = "checkpoints/step-00000006"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six steps with checkpoints at 4 and 6."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "text.txt").write_text(TEXT)
    data = ["--data", str(folder / "text.txt"), "--out", str(folder / "run")]
    assert main(["train", *data, *SIZES, "--steps", "6", "--eval-interval", "2"]) == 0
    return folder / "run"


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def called(capsys: pytest.CaptureFixture[str], *argv: Any) -> tuple[Any, ...] | None:
    """Exit code, what was printed, and the one line on stderr, if any."""
    code = main([str(part) for part in argv])
    printed, errors = capsys.readouterr()
    assert code in (0, 1, 2) and len(errors.splitlines()) == (code != 0), errors
    assert "a fault of this program" not in errors
    return code, printed, errors


def change(path: Path, how: str) -> None:
    if path.is_dir():
        shutil.rmtree(path)
        return
    data = path.read_bytes()
    path.unlink()
    if how == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped":
        path.write_bytes(data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "link to itself":
        path.symlink_to(path)


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "flipped", "pipe", "link to itself"])
@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"])
def test_resume_falls_back_to_the_newest_whole_checkpoint_and_says_so(
    run: Path, capsys: pytest.CaptureFixture[str], name: str, how: str
) -> None:
    change(run / NEWEST / name, how)
    code, printed, _ = called(capsys, "train", "--resume", "--out", run)
    assert code == 0
    assert str(run / NEWEST if name == "manifest.json" else run / NEWEST / name) in printed  # its sums may have changed
    assert "falling back to step-00000004" in printed and "continuing after step 4" in printed
    snapshot, problems = newest_whole_snapshot(run / "checkpoints")
    assert snapshot.name == "step-00000006" and not problems


def test_a_checkpoint_of_a_newer_version_is_passed_over(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = run / NEWEST / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 2'))
    code, printed, _ = called(capsys, "train", "--resume", "--out", run)
    assert code == 0 and "update tinygrad_llm" in printed and "falling back to step-00000004" in printed


def test_no_whole_checkpoint_is_an_error_that_names_each(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for checkpoint in (run / "checkpoints").iterdir():
        change(checkpoint / "state.json", "flipped")
    code, _, line = called(capsys, "train", "--resume", "--out", run)
    assert code == 1 and "no checkpoint is whole" in line
    assert all(str(path / "state.json") in line for path in (run / "checkpoints").iterdir())


@pytest.mark.parametrize("how", ["missing", "cut", "empty", "pipe", "link to itself"])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tinygrad_tokenizer.json"])
def test_generate_names_the_damaged_file(run: Path, capsys: pytest.CaptureFixture[str], name: str, how: str) -> None:
    change(run / name, how)
    code, _, line = called(
        capsys, "generate", "--model", run, "--prompt", "The", "--max-new-tokens", "1", "--seed", "0"
    )
    assert code in (1, 2) and name in line


def test_resuming_mends_the_weights_that_were_lost(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(run / "model.safetensors", "missing")
    assert called(capsys, "train", "--resume", "--out", run)[0] == 0
    assert called(capsys, "generate", "--model", run, "--prompt", "The", "--max-new-tokens", "1", "--seed", "0")[0] == 0


@pytest.mark.parametrize(
    "place, value",
    [
        (("version",), 99),
        (("version",), "1"),
        (("version",), None),
        (("model_type",), "gpt9"),
        (("model_type",), []),
        (("model",), 3),
        (("model",), {}),
        (("model", "num_layers"), 10**9),
        (("model", "num_layers"), 2),
        (("model", "embedding_dim"), 10**18),
        (("model", "vocab_size"), 10**30),
        (("model", "vocab_size"), -1),
        (("model", "context_length"), 10**12),
        (("model", "dropout"), "much"),
        (("model", "gelu"), {"a": 1}),
        (("model", "unheard_of"), 1),
        (("model", "feed_forward_dim"), 10**300),
        (("model", "num_heads"), 2.0),
    ],
)
def test_a_config_that_does_not_fit_is_named(
    run: Path, capsys: pytest.CaptureFixture[str], place: tuple[Any, ...], value: int | list[Any] | str | None
) -> None:
    config = json.loads((run / "config.json").read_text())
    part = config
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    (run / "config.json").write_text(json.dumps(config))
    code, _, line = called(
        capsys, "generate", "--model", run, "--prompt", "The", "--max-new-tokens", "1", "--seed", "0"
    )
    assert code in (1, 2) and "config.json" in line
    code, _, line = called(capsys, "train", "--resume", "--out", run, "--steps", "7")
    assert code in (1, 2)


def test_a_resumable_config_with_any_part_missing_or_wrong_is_an_error_of_ours(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The text of a config that names none takes seconds to read.
    monkeypatch.setitem(corpora.WITH_PYTHON, corpora.PYTHON_LIBRARY, lambda: TEXT)
    config = json.loads((run / "config.json").read_text())
    for name in config:
        for wrong in (..., None, 7, "x", [], {}, {"steps": "many"}):
            changed = {key: value for key, value in config.items() if key != name}
            if wrong is not ...:
                changed[name] = wrong
            (run / "config.json").write_text(json.dumps(changed))
            called(capsys, "train", "--resume", "--out", run)


hostile_bytes = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([b"[" * 100_000, b'{"a":' * 50_000, b"9" * 100_000, b" " * 1_000_000]),
    st.sampled_from([b'{"version": NaN}', b"\0" * 9]),
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=5)),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["version", "model", "kind", "model_type", "step", "files", "tokens"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)


@pytest.mark.slow
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["config.json", "model.safetensors", "tinygrad_tokenizer.json", "metrics.jsonl"]), hostile_bytes)
def test_any_bytes_in_any_file_end_in_one_line(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes
) -> None:
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    (tmp_path / "run" / name).write_bytes(content)
    called(capsys, "generate", "--model", tmp_path / "run", "--prompt", "The", "--max-new-tokens", "1", "--seed", "0")
    called(capsys, "train", "--resume", "--out", tmp_path / "run", "--steps", "7")


def replaced(value: Any, keys: Any, new: Any) -> Any:
    """A copy of nested dicts with `new` under `keys`."""
    return {**value, keys[0]: replaced(value[keys[0]], keys[1:], new)} if keys else new


@pytest.mark.parametrize("wrong", [5, "x", [[1]], {}, None, "a" * 6000], ids=lambda value: repr(value)[:9])
@pytest.mark.parametrize(
    "keys",
    [
        ("best",),
        ("best", "val_loss"),
        ("optimizer",),
        ("optimizer", "state", "0"),
        ("optimizer", "state", "6", "step"),  # after the six matrices of the block, which Muon updates
        ("trainer", "loader", "tokens"),
        ("trainer", "generators", "dropout", "seed"),
        ("environment",),
    ],
    ids=".".join,
)
def test_a_wrong_value_in_a_checkpoint_is_one_short_error(
    run: Any, capsys: pytest.CaptureFixture[str], keys: Any, wrong: Any
) -> None:
    files = {name: path.read_bytes() for name, path in verify_snapshot(run / NEWEST).items()}
    state = json.dumps(replaced(json.loads(files["state.json"]), keys, wrong)).encode()
    write_snapshot(run / "checkpoints", Path(NEWEST).name, {**files, "state.json": state})
    code, _, line = called(capsys, "train", "--resume", "--out", run, "--steps", "7")
    assert code in (0, 1) and len(line) < 1000
