"""Go the whole road from a text to an assistant in given minutes, and write its report card."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tinygrad_llm.cli.flags import add_flags
from tinygrad_llm.formats import RunLock
from tinygrad_llm.runs import StatusLine, duration
from tinygrad_llm.runs.hints import command
from tinygrad_llm.speedrun import choosing
from tinygrad_llm.speedrun.journal import SpeedrunSettings, open_or_begin
from tinygrad_llm.speedrun.machine import machine
from tinygrad_llm.speedrun.planning import plan_of
from tinygrad_llm.speedrun.report import carried_out, write_report
from tinygrad_llm.speedrun.road import Road

OUT = "runs/speedrun"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.argument_default = argparse.SUPPRESS
    parser.epilog = (
        "Each stage is an ordinary run in a folder of its own inside --out: base, instruct, reinforce. After an "
        "interruption the same command continues; stages that are finished are not repeated."
    )
    add_flags(parser, SpeedrunSettings())
    parser.add_argument("--out", metavar="DIR", help=f"folder of the runs and of the report card (default: {OUT})")
    parser.add_argument("--resume", action="store_true", help="continue the speedrun in --out, with its own settings")
    parser.add_argument(
        "--plan",
        action="store_true",
        help="measure this machine's speed, print what would be done, and stop",
    )


def run(arguments: argparse.Namespace) -> int:
    given, status = vars(arguments), StatusLine()
    out = Path(given.get("out", OUT))
    journal = open_or_begin(out, given, given.get("resume", False))
    if given.get("plan", False):
        for line in plan_of(journal, status):
            status.say(line)
        return 0
    again = command("speedrun", "--resume", "--out", out)
    if not journal.machine:  # a new one
        journal.machine = machine()
        journal.stage("size")["unique_tokens"] = choosing.unique_tokens(journal.settings.data)
    out.mkdir(parents=True, exist_ok=True)
    with RunLock(out):
        try:
            code = Road(journal, run_command, status).walk()
        except KeyboardInterrupt:
            status.hint("\ncontinue the speedrun", again)
            raise
        if code:
            status.hint("\ncontinue the speedrun", again)
            return code
        paths = write_report(journal)
    status.say(f"\n{duration(journal.seconds())} of {duration(journal.settings.seconds)}; the report card:")
    for path in paths:
        status.say(f"  {path}")
    last = out / carried_out(journal)[-1]
    status.hint("chat with it", command("chat", "--model", last))
    status.hint("or in the browser", command("serve", "--model", last))
    return 0


def run_command(words: Sequence[str]) -> int:
    """Carry out a command line of this program in this process. Returns its exit code. Raises: as the command"""
    from tinygrad_llm.cli import build_parser, command_module

    arguments = build_parser(words[:1]).parse_args([str(word) for word in words])
    code: int = command_module(arguments.command).run(arguments)
    return code
