"""Write a run's model as a Hugging Face folder, which transformers opens."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import ARCHITECTURES, architecture_of
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.interop import can_compare, logit_difference, save_huggingface
from tinygrad_llm.interop.conventions import read_conventions, write_huggingface_conventions
from tinygrad_llm.runs import StatusLine, load
from tinygrad_llm.runs.open_model import conventions_of, is_foreign


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, type=Path, metavar="RUN", help="the run folder of a trained model")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="the new Hugging Face folder")


def run(arguments: argparse.Namespace) -> int:
    model: Any
    status = StatusLine(sys.stderr)
    with status.working(f"loading {arguments.model}"):
        model, tokenizer = load(arguments.model)
    held = architecture_of(model)
    if held.huggingface is None:
        known = " or ".join(one.words for one in ARCHITECTURES.values() if one.huggingface is not None)
        raise ConfigError(f"--model must be {known}, which Hugging Face's folders can hold; this run is {held.words}")
    with status.working(f"writing {arguments.out}"):
        missing = save_huggingface(arguments.out, model, tokenizer)
        foreign = is_foreign(arguments.model)
        if conventions := conventions_of(arguments.model, tokenizer) if foreign else read_conventions(arguments.model):
            write_huggingface_conventions(arguments.out, conventions)
    print(f"{held.words} of {model.num_parameters():,} parameters, in {arguments.out}")
    if missing:
        print(missing)
    if can_compare():
        with status.working("comparing the logits with transformers'"):
            difference = logit_difference(model, arguments.out)
        print(f"parity: {difference:.1e} is the largest difference to transformers' logits, relative to the largest")
    else:
        print("parity: not checked, because PyTorch and transformers are not installed here")
    return 0
