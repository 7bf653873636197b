"""Flags from a TOML file: a flag wins over it, and what does not fit is refused by name."""

from pathlib import Path

import pytest
from tiny_base import make_base
from training_process import SIZES, TEXT

from tinygrad_llm.cli import main


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text(TEXT)
    return tmp_path / "text.txt"


def test_show_prints_the_file_that_repeats_a_run(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = ["train", str(text), *SIZES, "--steps", "4", "--no-tie-weights", "--seed", "5"]
    assert main([*first, "--out", "runs/first"]) == 0
    capsys.readouterr()
    assert main(["show", "runs/first", "--config"]) == 0
    Path("run.toml").write_text(capsys.readouterr().out)
    assert main(["train", "--config", "run.toml", "--out", "runs/second"]) == 0
    weights = [Path(f"runs/{name}/model.safetensors").read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]
    assert main(["train", "--steps", "2", "--config", "run.toml", "--seed", "6", "--out", "runs/third"]) == 0
    capsys.readouterr()
    assert main(["show", "runs/third", "--config"]) == 0
    printed = capsys.readouterr().out
    assert "steps = 2\n" in printed and "seed = 6\n" in printed and "dropout = 0.1\n" in printed


def test_a_number_of_workers_that_this_machine_chose_is_not_asked_for_elsewhere(
    text: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def shown(*words: str) -> tuple[bool, bool]:
        assert main(["train", *words, "--out", "runs/one"]) == 0
        capsys.readouterr()
        assert main(["show", "runs/one", "--config"]) == 0
        printed = capsys.readouterr().out
        return 'workers = "auto"\n' in printed and "# auto chose 1 here;" in printed, "workers = 1\n" in printed

    assert shown(str(text), *SIZES, "--steps", "1") == (True, False)
    assert shown("--resume", "--steps", "2") == (True, False)
    assert shown("--resume", "--steps", "3", "--workers", "1") == (False, True)
    assert shown("--resume", "--steps", "4", "--workers", "auto") == (True, False)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("stepz = 3", "there is no flag --stepz; did you mean --steps?"),
        ("steps = [3]", "steps must be a text, a number, true or false; got [3]"),
        ("steps = 'many'", "--steps"),
        ("steps 3", "must be a TOML file"),
        ("resume = true", "there is no flag --resume"),
        ("no_tie_weights = true", "there is no flag --no-tie-weights"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    text: Path, content: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run.toml").write_text(content)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "--config", "run.toml"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and line.endswith("see tinygrad-llm train --help")
    assert not Path("runs").exists()


def test_a_missing_file_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["classify", "train", "--config", "no/such.toml"])
    assert "--config no/such.toml: No such file" in capsys.readouterr().err


def test_the_text_is_given_once(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "text.txt", "--data", "text.txt"]) == 2
    assert "give the text once: as FILE or as --data" in capsys.readouterr().err
    Path("run.toml").write_text("data = 'no/such/text'")
    assert main(["train", "text.txt", "--config", "run.toml", *SIZES, "--steps", "1"]) == 0


def test_a_fine_tuning_is_repeated_too(text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{label}\t{word} {number}\n" for number in range(20) for label, word in (("a", "x"), ("b", "y")))
    Path("labelled.tsv").write_text("label\ttext\n" + rows)
    make_base(Path("base"))
    first = ["classify", "train", "--model", "base", "--data", "labelled.tsv", "--steps", "3", "--trainable", "head"]
    assert main([*first, "--out", "runs/first"]) == 0
    capsys.readouterr()
    assert main(["show", "runs/first", "--config"]) == 0
    Path("run.toml").write_text(capsys.readouterr().out)
    assert main(["classify", "train", "--config", "run.toml", "--out", "runs/second"]) == 0
    weights = [Path(f"runs/{name}/model.safetensors").read_bytes() for name in ("first", "second")]
    assert weights[0] == weights[1]
