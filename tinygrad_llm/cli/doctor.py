"""Look for what keeps a model from learning, and say what usually causes it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.cli import train
from tinygrad_llm.cli.open_model import open_model
from tinygrad_llm.data import LongText, WindowBatches
from tinygrad_llm.random import manual_seed
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.encoding import split_of
from tinygrad_llm.runs.memory import expect_memory
from tinygrad_llm.runs.run_folder import read_config
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import TrainingSettings
from tinygrad_llm.verify.diagnosis import diagnose


def add_arguments(parser: argparse.ArgumentParser) -> None:
    train.add_arguments(parser)
    parser.add_argument("--model", metavar="DIR", help="the run folder of a trained model, instead of train's flags")


def run(arguments: argparse.Namespace) -> int:
    given, status = vars(arguments), StatusLine()
    model, tokenizer, text, batch_size = _of_run(given, status) if "model" in given else _of_flags(given, status)
    batch = _first_batch(text, tokenizer, model.config.context_length, batch_size)
    wrong = 0
    for finding in diagnose(model, batch, tokenizer, untrained="model" not in given):
        status.say(str(finding))
        wrong += not finding.ok
    if wrong:
        print(f"tinygrad-llm doctor: {wrong} of the checks found something wrong; see above", file=sys.stderr)
    return 1 if wrong else 0


def _first_batch(text: LongText, tokenizer: Tokenizer, context_length: int, batch_size: int) -> Any:
    """The first windows of the training part; no more of the text is encoded than they need."""
    rows, count = [np.empty(0, tokenizer.id_dtype)], 0
    for ids in tokenizer.encode_blocks(text.blocks(0, split_of(text)), "all"):
        rows.append(ids)
        count += ids.size
        if count > batch_size * context_length:
            break
    return WindowBatches(np.concatenate(rows), context_length, batch_size)[0]


def _of_run(given: dict[str, Any], status: StatusLine) -> tuple[Any, Tokenizer, LongText, int]:
    """The trained model, its tokenizer, the text it was trained on (or --data) and the batch size."""
    folder = Path(given["model"])
    config = read_config(folder)
    data = given.get("data", config.get("data", train.DEFAULT_TEXT))
    text = train.training_text({"data": data}, status)
    model, tokenizer = open_model(folder, "doctor")
    return model, tokenizer, text, TrainingSettings().batch_size


def _of_flags(given: dict[str, Any], status: StatusLine) -> tuple[Any, Tokenizer, LongText, int]:
    """The model that `train` would begin with, given the same flags."""
    plan = train.new_plan(given)
    text = train.training_text(plan, status)
    tokenizer = train.make_tokenizer(plan, text, status)
    settings = TrainingSettings.from_dict(plan["training"])
    architecture = ARCHITECTURES[plan["model_type"]]
    config = architecture.config_from({**plan["model"], "vocab_size": tokenizer.vocab_size})
    expect_memory(config)
    manual_seed(settings.seed)
    return architecture.begin(config), tokenizer, text, settings.batch_size
