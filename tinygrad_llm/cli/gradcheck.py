"""Prove every gradient: ops, layers and whole models against measured slopes, fused ops against their definitions."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
import time
from pathlib import Path

from tinygrad_llm.cli.flags import expect_file_can_be_made
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.formats.atomic import atomic_write
from tinygrad_llm.verify import proof


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="", help="only what has this in its name, such as layer_norm")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write the table as a page")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")


def run(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    proofs = []
    expect_file_can_be_made("--html", arguments.html)
    if not arguments.json:
        print(f"{textwrap.fill(proof.EXPLANATION, 100)}\n")
        print(_line(proof.HEAD))
    for one in proof.prove(arguments.name):
        proofs.append(one)
        if not arguments.json:
            print(_line(proof.row(one)), flush=True)
            if one.problem:
                print(f"    {one.problem}")
    if not proofs:
        raise ConfigError(f"nothing has {arguments.name!r} in its name; without a name, all are tried")
    if arguments.html is not None:
        with atomic_write(arguments.html) as file:
            file.write(proof.as_html(proofs).encode())
    wrong = [one.name for one in proofs if not one.ok]
    if arguments.json:
        print(json.dumps(proof.as_json(proofs), indent=1))
    else:
        seconds = time.perf_counter() - started
        cases, slopes = sum(one.cases for one in proofs), sum(one.slopes for one in proofs)
        print(f"\n{len(proofs)} proofs, {cases} cases, {slopes} slopes in {seconds:.0f} s: ", end="")
        print(f"WRONG: {', '.join(wrong)}" if wrong else "all hold")
    if wrong:
        print(f"tinygrad-llm gradcheck: {len(wrong)} of {len(proofs)} are wrong: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _line(cells: tuple[str, ...]) -> str:
    widths = (10, 29, 6, 7, 7, 12, 22, 6)
    left = {0, 1, 7}
    texts = zip(cells, widths, strict=True)
    return " ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(texts)).rstrip()
