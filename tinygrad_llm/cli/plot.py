"""Plot the loss curves of several runs in the terminal, or as an SVG file."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinygrad_llm.cli.flags import expect_file_can_be_made
from tinygrad_llm.errors import DataError
from tinygrad_llm.terminal import can_write, columns

HEIGHT = 16  # rows of characters
LOSSES = {"validation": "val_loss", "training": "train_loss"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_folders", nargs="*", type=Path, metavar="RUN", help="run folders (default: all in runs/, the newest eight)"
    )
    parser.add_argument(
        "--loss",
        choices=tuple(LOSSES),
        help="which loss to plot (default: validation, if each run has evaluated twice)",
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="write the chart as an SVG file")


def run(arguments: argparse.Namespace) -> int:
    from tinygrad_llm.formats.atomic import atomic_write
    from tinygrad_llm.runs.loss_chart import as_svg, as_text, curve_of
    from tinygrad_llm.runs.summary import runs_in, summary_of

    expect_file_can_be_made("--svg", arguments.svg)
    runs = [summary_of(folder) for folder in arguments.run_folders]
    runs = runs or [run for run in runs_in() if not run.problem and run.records][:8]
    if not runs:
        raise DataError("RUN must name at least one run folder; runs/ holds none with a log: `train` makes one")
    evaluated = all(len(run.losses("val_loss")) > 1 for run in runs)
    loss = arguments.loss or ("validation" if evaluated else "training")
    curves = [curve_of(run, LOSSES[loss]) for run in runs]
    if not any(curve.steps for curve in curves):
        raise DataError(f"a log must have a {loss} loss; {', '.join(str(run.path) for run in runs)} has none")
    title = f"{loss} loss (nats per target)"
    print(title)
    for line in as_text(curves, columns(), HEIGHT):
        print(line if can_write("│└─") else line.translate(str.maketrans("│└─", "|+-")))
    if arguments.svg is not None:
        with atomic_write(arguments.svg) as file:
            file.write(as_svg(curves, title).encode())
        print(f"the chart is in {arguments.svg}")
    return 0
