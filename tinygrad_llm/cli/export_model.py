"""Write a run's model as a Hugging Face folder, which transformers opens."""

from __future__ import annotations

import argparse
from pathlib import Path

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.interop import can_compare, logit_difference, save_huggingface
from tinygrad_llm.models import Bert, LanguageModel
from tinygrad_llm.train import load


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, type=Path, metavar="RUN", help="the run folder of a trained model")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder")


def run(arguments: argparse.Namespace) -> int:
    model, tokenizer = load(arguments.model)
    if not isinstance(model, LanguageModel | Bert):
        raise ConfigError(
            f"export: only a GPT, a Llama or a BERT has a Hugging Face form here; this run is a {type(model).__name__}"
        )
    missing = save_huggingface(arguments.out, model, tokenizer)
    print(f"a {type(model).__name__} of {model.num_parameters():,} parameters, in {arguments.out}")
    if missing:
        print(missing)
    if can_compare():
        difference = logit_difference(model, arguments.out)
        print(f"parity: {difference:.1e} is the largest difference to transformers' logits, relative to the largest")
    else:
        print("parity: not checked, because PyTorch and transformers are not installed here")
    return 0
