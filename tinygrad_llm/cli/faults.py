"""Switch a classic mistake on in the real code; see which check finds it and how training looks with it."""

from __future__ import annotations

import argparse
import secrets
from collections.abc import Callable, Iterable

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator
from tinygrad_llm.runs.hints import command
from tinygrad_llm.study.formatting import format_count, terminal_width, text_width, wrap
from tinygrad_llm.train import StatusLine
from tinygrad_llm.verify.checks import CHECKS, claim, run_check
from tinygrad_llm.verify.fault_curves import STEPS, plot, train_with
from tinygrad_llm.verify.faults import FAULTS, Fault

INTRODUCTION = (
    "A program that trains a model seldom crashes when it is wrong: it learns, but less well, and nobody notices. "
    "Here are {count} common mistakes. Each can be switched on in this program for a moment. The checks below, each "
    "with one claim, and the loss curves of short trainings with the mistake and without show its effects."
)
NAME_WIDTH = max(map(len, (*FAULTS, *CHECKS)))
MAX_STEPS = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name",
        nargs="?",
        metavar="MISTAKE",
        help="the mistake to switch on; without it, mistakes and checks are listed",
    )
    parser.add_argument("--list", action="store_true", help="list the mistakes and the checks")
    parser.add_argument(
        "--all", action="store_true", help="switch on each mistake in turn; print the checks that find it"
    )
    parser.add_argument(
        "--blind", action="store_true", help="switch on a random mistake, which you find by checks and hints"
    )
    parser.add_argument(
        "--steps", type=int, default=STEPS, metavar="N", help="optimizer steps of each of the two trainings"
    )
    parser.add_argument(
        "--seed", type=int, metavar="N", help="with --blind: choose the mistake by this number (default: a random one)"
    )


def run(arguments: argparse.Namespace) -> int:
    _expect_arguments_that_agree(arguments)
    if arguments.all:
        return _check_all()
    if arguments.blind:
        seed = secrets.randbelow(10_000) if arguments.seed is None else arguments.seed
        return _Hunt(seed, arguments.steps).run()
    if arguments.name is not None:
        return _show(FAULTS[arguments.name], arguments.steps)
    _list()
    return 0


def _expect_arguments_that_agree(arguments: argparse.Namespace) -> None:
    modes = [flag for flag in ("list", "all", "blind") if getattr(arguments, flag)]
    if len(modes) + (arguments.name is not None) > 1:
        raise ConfigError("give one of a mistake's name, --list, --all and --blind")
    if not 2 <= arguments.steps <= MAX_STEPS:
        raise ConfigError(f"--steps must be in 2..{MAX_STEPS}; got {arguments.steps}")
    if arguments.seed is not None and arguments.seed < 0:
        raise ConfigError(f"--seed must be at least 0; got {arguments.seed}")
    if arguments.seed is not None and not arguments.blind:
        raise ConfigError("--seed chooses the mistake of --blind; give both, or neither")
    if arguments.name is not None and arguments.name not in FAULTS:
        raise ConfigError(f"the mistakes are {', '.join(FAULTS)}; got {arguments.name!r}")


# -- listing and checking


def _list() -> None:
    _print(INTRODUCTION.format(count=len(FAULTS)))
    print("\nThe mistakes:")
    for fault in FAULTS.values():
        _print_row(fault.name, fault.story)
    print("\nThe checks and their claims:")
    for name in CHECKS:
        _print_row(name, claim(name))
    print(f"\nOne mistake in full:  {command('faults', 'mask-forgotten')}")
    print(f"A hidden one:         {command('faults', '--blind')}")


def _show(fault: Fault, steps: int) -> int:
    _print(f"{fault.name}: {fault.story}")
    print(f"\n  wrong  {fault.wrong}\n  right  {fault.right}\n")
    found = _print_checks(fault)
    _print_curves(fault, steps)
    return 0 if fault.caught_by in found else 1


def _print_checks(fault: Fault) -> list[str]:
    """Run every check with and without the mistake; returns the names of those that find it."""
    found = []
    for name in CHECKS:
        sound = run_check(name)
        with fault.on():
            faulty = run_check(name)
        if not faulty.ok:
            found.append(name)
            _print(f"  FOUND by {name}: {claim(name)}")
            _print(f"    without  {sound.observed}", "         ")
            _print(f"    with     {faulty.observed}", "         ")
    unaffected = [name for name in CHECKS if name not in found]
    _print(f"  not found by: {', '.join(unaffected)}")
    print()
    return found


def _print_curves(fault: Fault, steps: int) -> None:
    status = StatusLine()
    curves = {}
    for label, context in (("without", None), ("with", fault)):

        def show(done: int, label: str = label) -> None:
            if status.on_terminal:
                status.renew(lambda: f"training {label} the mistake: step {done}/{steps}")

        curves[label] = train_with(context, steps, show)
    status.say(f"Loss of {steps} training steps, in nats per character:")
    print("  . without the mistake   x with it   # both\n")
    print(plot(curves["without"], curves["with"], width=min(60, terminal_width() - 9)))
    for label, curve in curves.items():
        _print(
            f"  {label:8} last step {curve.losses[-1]:.3f}, validation {curve.validation:.3f} {curve.ended}".rstrip()
        )


def _check_all() -> int:
    missed = []
    _print_row("mistake", "found by")
    for fault in FAULTS.values():
        with fault.on():
            found = [name for name in CHECKS if not run_check(name).ok]
        others = [name for name in found if name != fault.caught_by]
        if fault.caught_by in found:
            _print_row(fault.name, fault.caught_by + (f", also {', '.join(others)}" if others else ""))
        else:
            missed.append(fault.name)
            _print_row(fault.name, f"MISSED by {fault.caught_by}")
    print(f"\n{len(FAULTS) - len(missed)} of {len(FAULTS)} are found by the check that is meant for them")
    return 1 if missed else 0


# -- the hunt for a hidden mistake


class _Hunt:
    """A mistake chosen by `seed`, and a prompt at which checks are run and mistakes guessed."""

    def __init__(self, seed: int, steps: int) -> None:
        names = list(FAULTS)
        self.fault = FAULTS[names[int(Generator(seed).randint(0, len(names)))]]
        self.seed, self.steps = seed, steps
        self.hints = iter(self.fault.hints)
        self.questions = 0

    def run(self) -> int:
        print(f"This program now has a mistake, number {self.seed}. Its training:\n")
        _print_curves(self.fault, self.steps)
        print()
        _print(
            "Type the name of a check to run it, or of a mistake to guess it; `checks` and `mistakes` list them. "
            "`hint` gives a hint, `reveal` names the mistake, `quit` leaves it hidden."
        )
        while True:
            word = _next_word()
            if word == "quit":
                self._leave()
                return 0
            if word in ("reveal", self.fault.name):
                self._reveal(guessed=word == self.fault.name)
                return 0
            self._answer(word)

    def _answer(self, word: str) -> None:
        lists: dict[str, Callable[[], Iterable[str]]] = {"checks": CHECKS.keys, "mistakes": FAULTS.keys}
        self.questions += 1
        if word in CHECKS:
            with self.fault.on():
                finding = run_check(word)
            _print(f"{'ok' if finding.ok else 'WRONG'}: {finding.observed}")
        elif word in FAULTS:
            print("No, it is another mistake.")
        elif word == "hint":
            _print(next(self.hints, "That was the last hint; run the checks."))
        elif word in lists:
            for name in lists[word]():
                _print_row(name, claim(name)) if word == "checks" else print(name)
        else:
            self.questions -= 1
            _print("That is no check, no mistake and no command; `checks` and `mistakes` list them.")

    def _reveal(self, guessed: bool) -> None:
        questions = format_count(self.questions, "question")
        print(f"{'Found' if guessed else 'It was'}: {self.fault.name}, after {questions}.\n")
        _print(self.fault.story)
        print(f"  wrong  {self.fault.wrong}\n  right  {self.fault.right}")
        _print(f"The check `{self.fault.caught_by}` is meant for it: {claim(self.fault.caught_by)}")

    def _leave(self) -> None:
        steps = f" --steps {self.steps}" if self.steps != STEPS else ""
        print("The mistake stays hidden. To continue with the same one:")
        print(f"  {command('faults', '--blind', '--seed', self.seed)}{steps}")


def _next_word() -> str:
    try:
        return input("? ").strip().lower()
    except EOFError:
        print()
        return "quit"


# -- printing within the terminal's width


def _print(text: str, indent: str = "") -> None:
    print("\n".join(wrap(text, text_width(), indent)), flush=True)


def _print_row(name: str, text: str) -> None:
    """A row of two columns; the second is wrapped."""
    width = text_width() - NAME_WIDTH - 2
    for i, line in enumerate(wrap(text, width, "")):
        print(f"{'' if i else name:{NAME_WIDTH}}  {line}", flush=True)
