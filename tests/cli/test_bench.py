"""The command bench: its tables and JSON, wrong arguments, interruption."""

import json
import signal
import subprocess
import sys

import pytest
from training_process import ENVIRONMENT, PROGRAM

from tinygrad_llm.cli import bench, main
from tinygrad_llm.measure import data_scaling
from tinygrad_llm.measure.benchmark import PARTS
from tinygrad_llm.measure.scaling import measure_growth
from tinygrad_llm.measure.training_step import PRESETS


def test_the_table_explains_itself_in_80_columns(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["bench", "--preset", "smoke", "--steps", "2", "--warmup", "1"]) == 0
    printed, errors = capsys.readouterr()
    assert errors == "" and max(map(len, printed.splitlines())) <= 80
    text = " ".join(printed.split())
    assert text.startswith("One training step of the preset smoke: a GPT with 2 layers, 2 heads, embedding size 32")
    assert "on 2 x 16 tokens" in text and "1 GFLOP is" in text
    first_words = [line[:28].strip() for line in printed.splitlines()]
    rows = [first_words.index(name) for name in (*PARTS, "clipping and AdamW", "the engine", "together")]
    assert rows == list(range(rows[0], rows[0] + len(rows)))
    shares = [float(line.split()[-1].rstrip("%")) for line in printed.splitlines()[rows[0] : rows[-1]]]
    assert sum(shares) == pytest.approx(100, abs=3)
    assert printed.splitlines()[rows[-1]].endswith("100.0%")


def test_another_architecture(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--architecture", "llama", "--preset", "smoke", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["architecture"], told["model"]["num_layers"]) == ("llama", 2)
    assert all(part["forward"] > 0 for part in told["parts"].values())


def test_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["bench", "--preset", "smoke", "--batch-size", "3", "--context-length", "8", "--steps", "2", "--json"]
    assert main(argv) == 0
    printed, errors = capsys.readouterr()
    told = json.loads(printed)
    assert errors == ""
    assert {"preset", "environment", "tokens_per_second", "gflops", "parts", "memory"} <= told.keys()
    assert (told["preset"], told["batch_size"], told["model"]["context_length"]) == ("smoke", 3, 8)
    assert list(told["parts"]) == list(PARTS) and len(told["step_seconds"]) == 2


ALONE = """
from tinygrad_llm.cli import main
from tinygrad_llm.measure import products_alone

products_alone.PEAK_SIZE = 128
main("bench --preset smoke --batch-size 200 --warmup 1 --steps 1 --json".split())
"""


def test_the_peak_memory_of_a_separate_process() -> None:
    command = [sys.executable, "-c", ALONE]
    memory = json.loads(subprocess.run(command, capture_output=True, env=ENVIRONMENT, check=True).stdout)["memory"]
    if memory["peak"] is None:
        pytest.skip("this system keeps no mark")
    assert memory["counted"] < memory["peak"] < 3 * memory["counted"]


def test_growth_is_reported_as_tables_and_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = {"context": (8, 16), "batch": (1, 2)}
    monkeypatch.setattr(bench, "measure_growth", lambda **told: measure_growth(PRESETS["smoke"], axes, **told))
    assert main(["bench", "--scaling"]) == 0
    lines = capsys.readouterr().out.splitlines()
    start = lines.index("") + 1
    assert "2^exponent" in " ".join(lines[:start])
    assert [line.split()[0] for line in lines[start:] if line] == [
        "context",
        "8",
        "16",
        "exponent",
        "batch",
        "1",
        "2",
        "exponent",
    ]
    assert lines[-1].split()[-1] == "1.00"
    assert main(["bench", "--scaling", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.keys() == {"base", "environment", "axes"} and told["axes"].keys() == axes.keys()


def test_texts_are_reported_as_a_table_of_80_columns_and_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(data_scaling, "STEPS", 2)
    assert main(["bench", "--data-scale", "0.1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    head, row = printed[-2:]
    assert head.split() == ["text", "tokens", "read", "encoded", "memory", "trained", "memory"]
    assert row.split()[:2] == ["0.1", "MB"] and row.count("MB/s") == 2 and "tokens/s" in row
    assert max(map(len, printed)) <= 80
    assert main(["bench", "--data-scale", "0.1", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [text["bytes"] for text in told["texts"]] == [100_000] and "environment" in told


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--steps", "0"], "--steps must be an integer of at least 1; got 0"),
        (["--warmup", "-1"], "--warmup must be an integer of at least 1; got -1"),
        (["--batch-size", "0"], "bench: --batch-size must be an integer of at least 1; got 0"),
        (["--context-length", "-4"], "--context-length must be an integer of at least 1"),
        (["--context-length", "10000000"], "GB of memory"),
        (["--context-length", "9" * 30], "GB of memory"),
        (["--batch-size", "9" * 30], "GB of memory"),
        (["--seed", "-1"], "--seed must be an integer in 0..2**64 - 1; got '-1'"),
        (["--seed", "0" * 20 + "9" * 30], "--seed must be an integer in 0..2**64 - 1; got '0000"),
        (["--scaling", "--batch-size", "2"], "leave out --batch-size"),
        (["--scaling", "--data-scale"], "--data-scale has its own sizes; leave out --scaling"),
        (["--scaling", "--data-scale", "x"], "--data-scale must be a number; got"),
        (["--preset", "huge"], "--preset must be one of smoke"),
    ],
)
def test_impossible_arguments_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], argv: list[str], said: str
) -> None:
    argv = argv if {"--preset", "--scaling"} & set(argv) else ["--preset", "smoke", *argv]
    try:
        code = main(["bench", *argv])
    except SystemExit as exit:  # argparse's way
        code = exit.code
    printed, errors = capsys.readouterr()
    assert (code, printed) == (2, "")
    assert len(errors.splitlines()) == 1 and said in errors


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_interrupted() -> None:
    command = [*PROGRAM, "bench", "--preset", "smoke", "--steps", "1000000"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}

    def heed() -> None:  # a shell lets what it starts in the background ignore Ctrl-C, and so all that this starts
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    with subprocess.Popen(command, **pipes, text=True, env=ENVIRONMENT, preexec_fn=heed) as process:
        assert "preset smoke" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert (process.returncode, errors.strip()) == (130, "interrupted")
