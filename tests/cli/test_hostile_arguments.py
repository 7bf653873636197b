"""Whatever is asked for on the command line: exit code 0, 1 or 2, an error in one line, no waiting without end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from training_process import ENVIRONMENT, PROGRAM, SIZES, TEXT

from tinygrad_llm.cli import main

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes, devices and links")
# Each example runs a command: half as many as for other properties.
QUIETLY = settings(
    max_examples=settings().max_examples // 2, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
NUMBERS = [
    "",
    " ",
    "0",
    "-0",
    "-1",
    "1",
    "2",
    "7",
    "1.5",
    "nan",
    "-inf",
    "inf",
    "1e308",
    "-1e308",
    "5e-324",
    "1e-300",
    "1_000",
    "٣",
    "0x10",
    "9" * 30,
    "-" + "9" * 30,
    "9" * 5000,
    "4294967296",
    "true",
    "None",
    "\0",
    "\ud800",
    os.fsdecode(b"\xff"),
]
WORDS = [
    "",
    " ",
    ".",
    "..",
    "/",
    "/dev/null",
    "/dev/zero",
    "/proc/self/mem",
    "a\0b",
    "a\nb\x1b[31m",
    "../" * 2000,
    "a" * 5000,
    "[",
    "**",
    "~",
    "\ud800",
    "\udc80",
    os.fsdecode(b"\xff\xfe"),
    "<|endoftext|>",
    "%s%n{0}",
    "--",
    "-",
    "ﷺ" * 50,
]
# An error that begins with a function or a class: the command line speaks of flags and files.
PYTHON_NAME = re.compile(r"^tinygrad-llm[a-z ]*: (\w+\.)?([a-z]+_[a-z_]+|[A-Z][a-z]+[A-Z]\w*): ", re.MULTILINE)
numbers = st.one_of(st.sampled_from(NUMBERS), st.integers(-2, 40).map(str), st.floats().map(repr))
texts = st.one_of(
    st.sampled_from(WORDS),
    st.text(st.characters(categories=None), max_size=30),
    st.binary(max_size=20).map(os.fsdecode),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each kind of tokenizer, a text, a pipe, and links to a device and to itself."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "text.txt").write_text(TEXT)
    sizes = SIZES[: SIZES.index("--tokenizer")]
    for tokenizer in ("char", "words", "bpe"):
        options = ["--tokenizer", tokenizer, *(["--vocab-size", "280"] if tokenizer == "bpe" else [])]
        where = ["--data", str(folder / "text.txt"), "--out", str(folder / tokenizer)]
        assert main(["train", *where, *sizes, *options, "--steps", "2"]) == 0
    os.mkfifo(folder / "pipe")
    (folder / "zero").symlink_to("/dev/zero")
    (folder / "circle").symlink_to(folder / "circle")
    return folder


def expect_one_line(capsys: pytest.CaptureFixture[str], *argv: Any) -> tuple[Any, ...]:
    """Returns the exit code and what was said on stderr."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            code = main([str(part) for part in argv])
        except SystemExit as exit:  # argparse's way
            code = exit.code
    errors = capsys.readouterr().err
    assert code in (0, 1, 2), code
    lines = [line for line in errors.splitlines() if not line.startswith("the prompt has ")]  # a note, no error
    assert len(lines) == (code != 0), errors
    assert "a fault of this program" not in errors and not PYTHON_NAME.search(errors)
    assert len(errors) < 3000 and all(line.isprintable() for line in errors.split("\n"))
    return code, errors


@QUIETLY
@given(
    st.sampled_from(["char", "words", "bpe"]),
    texts,
    st.dictionaries(
        st.sampled_from(["--temperature", "--top-k", "--top-p", "--min-p", "--repetition-penalty", "--seed", "--stop"]),
        numbers,
        max_size=2,
    ),
)
@example("bpe", " " * 1_000_000, {})
@example("char", "\n" * 1_000_000, {})
@example("words", " " * 1_000_000, {})
@example("bpe", "The", {"--max-new-tokens": "9" * 5000})
@example("bpe", "The", {"--max-new-tokens": "-1"})
@example("bpe", "The", {"--max-new-tokens": "nan"})
def test_generate_takes_any_prompt_and_setting(
    runs: Path, capsys: pytest.CaptureFixture[str], tokenizer: str, prompt: str, options: dict[str, Any]
) -> None:
    asked = ["--seed=0", "--max-new-tokens=2", f"--prompt={prompt}"]
    asked += [f"{flag}={value}" for flag, value in options.items()]
    expect_one_line(capsys, "generate", "--model", runs / tokenizer, *asked)


TRAINING = [
    "--context-length",
    "--embedding-dim",
    "--num-heads",
    "--num-layers",
    "--dropout",
    "--feed-forward-dim",
    "--norm-eps",
    "--gelu",
    "--preset",
    "--batch-size",
    "--learning-rate",
    "--min-learning-rate",
    "--warmup-steps",
    "--beta1",
    "--beta2",
    "--weight-decay",
    "--grad-clip",
    "--eval-interval",
    "--eval-batches",
    "--sample-interval",
    "--seed",
    "--keep",
    "--keep-every",
    "--stop-at",
    "--vocab-size",
    "--tokenizer",
]


@QUIETLY
@given(st.dictionaries(st.sampled_from(TRAINING), numbers, min_size=1, max_size=2))
@example({"--embedding-dim": "100000", "--num-heads": "1", "--num-layers": "1000"})
@example({"--num-layers": "1000000000"})
@example({"--learning-rate": "1e308"})
@example({"--steps": "0"})
@example({"--steps": "9" * 500, "--stop-at": "1"})
def test_train_takes_any_setting(
    runs: Path, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str], options: dict[str, str]
) -> None:
    asked = [f"{flag}={value}" for flag, value in options.items()]
    out = tmp_path_factory.mktemp("new") / "run"
    expect_one_line(capsys, "train", "--data", runs / "text.txt", "--out", out, *SIZES, "--steps", "2", *asked)


@QUIETLY
@given(
    st.sampled_from(["train", "resume", "generate", "import", "export"]),
    texts.filter(lambda text: not text.startswith("/")),
)
@example("train", "/dev/zero")
@example("train", "/proc/self/mem")
@example("resume", "/dev/zero")
@example("generate", "/dev/null")
def test_invalid_paths_are_one_line_of_error(
    runs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    path: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    argv = {
        "train": ["train", f"--data={path}", "--out", tmp_path / "new", *SIZES, "--steps", "1"],
        "resume": ["train", "--resume", f"--out={path}"],
        "generate": ["generate", f"--model={path}"],
        "import": ["import", f"--from={path}", "--out", tmp_path / "new"],
        "export": ["export", f"--model={path}", "--out", tmp_path / "new"],
    }[command]
    assert expect_one_line(capsys, *argv)[0] != 0


@pytest.mark.parametrize("name", ["pipe", "zero", "circle"])
def test_pipes_devices_and_broken_links_are_not_read(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, line = expect_one_line(capsys, "train", "--data", runs / name, "--out", tmp_path / "new", *SIZES)
    assert code == 2 and "it is a pipe, a device or a broken link" in line


def test_a_value_of_two_dashes_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = expect_one_line(capsys, "train", "--resume", "--out=--")
    assert code == 2 and "--out must have a value; got --" in line


def test_misuse_of_flags_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["train", "--steps", "x"], ["fly"], ["classify"], ["generate", "--model", "x", "--unheard-of"]):
        code, line = expect_one_line(capsys, *argv)
        assert code == 2 and "--help" in line


def test_bytes_that_are_no_text_in_a_real_process(runs: Path) -> None:
    command = [*PROGRAM, "generate", "--model", runs / "bpe", "--max-new-tokens", "2", b"--prompt=\xff\xfe The"]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and b"valid Unicode" in done.stderr
    command = [*PROGRAM, "train", b"--data=no\xff\n\x1b[31mfile", "--out", runs / "new"]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1 and b"\x1b" not in done.stderr


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_a_full_standard_output_and_one_without_the_letters(runs: Path, unbuffered: str) -> None:
    command = [*PROGRAM, "generate", "--model", runs / "bpe", "--max-new-tokens", "2", "--seed", "0"]
    command += ["--prompt", "naïve 龍"]
    environment = ENVIRONMENT | {"PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=300)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and b"No space left" in done.stderr
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*PROGRAM, "--help"], stdout=full, stderr=subprocess.PIPE, env=environment, timeout=300)
    assert b"Exception ignored" not in done.stderr
    ascii_only = environment | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(command, capture_output=True, env=ascii_only, timeout=300)
    assert (done.returncode, done.stderr) == (0, b"") and done.stdout.startswith(b"na\\xefve \\u9f8d")


@pytest.mark.parametrize(
    "argv",
    [
        ("generate", "--model", "x" * 5000),
        ("train", "--data", __file__, "--out", "x" * 5000),
        ("train", "--data", "x" * 5000, "--out", "new"),
        ("import", "--from", "x" * 5000, "--out", "new"),
        ("evaluate", "--task", "x" * 5000, "--model", "none"),
    ],
    ids=lambda argv: argv[0],
)
def test_a_name_that_is_too_long_is_one_short_error_without_a_number(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    code, errors = expect_one_line(capsys, *argv)
    assert code in (1, 2) and len(errors) < 600 and "Errno" not in errors
    assert "too long" in errors or "none of that name" in errors
