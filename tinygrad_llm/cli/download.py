"""Fetch GPT-2's own weights from Hugging Face, in one of four sizes."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinygrad_llm.interop import GPT2_SIZES, download_gpt2
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.hints import command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("size", choices=GPT2_SIZES, help="which GPT-2")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="where to put its four files")


def run(arguments: argparse.Namespace) -> int:
    status = StatusLine()

    def progress(file: str, done: int, total: int) -> None:
        status.renew(lambda: f"  {file}: {done / 1e6:,.1f} of {total / 1e6:,.1f} MB")

    folder = download_gpt2(arguments.size, arguments.out, progress)
    status.say(f"{arguments.size} is in {folder}, every file checked by its sha256")
    status.hint("make a run of it", command("import", "--from", folder, "--out", f"runs/{arguments.size}"))
    return 0
