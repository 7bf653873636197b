"""Check a model for what keeps it from learning, and name the usual cause."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.cli.config_file import add_config_flag
from tinygrad_llm.cli.flags import add_flags
from tinygrad_llm.cli.run_argument import chosen_run
from tinygrad_llm.cli.train import add_model_flags
from tinygrad_llm.data import LongText, WindowBatches
from tinygrad_llm.random import manual_seed
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.encoding import split_of
from tinygrad_llm.runs.memory import expect_memory
from tinygrad_llm.runs.open_model import open_model, recorded_config
from tinygrad_llm.runs.pretraining import Pretraining, TextOptions, expect_a_window, make_tokenizer, training_text
from tinygrad_llm.runs.summary import RUNS
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train.settings import TrainingSettings
from tinygrad_llm.verify.diagnosis import diagnose

NO_MODEL = {"command", "debug", "seed", "batch_size"}  # flags that say nothing of which model is meant
USED = ("batch_size", "seed")  # of the settings of a training


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "--model",
        metavar="PATH",
        help="run folder, Hugging Face folder or GGUF file of a trained model (default: the newest in runs/; with "
        "flags of a model or text, a new model)",
    )
    add_config_flag(parser)
    unused = tuple(name for name in TrainingSettings.__dataclass_fields__ if name not in USED)
    add_flags(parser.add_argument_group("batch"), TrainingSettings(), leave_out=unused)
    add_flags(parser.add_argument_group("text and tokenizer"), TextOptions(), leave_out=("ids",), silent=("data",))
    add_model_flags(parser)
    # The other flags of `train` are taken, so that its command can be checked by another first word, and not used.
    add_flags(parser, TrainingSettings(), leave_out=USED, hidden=True)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    parser.add_argument("--ids", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace) -> int:
    given, status = vars(arguments), StatusLine()
    if not given.keys() - NO_MODEL and RUNS.is_dir():
        given["model"] = chosen_run(None, "doctor")
    model, tokenizer, text, batch_size = _of_run(given, status) if "model" in given else _of_flags(given, status)
    batch = _first_batch(text, tokenizer, model.config.context_length, batch_size)
    wrong = 0
    findings = iter(diagnose(model, batch, tokenizer, untrained="model" not in given))
    while True:
        with status.working("checking"):
            finding = next(findings, None)
        if finding is None:
            break
        status.say(str(finding), "" if finding.ok else "red")
        wrong += not finding.ok
    if wrong:
        print(f"tinygrad-llm doctor: {wrong} of the checks found something wrong; see above", file=sys.stderr)
    else:
        status.say("all checks passed: this model is fit to be trained", "green")
    return 1 if wrong else 0


def _first_batch(text: LongText, tokenizer: Tokenizer, context_length: int, batch_size: int) -> Any:
    """The first windows of the training part; no more of the text is encoded than they need."""
    rows, count = [np.empty(0, tokenizer.id_dtype)], 0
    for ids in tokenizer.encode_blocks(text.blocks(0, split_of(text)), "all"):
        rows.append(ids)
        count += ids.size
        if count > batch_size * context_length:
            break
    found = np.concatenate(rows)
    expect_a_window(found, context_length, "training")
    return WindowBatches(found, context_length, batch_size)[0]


def _of_run(given: dict[str, Any], status: StatusLine) -> tuple[Any, Tokenizer, LongText, int]:
    """The trained model, its tokenizer, the text it was trained on (or --data) and the batch size."""
    folder = Path(given["model"])
    recorded = recorded_config(folder).get("data")
    model, tokenizer = open_model(folder, "doctor")
    named: dict[str, Any] = {"data": recorded} if isinstance(recorded, str) else {}
    named |= {name: given[name] for name in ("data", "seed", "batch_size") if name in given}
    plan = Pretraining().new_plan(named)
    return model, tokenizer, training_text(plan, status), plan.training.batch_size


def _of_flags(given: dict[str, Any], status: StatusLine) -> tuple[Any, Tokenizer, LongText, int]:
    """The model that `train` would begin with, given the same flags."""
    plan = Pretraining().new_plan(given)
    text = training_text(plan, status)
    tokenizer = make_tokenizer(plan, text, status)
    architecture = ARCHITECTURES[plan.model_type]
    config = architecture.config_from({**plan.model, "vocab_size": tokenizer.vocab_size})
    expect_memory(config)
    manual_seed(plan.training.seed)
    return architecture.begin(config), tokenizer, text, plan.training.batch_size
