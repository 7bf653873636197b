"""Fine-tune a language model on preferences between answers (DPO)."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinygrad_llm.cli import instruct
from tinygrad_llm.cli.finetuning import add_action, add_training_arguments, train
from tinygrad_llm.cli.lora_options import LoRAOptions
from tinygrad_llm.cli.prompt_forms import end_id, fitting_of, form_of, style_that_suits
from tinygrad_llm.data import (
    DataLoader,
    PreferenceBatch,
    PreferenceDataset,
    collate_preferences,
    read_preferences,
    split_records,
)
from tinygrad_llm.data.instructions import PromptForm, Record
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.finetune import DPO, evaluate_preferences, frozen_copy
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.fine_tuning import Base, FineTuning, Job, held_out_batches, training_batches
from tinygrad_llm.settings import setting, setting_of
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import TrainingSettings


@dataclass(frozen=True)
class Options(LoRAOptions):
    data: str = setting(
        "",
        "a JSON or JSON Lines file of records with instruction, input, chosen and rejected; needed for a new run",
        metavar="FILE",
    )
    style: str = setting_of(instruct.Options, "style", "phi3")
    beta: float = setting(0.1, "DPO's beta: a larger one keeps the model nearer to the reference", above=0)
    average: bool = setting(True, "log-probabilities averaged over tokens, so that length does not count")


def prepare_job(
    base: Base, tokenizer: Tokenizer, options: Options, settings: TrainingSettings, status: StatusLine
) -> Job:
    """The base, a frozen copy as the reference model, and training, validation and test pairs."""
    if not options.data:
        raise ConfigError(
            "--data must name a JSON or JSON Lines file of records with instruction, input, chosen and rejected"
        )
    model, form = base.model, form_of(options.style, tokenizer, base.conventions)
    end, context = end_id(tokenizer, base.conventions, form), model.config.context_length
    options.expect_rank_within(model.config.embedding_dim)
    dpo = DPO(frozen_copy(model), options.beta, options.average)
    finished_weights = options.add_updates(model)
    loader, held_out = batches_of_pairs(read_preferences(options.data), tokenizer, form, end, context, settings, status)
    return Job(
        model,
        loader,
        held_out["validation"],
        lambda workers: {
            name: evaluate_preferences(model, dpo, status.track(batches, f"evaluating {name}"), workers).to_dict()
            for name, batches in held_out.items()
        },
        describe,
        dpo,
        "instruct generate --model {model} 'an instruction'",
        finished_weights=finished_weights,
    )


def batches_of_pairs(
    pairs: Sequence[Record],
    tokenizer: Tokenizer,
    form: PromptForm,
    end: int,
    context: int,
    settings: TrainingSettings,
    status: StatusLine,
) -> tuple[DataLoader, dict[str, list[PreferenceBatch]]]:
    """The loader of the training pairs, and the batches of the others: validation and test.

    Raises: DataError for a part without a pair whose prompt fits the context
    """
    collate = partial(collate_preferences, pad_id=end, allowed_max_length=context)
    datasets = {}
    for name, records in zip(("train", "test", "validation"), split_records(pairs), strict=True):
        fitting = fitting_of(name, records, tokenizer, form, context, status, "pair")
        datasets[name] = PreferenceDataset(fitting, tokenizer, form)
    held_out = {name: held_out_batches(datasets[name], settings, collate) for name in ("validation", "test")}
    return training_batches(datasets["train"], settings, collate), held_out


def describe(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Loss and reward margin of each held-out split; before training they are ln 2 and 0."""
    return "\n".join(
        f"{name:<10} loss {before[name]['loss']:.4f} -> {figures['loss']:.4f} nats per pair, "
        f"reward margin {before[name]['margin']:+.3f} -> {figures['margin']:+.3f} "
        f"({figures['chosen_reward']:+.3f} for the chosen, {figures['rejected_reward']:+.3f} for the rejected), "
        f"chosen preferred in {figures['accuracy']:.1%} of {figures['count']:,}"
        for name, figures in after.items()
    )


TRAINING = FineTuning(
    "prefer",
    Options(),
    TrainingSettings(
        steps=120, batch_size=8, learning_rate=2e-4, min_learning_rate=2e-5, warmup_steps=10, eval_interval=40
    ),
    prepare_job,
    suits=style_that_suits,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="train", required=True)
    summary = "Train with direct preference optimization (DPO), against a frozen copy of the model."
    add_training_arguments(add_action(actions, "train", summary), TRAINING)


def run(arguments: argparse.Namespace) -> int:
    return train(TRAINING, arguments)
