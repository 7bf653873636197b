"""Let a trained model continue a prompt."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from tinygrad_llm.cli.open_model import open_language_model
from tinygrad_llm.generate import stream_text
from tinygrad_llm.random import Generator


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help="the run folder of a trained model")
    parser.add_argument("--prompt", default="", help="the text to continue; empty starts a new text")
    parser.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="how many tokens to write at most")
    parser.add_argument("--temperature", type=float, default=0.8, metavar="X", help="0 takes the likeliest token")
    parser.add_argument("--top-k", type=int, metavar="N", help="draw from the N likeliest tokens only")
    parser.add_argument("--top-p", type=float, metavar="X", help="draw from the likeliest that reach probability X")
    parser.add_argument("--min-p", type=float, metavar="X", help="leave out tokens below X times the best probability")
    parser.add_argument("--repetition-penalty", type=float, metavar="X", help="above 1 avoids what was said already")
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="stop before this text; repeatable")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed writes the same text")


def run(arguments: argparse.Namespace) -> int:
    model, tokenizer = open_language_model(arguments.model)
    end = tokenizer.end_of_text
    prompt = tokenizer.encode(arguments.prompt, allowed_special="all")
    if not prompt:
        prompt = [end] if end is not None else tokenizer.encode_ordinary("\n")
    pieces = stream_text(
        model,
        tokenizer,
        np.array(prompt),
        arguments.max_new_tokens,
        stop=arguments.stop,
        temperature=arguments.temperature,
        top_k=arguments.top_k,
        top_p=arguments.top_p,
        min_p=arguments.min_p,
        repetition_penalty=arguments.repetition_penalty,
        eos_id=end,
        generator=Generator(arguments.seed),
    )
    sys.stdout.write(arguments.prompt)
    for piece in pieces:
        sys.stdout.write(piece)
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0
