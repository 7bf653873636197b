"""List the run folders in a folder, newest first: model, size, steps, validation loss, and when it was saved."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from tinygrad_llm.cli.sizes import short_count
from tinygrad_llm.errors import DataError
from tinygrad_llm.runs.hints import command
from tinygrad_llm.runs.summary import RUNS, RunSummary, runs_in
from tinygrad_llm.terminal import for_terminal

HEADER = ("run", "model", "size", "steps", "val loss", "saved")
TO_THE_LEFT = ("run", "model")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, default=RUNS, metavar="FOLDER", help="folder of run folders")
    parser.add_argument("--json", action="store_true", help="print one JSON object for each run")


def run(arguments: argparse.Namespace) -> int:
    folder = arguments.folder
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; make a run with `{command('train', '--out', folder / 'gpt')}`")
    runs = runs_in(folder)
    if arguments.json:
        for found in runs:
            print(json.dumps(facts_of(found)))
        return 0
    if not runs:
        print(for_terminal(f"{folder} holds no runs; make one: {command('train', '--out', folder / 'gpt')}"))
        return 0
    rows = [HEADER, *map(row_of, runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    for row in rows:
        cells = (
            f"{cell:{'<' if name in TO_THE_LEFT else '>'}{width}}"
            for name, cell, width in zip(HEADER, row, widths, strict=True)
        )
        print(for_terminal("  ".join(cells)))
    for found in runs:
        if found.problem:
            print(for_terminal(f"{found.path} cannot be read: {found.problem}"))
    return 0


def row_of(found: RunSummary) -> tuple[str, ...]:
    """A run as a row of the table. Units: size in parameters, validation loss in nats per target"""
    loss = found.validation_loss
    return (
        str(found.path),
        found.model_type or "damaged",
        short_count(found.parameters) if found.shapes else "-",
        f"{found.step}/{found.steps}" if found.steps else "-",
        "-" if loss is None else f"{loss:.3f}",
        time.strftime("%d %b %H:%M", time.localtime(found.saved_at)),
    )


def facts_of(found: RunSummary) -> dict[str, Any]:
    """A run as `--json` prints it. Units: saved_at in seconds since 1970"""
    return {
        "run": str(found.path),
        "made_by": found.made_by,
        "model_type": found.model_type,
        "parameters": found.parameters,
        "step": found.step,
        "steps": found.steps,
        "validation_loss": found.validation_loss,
        "saved_at": found.saved_at,
        "problem": found.problem,
    }
