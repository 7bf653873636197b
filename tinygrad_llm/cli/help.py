"""Show the page of a command: `help classify train` is `classify train --help`."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="COMMAND", help="the command, with its action if it has several")


def run(arguments: argparse.Namespace) -> int:
    from tinygrad_llm.cli import build_parser

    words = list(arguments.words)
    overview = build_parser(words[:1])
    page = overview.page_of(words)
    if page.prog.split() != [*overview.prog.split(), *words]:
        overview.parse_args(words)  # refuses the first word that is no command
    page.print_help()
    return 0
