"""Make a run folder from a model in a Hugging Face folder or a GGUF file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from tinygrad_llm.architectures import architecture_of
from tinygrad_llm.formats import write_safetensors
from tinygrad_llm.runs import RunFolder, StatusLine
from tinygrad_llm.runs.open_model import conventions_of, load_foreign


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        type=Path,
        metavar="PATH",
        help="a folder with config.json, model.safetensors and a tokenizer (tokenizer.json, or BERT's vocab.txt), or a "
        "GGUF file",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="the new run folder")
    parser.add_argument(
        "--dropout", type=float, metavar="X", help="dropout of the model, where config.json has several rates"
    )


def run(arguments: argparse.Namespace) -> int:
    with StatusLine(sys.stderr).working(f"reading {arguments.source}"):
        model, tokenizer = load_foreign(arguments.source, arguments.dropout)
        conventions = conventions_of(arguments.source, tokenizer)
    if next(model.parameters()).dtype == np.float64:
        print("float64 weights are rounded to float32")
        model.to(np.float32)
    with RunFolder.create(arguments.out) as folder:
        write_safetensors(arguments.out / "model.safetensors", model.state_dict())
        architecture = architecture_of(model)
        plan = {"model_type": architecture.name, "model": architecture.settings_of(model)}
        folder.begin({**plan, "imported_from": str(arguments.source)}, tokenizer, conventions)
    what = f"{architecture.words} of {model.num_parameters():,} parameters"
    print(f"{what} with {tokenizer.vocab_size:,} tokens, in {arguments.out}")
    return 0
