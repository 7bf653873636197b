"""Each fault is found by the check that is meant for it, which correct code passes, and is undone after its block."""

import math

import pytest

from tinygrad_llm.cli import main
from tinygrad_llm.verify.checks import CHECKS, run_check
from tinygrad_llm.verify.fault_curves import Curve, plot, train_with
from tinygrad_llm.verify.faults import FAULTS


@pytest.mark.parametrize("name", CHECKS)
def test_sound_code_passes_every_check(name: str) -> None:
    finding = run_check(name)
    assert finding.well, finding.what


@pytest.mark.parametrize("name", FAULTS)
def test_its_check_fails_with_it_and_passes_without(name: str) -> None:
    fault = FAULTS[name]
    with fault.on():
        assert not run_check(fault.caught_by).well
    assert run_check(fault.caught_by).well


@pytest.mark.parametrize("name", FAULTS)
def test_everything_is_restored_also_after_an_error(name: str) -> None:
    fault = FAULTS[name]
    before = [(owner, attribute, vars(owner)[attribute]) for owner, attribute, _ in fault.patches]
    assert bool(before) != bool(fault.ops)  # an op is intercepted, only what is no op is patched
    with pytest.raises(ZeroDivisionError), fault.on():
        assert all(vars(owner)[attribute] is not value for owner, attribute, value in before)
        raise ZeroDivisionError
    assert all(vars(owner)[attribute] is value for owner, attribute, value in before)


def test_the_catalogue() -> None:
    assert len(FAULTS) >= 15
    assert {fault.caught_by for fault in FAULTS.values()} <= set(CHECKS)
    assert all(len(fault.hints) == 3 for fault in FAULTS.values())


@pytest.mark.parametrize("name", [None, "gradients-not-zeroed", "clipped-per-tensor", "tying-by-copy"])
def test_a_short_training(name: str | None) -> None:
    curve = train_with(None if name is None else FAULTS[name], steps=3)
    assert len(curve.losses) == 3 and math.isfinite(curve.validation)
    if name is not None:
        assert curve.losses != train_with(None, steps=3).losses


def test_the_same_seed_trains_the_same() -> None:
    assert train_with(None, steps=3) == train_with(None, steps=3)


def test_the_picture() -> None:
    picture = plot(Curve([4.0, 3.0, 2.0]), Curve([4.0, 4.0]), width=3, height=3)
    assert picture.splitlines()[:4] == ["  4.00 |#x", "  3.00 | .", "  2.00 |  .", "       +---"]


def test_the_command_shows_one(capsys) -> None:
    assert main(["faults", "cache-offset", "--steps", "2"]) == 0
    out = capsys.readouterr().out
    assert "FOUND by cache" in out and "FOUND by causality" not in out
    assert "wrong  positions = arange(cache.length - 1, ...)" in out


def test_the_first_screen_lists_and_explains(capsys) -> None:
    assert main(["faults"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*FAULTS, *CHECKS])
    assert main(["faults", "--list"]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("ending", ["reveal", "quit", "", None])
def test_the_hunt(ending: str | None, capsys, monkeypatch) -> None:
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


def test_guessing_it_ends_the_hunt(capsys, monkeypatch) -> None:
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
def test_misuse_is_one_line(arguments: list[str], capsys) -> None:
    assert main(["faults", *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_is_printed_fits_the_terminal(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in ([], ["loss-summed", "--steps", "2"], ["positions-forgotten", "--steps", "2"]):
        assert main(["faults", *arguments]) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


@pytest.mark.slow
def test_every_fault_is_found(capsys) -> None:
    assert main(["faults", "--all"]) == 0
    assert f"{len(FAULTS)} of {len(FAULTS)} are found" in capsys.readouterr().out
