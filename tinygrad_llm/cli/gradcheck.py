"""Verify every gradient: primitives, ops, layers and models against measured slopes and definitions."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tinygrad_llm.cli.flags import expect_file_can_be_made
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.formats.atomic import atomic_write
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.study.formatting import format_count, text_width, wrap
from tinygrad_llm.verify import proof_report
from tinygrad_llm.verify.proof import Proof, prove


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", nargs="?", default="", help="verify only what has this in its name, such as layer_norm (default: all)"
    )
    parser.add_argument(
        "--html", type=Path, metavar="FILE", help="also write the table as a page with links to the source"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")


def run(arguments: argparse.Namespace) -> int:
    expect_file_can_be_made("--html", arguments.html)
    started = time.perf_counter()
    if not arguments.json:
        _print(proof_report.EXPLANATION)
        print(f"\n{proof_report.table_head()}")
    proofs = []
    status = StatusLine()

    def show(name: str) -> None:
        if status.on_terminal and not arguments.json:
            status.renew(lambda: f"verifying {name} ...", immediately=True)

    for proof in prove(arguments.name, show):
        proofs.append(proof)
        if not arguments.json:
            status.say(proof_report.table_row(proof))
            if proof.problem:
                _print(f"    {proof.problem}")
    if not proofs:
        raise ConfigError(f"nothing has {arguments.name!r} in its name; without a name, everything is verified")
    if arguments.html is not None:
        with atomic_write(arguments.html) as file:
            file.write(proof_report.as_html(proofs).encode())
    if arguments.json:
        print(json.dumps(proof_report.as_json(proofs), indent=1))
    else:
        _print_sums(proofs, time.perf_counter() - started)
    wrong = [proof.name for proof in proofs if not proof.ok]
    if wrong:
        print(f"tinygrad-llm gradcheck: {len(wrong)} of {len(proofs)} are wrong: {', '.join(wrong)}", file=sys.stderr)
    return 1 if wrong else 0


def _print_sums(proofs: Sequence[Proof], seconds: float) -> None:
    cases, slopes = sum(proof.cases for proof in proofs), sum(proof.slopes for proof in proofs)
    wrong = [proof.name for proof in proofs if not proof.ok]
    verdict = f"WRONG: {', '.join(wrong)}" if wrong else "all right"
    print()
    counts = f"{format_count(cases, 'case')}, {format_count(slopes, 'slope')}"
    _print(f"{len(proofs)} verified, {counts} in {seconds:.0f} s: {verdict}")


def _print(text: str) -> None:
    print("\n".join(wrap(text, text_width(), "")))
