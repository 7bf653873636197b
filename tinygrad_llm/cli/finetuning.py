"""The flags of the commands that fine-tune, from their tasks."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from tinygrad_llm.cli.flags import add_flags, add_run_flags, flag_of
from tinygrad_llm.cli.lora_options import LORA_SETTINGS, LoRAOptions
from tinygrad_llm.cli.parser import HelpFormatter
from tinygrad_llm.runs.fine_tuning import FineTuning
from tinygrad_llm.runs.life_cycle import Request, carry_out
from tinygrad_llm.runs.progress import StatusLine

UNUSED_SETTINGS = ("sample_interval",)  # no text is generated during a fine-tuning


def add_training_arguments(parser: argparse.ArgumentParser, task: FineTuning[Any]) -> None:
    """The flags of a fine-tuning: its run, its options, its training."""
    parser.argument_default = argparse.SUPPRESS  # so that a resumed run can tell what was asked for
    run = parser.add_argument_group("run")
    if task.from_base:
        run.add_argument(
            "--model",
            metavar="PATH",
            help="run folder, Hugging Face folder or GGUF file of the pretrained model" + _without_a_base(task),
        )
    add_run_flags(run, out=f"runs/{task.name}")
    add_flags(parser.add_argument_group("options"), task.options, leave_out=LORA_SETTINGS)
    if isinstance(task.options, LoRAOptions):
        others = [field.name for field in dataclasses.fields(task.options) if field.name not in LORA_SETTINGS]
        add_flags(parser.add_argument_group("LoRA"), task.options, leave_out=others)
    add_flags(parser.add_argument_group("training"), task.settings, leave_out=UNUSED_SETTINGS)


def train(task: FineTuning[Any], arguments: argparse.Namespace) -> int:
    """Begin or resume the run that the flags ask for. Returns the exit code."""
    return carry_out(task, Request.of_flags(vars(arguments), out=f"runs/{task.name}"), StatusLine())


def _without_a_base(task: FineTuning[Any]) -> str:
    """For the help: whether a base must be given, and which settings the training has without one."""
    if task.from_nothing is None:
        return " (required for a new run)"
    usual = task.settings.to_dict()
    differing = {name: value for name, value in task.from_nothing.to_dict().items() if value != usual[name]}
    settings = ", ".join(f"{flag_of(name)} {value}" for name, value in differing.items())
    return f" (default: a new small model, trained with {settings})"


def add_action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    """A subcommand, such as `train` of `classify`."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=summary, formatter_class=HelpFormatter
    )
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser
