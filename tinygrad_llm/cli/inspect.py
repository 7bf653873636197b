"""Write a page of a model's numbers on a text: attention, gradients, predictions, costs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tinygrad_llm.cli.flags import expect_file_can_be_made
from tinygrad_llm.cli.run_argument import add_model_argument, chosen_run, open_chosen_run
from tinygrad_llm.formats.atomic import atomic_write
from tinygrad_llm.lab.inspection import inspected_page
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.checkpoints import checkpoint_at
from tinygrad_llm.study.formatting import format_bytes


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser, "a language model")
    parser.add_argument(
        "--prompt",
        required=True,
        metavar="TEXT",
        help="text that the model reads, of two tokens or more (at most 128 are shown)",
    )
    parser.add_argument(
        "--step", type=int, metavar="N", help="the checkpoint after this step of the run (default: the newest)"
    )
    parser.add_argument("--out", type=Path, default=Path("lens.html"), metavar="FILE", help="page to write, in HTML")


def run(arguments: argparse.Namespace) -> int:
    expect_file_can_be_made("--out", arguments.out)
    if arguments.step is not None:
        arguments.model = checkpoint_at(chosen_run(arguments.model, "inspect"), arguments.step)
    model, tokenizer = open_chosen_run(arguments, "inspect")
    with StatusLine(sys.stderr).working("computing attention, gradients and costs"):
        page, look, left_out = inspected_page(model, tokenizer, arguments.prompt, str(arguments.model))
    with atomic_write(arguments.out) as file:
        file.write(page)
    print(f"{len(look['tokens'])} tokens, mean loss {look['loss']:.5g} nats")
    for part in left_out:
        print(f"left out: {part}")
    print(f"{format_bytes(len(page))} in {arguments.out}: open it in a browser")
    return 0
