"""Make a classic mistake in the real code for a moment, and see which check finds it and how training looks."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator
from tinygrad_llm.verify.checks import CHECKS, question, run_check
from tinygrad_llm.verify.fault_curves import STEPS, drawn, train_with
from tinygrad_llm.verify.faults import FAULTS, Fault

INTRODUCTION = """\
A program that trains a model seldom crashes when it is wrong: it learns, only less well, and nobody knows why.
Here are {count} mistakes that people make. Each can be switched on in this program for a moment, to see what gives it
away: small checks that ask one question each, and the curve of a short training with it beside one without.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", help="the mistake to make; without it, the list of them")
    parser.add_argument("--list", action="store_true", help="list the mistakes and the checks")
    parser.add_argument("--all", action="store_true", help="make every mistake, and show which checks find it")
    parser.add_argument("--blind", action="store_true", help="make one without saying which, and let you hunt it")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help="how long to train with and without")
    parser.add_argument("--seed", type=int, metavar="N", help="with --blind: the same number hides the same mistake")


def run(arguments: argparse.Namespace) -> int:
    chosen = [flag for flag in ("list", "all", "blind") if getattr(arguments, flag)]
    if len(chosen) + (arguments.name is not None) > 1:
        raise ConfigError("give one of a name, --list, --all and --blind")
    if not 2 <= arguments.steps <= 100_000:
        raise ConfigError(f"--steps must be in 2..100000; got {arguments.steps}")
    if arguments.seed is not None and arguments.seed < 0:
        raise ConfigError(f"--seed must be at least 0; got {arguments.seed}")
    if arguments.seed is not None and not arguments.blind:
        raise ConfigError("--seed says which mistake --blind hides; give both, or neither")
    if arguments.name is not None and arguments.name not in FAULTS:
        raise ConfigError(f"the mistakes are {', '.join(FAULTS)}; got {arguments.name!r}")
    if arguments.all:
        return _show_all()
    if arguments.blind:
        return _hunt(arguments.seed, arguments.steps)
    if arguments.name is not None:
        return _show(FAULTS[arguments.name], arguments.steps)
    _list()
    return 0


def _list() -> None:
    print(INTRODUCTION.format(count=len(FAULTS)))
    for fault in FAULTS.values():
        print(f"{fault.name:28} {fault.story}")
    print("\nThe checks:")
    for name in CHECKS:
        print(f"{name:28} {question(name)}")
    print("\nOne of them in full: tinygrad-llm faults mask-forgotten    A riddle: tinygrad-llm faults --blind")


def _show(fault: Fault, steps: int) -> int:
    print(f"{fault.name}: {fault.story}\n\n  wrong  {fault.wrong}\n  right  {fault.right}\n")
    found = _print_checks(fault)
    _print_curves(fault, steps)
    return 0 if fault.caught_by in found else 1


def _print_checks(fault: Fault) -> list[str]:
    """Every check with and without the mistake; returns the names of those that find it."""
    found = []
    for name in CHECKS:
        sound = run_check(name)
        with fault.on():
            finding = run_check(name)
        if not finding.well:
            found.append(name)
            print(f"  FOUND by {name}: {question(name)}")
            print(f"    without  {sound.what}\n    with     {finding.what}")
    silent = [name for name in CHECKS if name not in found]
    print(f"  says nothing: {', '.join(silent)}\n")
    return found


def _print_curves(fault: Fault, steps: int) -> None:
    sound, faulty = train_with(None, steps), train_with(fault, steps)
    print(f"The loss of {steps} steps of training, nats per character: . without the mistake, x with it, # both\n")
    print(drawn(sound, faulty))
    for label, curve in (("without", sound), ("with", faulty)):
        print(f"  {label:8} last {curve.losses[-1]:.3f}, on unseen text {curve.validation:.3f} {curve.ended}".rstrip())


def _show_all() -> int:
    missed = []
    print(f"{'mistake':28} found by")
    for fault in FAULTS.values():
        with fault.on():
            found = [name for name in CHECKS if not run_check(name).well]
        others = [name for name in found if name != fault.caught_by]
        if fault.caught_by in found:
            also = f", also {', '.join(others)}" if others else ""
            print(f"{fault.name:28} {fault.caught_by}{also}", flush=True)
        else:
            missed.append(fault.name)
            print(f"{fault.name:28} MISSED by {fault.caught_by}", flush=True)
    print(f"\n{len(FAULTS) - len(missed)} of {len(FAULTS)} are found by the check that is meant for them")
    return 1 if missed else 0


# -- the hunt


def _hunt(seed: int | None, steps: int) -> int:
    seed = secrets.randbelow(10_000) if seed is None else seed
    names = list(FAULTS)
    fault = FAULTS[names[int(Generator(seed).randint(0, len(names)))]]
    print(f"This program now has a mistake, number {seed}. So does its training look:\n")
    _print_curves(fault, steps)
    print("\nType the name of a check to run it, or of a mistake to guess it; `checks` and `mistakes` list them.")
    print("`hint` helps, `reveal` tells, `quit` leaves it hidden.")
    hints = iter(fault.hints)
    asked = 0
    commands: dict[str, Callable[[], str]] = {
        "checks": lambda: "\n".join(f"{name:12} {question(name)}" for name in CHECKS),
        "mistakes": lambda: "\n".join(FAULTS),
        "hint": lambda: next(hints, "That was the last hint; the checks know more."),
    }
    while True:
        try:
            said = input("? ").strip().lower()
        except EOFError:
            said = "quit"
            print()
        if said == "quit":
            as_long = f" --steps {steps}" * (steps != STEPS)
            print(f"It stays hidden; `tinygrad-llm faults --blind --seed {seed}{as_long}` brings it back.")
            return 0
        if said == "reveal" or said == fault.name:
            after = f"{asked} question" + ("" if asked == 1 else "s")
            print(f"{'Found' if said == fault.name else 'It was'}: {fault.name}, after {after}.\n")
            print(f"{fault.story}\n  wrong  {fault.wrong}\n  right  {fault.right}")
            print(f"The check `{fault.caught_by}` is meant for it: {question(fault.caught_by)}")
            return 0
        asked += 1
        if said in CHECKS:
            with fault.on():
                finding = run_check(said)
            print(f"{'ok' if finding.well else 'WRONG'}: {finding.what}")
        elif said in FAULTS:
            print("No, that is not it.")
        elif said in commands:
            print(commands[said]())
        else:
            asked -= 1
            print("That is no check, no mistake and no command; `checks` and `mistakes` list them.")
