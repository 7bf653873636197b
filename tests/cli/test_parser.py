"""Finding one's way: version, overview, pages of help, suggestions after a mistake."""

import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_llm
from tinygrad_llm.cli import COMMANDS, main


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line on standard error with which these words are refused."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"tinygrad-llm {tinygrad_llm.__version__}\n"


def test_called_alone_it_shows_the_overview(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    alone = capsys.readouterr().out
    assert all(f"    {name}" in alone for name in COMMANDS)
    assert main(["help"]) == 0
    assert capsys.readouterr().out == alone


def test_help_shows_the_page_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["help", "classify", "train"]) == 0
    page = capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["classify", "train", "--help"])
    assert capsys.readouterr().out == page and "--label-column" in page


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["trian"], "tinygrad-llm: there is no command 'trian'; did you mean train? see tinygrad-llm --help"),
        (["help", "trian"], "tinygrad-llm: there is no command 'trian'; did you mean train? see tinygrad-llm --help"),
        (
            ["classify", "predct"],
            "tinygrad-llm classify: there is no command 'predct'; did you mean predict? "
            "see tinygrad-llm classify --help",
        ),
        (
            ["classify", "train", "--label-colunm", "x"],
            "tinygrad-llm classify train: there is no flag --label-colunm; did you mean --label-column? "
            "see tinygrad-llm classify train --help",
        ),
        (
            ["generate", "--model", "m", "two", "words"],
            "tinygrad-llm generate: too many words; got 'words': quote a text that has spaces; "
            "see tinygrad-llm generate --help",
        ),
    ],
)
def test_a_misspelled_word_is_met_with_the_right_one(
    capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert refused(capsys, *words) == line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["train", "--steps", "2.5"], "--steps must be an integer; got '2.5'"),
        (["train", "--dropout", "half"], "--dropout must be a number; got 'half'"),
        (["train", "--learning-rate"], "--learning-rate must have a value; one that begins with - is written --l"),
        (["train", "--learning-rate", "-1e-3"], "--learning-rate must have a value; one that begins with - is"),
        (["generate", "--seed", "x"], "--seed must be an integer in 0..2**64 - 1; got 'x'"),
        (["bench", "--preset", "x"], "--preset must be one of smoke, 0.8M, 12M, 124M; got 'x'"),
        (["show", "--model", "x"], "there is no flag --model; see"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_the_words_of_a_setting(
    capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    assert refused(capsys, *words).startswith(f"tinygrad-llm {words[0]}: {line}")


def test_a_run_without_its_flag_is_recognised(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert f"got '{tmp_path}'; did you mean --model {tmp_path}? see" in refused(capsys, "doctor", str(tmp_path))


def test_an_error_of_a_setting_names_the_page_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "train", "--model", "m", "--steps", "-1"]) == 2
    line = capsys.readouterr().err.strip()
    assert line.startswith("tinygrad-llm classify train: --steps must be")
    assert line.endswith("; see tinygrad-llm classify train --help")


def test_a_page_of_help_loads_no_numpy() -> None:
    code = (
        "import sys; from tinygrad_llm.cli import build_parser; build_parser(['generate']).format_help(); "
        "sys.exit('numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
