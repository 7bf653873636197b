"""The command faults: the list, one fault, the hunt, wrong arguments."""

import pytest

from tinygrad_llm.cli import main
from tinygrad_llm.verify.checks import CHECKS
from tinygrad_llm.verify.faults import FAULTS


def test_the_command_shows_a_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "cache-offset", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "FOUND by cache" in out and "FOUND by causality" not in out
    assert "wrong  positions = arange(cache.length - 1, ...)" in out


def test_without_a_name_faults_and_checks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*FAULTS, *CHECKS])
    assert main(["faults", "--list"]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("ending", ["reveal", "quit", "", None])
def test_the_hunt_for_a_hidden_fault(
    ending: str | None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = iter(["cache", "hint", "hint", "hint", "hint", "checks", "mistakes", "nonsense", ending])

    def answer(_prompt: str) -> str:
        word = next(said, None)
        if word is None:
            raise EOFError
        return word

    monkeypatch.setattr("builtins.input", answer)
    assert main(["faults", "--blind", "--seed", "4", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "That was the last hint" in out
    assert "That is no check" in out
    assert ("The check `" in out) == (ending == "reveal")
    assert ("  tinygrad-llm faults --blind --seed 4 --steps 2\n" in out) != (ending == "reveal")


def test_the_right_guess_ends_the_hunt(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    guesses = iter(FAULTS)
    monkeypatch.setattr("builtins.input", lambda _prompt: next(guesses))
    assert main(["faults", "--blind", "--seed", "1", "--steps", "2"]) == 0
    assert "Found: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--list", "--all"],
        ["cache-offset", "--blind"],
        ["--seed", "3"],
        ["cache-offset", "--steps", "0"],
        ["cache-offset", "--steps", "9999999"],
        ["--blind", "--seed", "-1"],
    ],
)
def test_misuse_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.slow
def test_what_is_printed_fits_the_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in ([], ["loss-summed", "--steps", "2"], ["positions-forgotten", "--steps", "2"]):
        assert main(["faults", *arguments]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.slow
def test_every_fault_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["faults", "--all"]) == 0
    assert f"{len(FAULTS)} of {len(FAULTS)} are found" in capsys.readouterr().out
