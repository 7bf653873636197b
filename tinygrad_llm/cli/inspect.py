"""Write a page of a model's numbers on a text: attention, gradients, predictions, costs."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinygrad_llm.cli.flags import expect_file_can_be_made
from tinygrad_llm.cli.open_model import open_model
from tinygrad_llm.formats.atomic import atomic_write
from tinygrad_llm.study.lens import as_page, look


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help="run folder of the model")
    parser.add_argument(
        "--prompt",
        required=True,
        metavar="TEXT",
        help="text that the model reads, of two tokens or more (at most 128 are shown)",
    )
    parser.add_argument("--out", type=Path, default=Path("lens.html"), metavar="FILE", help="page to write, in HTML")


def run(arguments: argparse.Namespace) -> int:
    expect_file_can_be_made("--out", arguments.out)
    model, tokenizer = open_model(arguments.model, "inspect")
    gathered = look(model, tokenizer, arguments.prompt)
    page = as_page(gathered)
    with atomic_write(arguments.out) as file:
        file.write(page.encode("utf-8"))
    count, loss = len(gathered["tokens"]), gathered["loss"]
    print(f"{count} tokens, mean loss {loss} nats")
    print(f"{len(page) / 1e6:.1f} MB in {arguments.out}: open it in a browser")
    return 0
