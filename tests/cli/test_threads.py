"""BLAS's threads are chosen from the command line before NumPy is loaded, and a user's own number stays."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.cli import threads
from tinygrad_llm.train.parallel.blas_threads import SET_HERE, VARIABLES
from tinygrad_llm.train.parallel.cores_and_memory import usable_cores


def without_a_choice() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}


def run(program: str, *arguments: str, **more: str) -> str:
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=without_a_choice() | more, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize("module", ["cli", "__main__", "cli.threads", "train.parallel.blas_threads"])
def test_importing_the_command_line_loads_no_numpy(module: str) -> None:
    assert run(f"import sys, tinygrad_llm.{module}; print('numpy' in sys.modules)") == "False"


ALL = usable_cores()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train"], "1"),
        (["search", "--vary", "num_layers=1,2"], "1"),
        (["reinforce", "--model", "run"], "1"),
        (["train", "text.txt", "--workers", "auto"], "1"),
        (["train", "--workers", "2"], str(max(1, ALL // 2))),
        (["bench", "--workers=4"], str(max(1, ALL // 4))),
        (["--debug", "classify", "train", "--workers", str(10 * ALL)], "1"),
        (["train", "--workers", "1"], None),
        (["train", "--work", "1"], None),
        (["train", "--worker=1"], None),
        (["train", "--workers", "2", "--workers=1"], None),
        (["train", "--workers=1", "--workers", "auto"], "1"),
        (["train", "--warmup-steps", "1"], "1"),
        (["train", "--workers", "many"], "1"),
        (["train", "--resume", "--out", "no/such/run"], "1"),
        (["speedrun", "--workers", "1"], None),
        (["generate", "--model", "run"], "1"),
        (["classify", "predict"], "1"),
        (["lab"], "1"),
        (["--help"], None),
        ([], None),
    ],
)
def test_the_number_is_that_of_cores_for_each_worker(
    monkeypatch: pytest.MonkeyPatch, words: list[str], expected: str | None
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "numpy")
    threads.limit_blas_threads(words)
    assert os.environ.get("OPENBLAS_NUM_THREADS") == expected
    for name in SET_HERE:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("settings", "words", "expected"),
    [
        ("workers = 1", [], None),
        ("workers = 1", ["--workers=2"], str(max(1, ALL // 2))),
        ("steps = 1", [], "1"),
        ("=", [], "1"),
    ],
)
def test_the_number_of_workers_may_be_in_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, settings: str, words: list[str], expected: str | None
) -> None:
    (tmp_path / "run.toml").write_text(settings)
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "numpy")
    threads.limit_blas_threads(["train", "--config", str(tmp_path / "run.toml"), *words])
    assert os.environ.get("OPENBLAS_NUM_THREADS") == expected
    for name in SET_HERE:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", VARIABLES)
def test_a_number_that_the_user_has_chosen_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in VARIABLES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "7")
    monkeypatch.delitem(sys.modules, "numpy")
    threads.limit_blas_threads(["train"])
    assert {other: os.environ[other] for other in VARIABLES if other in os.environ} == {name: "7"}


@pytest.mark.parametrize(
    ("recorded", "expected"),
    [("OPENBLAS_NUM_THREADS=3 MKL_NUM_THREADS=3", "3"), ("default of 2 cores", None), (5, "1")],
)
@pytest.mark.parametrize(
    ("words", "run"),
    [
        (["train", "--resume"], ""),
        (["search", "--resume"], "trial-01"),
        (["speedrun", "--resume"], "base"),
        (["speedrun", "--minutes=1"], "size/50000-100"),
    ],
)
def test_a_run_that_is_continued_gets_the_number_that_it_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], run: str, recorded: Any, expected: str | None
) -> None:
    for step, number in ((9, "OPENBLAS_NUM_THREADS=9"), (10, recorded)):
        folder = tmp_path / run / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(json.dumps({"environment": {"threads": number}}))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delitem(sys.modules, "numpy")
    threads.limit_blas_threads([*words, f"--out={tmp_path}"])
    assert os.environ.get("OPENBLAS_NUM_THREADS") == expected
    for name in SET_HERE:
        monkeypatch.delenv(name, raising=False)


TRAINS = """
import sys
from tinygrad_llm.cli import main
code = main(sys.argv[1:])
from tinygrad_llm.train.parallel import blas_threads
get, _ = blas_threads._openblas()
print(code, get())
"""


def test_the_command_trains_with_this_number(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("To be, or not to be, that is the question.\n" * 40)
    sizes = [
        "--tokenizer",
        "char",
        "--num-layers",
        "1",
        "--num-heads",
        "2",
        "--embedding-dim",
        "16",
        "--context-length",
        "16",
        "--steps",
        "1",
    ]
    command = ["train", str(tmp_path / "text.txt"), "--out", str(tmp_path / "run"), *sizes, "--workers", "2"]
    printed = run(TRAINS, *command).splitlines()
    assert "2 workers share each batch of 16 rows" in printed
    assert printed[-1] == f"0 {max(1, ALL // 2)}"
    assert json.loads((tmp_path / "run" / "config.json").read_text())["training"]["workers"] == 2


USES_A_MODEL = """
import sys
from tinygrad_llm import cli


class Command:
    def add_arguments(parser):
        parser.add_argument("--workers")

    def run(arguments):
        from tinygrad_llm import buffers
        from tinygrad_llm.train.parallel import blas_threads

        get, _ = blas_threads._openblas()
        print(getattr(getattr(buffers.multiply, "__self__", None), "threads", None), get())
        return 0


cli.command_module = lambda name: Command
cli.main(sys.argv[1:])
"""


@pytest.mark.parametrize(
    ("words", "chosen", "expected"),
    [
        (["chat"], {}, f"{ALL} 1"),
        (["chat"], {"OPENBLAS_NUM_THREADS": "1"}, "None 1"),
        (["train"], {}, "None 1"),
        (["train", "--workers", "1"], {}, f"None {ALL}"),
    ],
)
def test_threads_share_the_products_of_a_command_that_trains_no_run(
    words: list[str], chosen: dict[str, str], expected: str
) -> None:
    assert run(USES_A_MODEL, *words, **chosen) == expected
