"""Make a run folder of a GPT-2, a BERT, or a model of the Llama family, in a Hugging Face folder."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tinygrad_llm.formats import write_safetensors
from tinygrad_llm.interop import load_huggingface
from tinygrad_llm.models import model_type_of
from tinygrad_llm.train import RunFolder


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        required=True,
        type=Path,
        metavar="DIR",
        help="a folder with config.json, model.safetensors and a tokenizer (tokenizer.json, or BERT's vocab.txt)",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="RUN", help="the new run folder")
    parser.add_argument("--dropout", type=float, metavar="X", help="the model's dropout, where its three differ")


def run(arguments: argparse.Namespace) -> int:
    model, tokenizer = load_huggingface(arguments.source, arguments.dropout)
    if next(model.parameters()).dtype == np.float64:
        print("its weights have 64 bits; they are rounded to the 32 bits of a run")
        model.to(np.float32)
    with RunFolder.create(arguments.out) as folder:
        write_safetensors(arguments.out / "model.safetensors", model.state_dict())
        plan = {"model_type": model_type_of(model), "model": model.config.to_dict()}
        folder.begin({**plan, "imported_from": str(arguments.source)}, tokenizer)
    what = f"a {type(model).__name__} of {model.num_parameters():,} parameters"
    print(f"{what} with {tokenizer.vocab_size:,} tokens, in {arguments.out}")
    return 0
