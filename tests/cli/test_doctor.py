"""The command doctor: what it says of a sound model and of a broken one."""

import json
from pathlib import Path

import pytest
from tiny_base import call
from training_process import SIZES, TEXT

from tinygrad_llm.cli import main
from tinygrad_llm.text import CharTokenizer


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(TEXT)
    return str(tmp_path / "text.txt")


def test_it_takes_the_flags_of_train(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data", text, *SIZES]) == 0
    printed, errors = capsys.readouterr()
    assert errors == "" and "WRONG" not in printed
    assert "a uniform guess has ln(" in printed and "one batch memorised" in printed
    assert main(["doctor", "--data", text, *SIZES, "--num-heads", "3"]) == 2
    assert "multiple of --num-heads" in capsys.readouterr().err


def test_a_trained_model_passes_and_one_with_another_tokenizer_fails(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(["train", "--data", text, "--out", str(run), *SIZES, "--steps", "20"]) == 0
    assert main(["doctor", "--model", str(run)]) == 0
    assert "WRONG" not in capsys.readouterr().out
    CharTokenizer.train(TEXT + "0123456789").save(run)
    assert main(["doctor", "--model", str(run)]) == 1
    printed, errors = capsys.readouterr()
    assert "WRONG  the tokenizer has" in printed and "Usual cause: a tokenizer of another run" in printed
    assert len(errors.splitlines()) == 1
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"data": "no/such/text"}))
    assert main(["doctor", "--model", str(run)]) == 2
    assert "no/such/text" in capsys.readouterr().err


def test_it_checks_every_architecture_that_train_takes(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--data", text, *SIZES, "--architecture", "llama", "--num-kv-heads", "1"]) == 0
    printed, errors = capsys.readouterr()
    assert errors == "" and "WRONG" not in printed and "all checks passed" in printed


def test_its_help_shows_its_own_flags_only(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["doctor", "--help"])
    page = capsys.readouterr().out
    assert "--model" in page and "--batch-size" in page and "--resume" not in page and "--eval-interval" not in page


def test_a_text_that_is_too_short_is_refused_by_the_flag(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "short.txt").write_text("ab cd\n")
    code, _, (error,) = call(capsys, "doctor", "--data", tmp_path / "short.txt", "--tokenizer", "char")
    assert code == 2 and "doctor: --context-length 128 needs a text of more than so many training tokens" in error
