"""Train a reward model on preferences between answers, and score answers with it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinygrad_llm.cli import instruct, reinforce
from tinygrad_llm.cli.finetuning import add_action, add_training_arguments, train
from tinygrad_llm.cli.learned_reward import open_reward
from tinygrad_llm.cli.prefer import batches_of_pairs
from tinygrad_llm.cli.prompt_forms import end_id, ends_of, form_of
from tinygrad_llm.cli.run_argument import add_model_argument, chosen_run
from tinygrad_llm.data import fitting_records, instruction_tasks, read_preferences
from tinygrad_llm.data.instructions import PromptForm, Record
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune import respond
from tinygrad_llm.finetune.reward import evaluate_rewards, reward_model_loss, right_answers
from tinygrad_llm.generate import Sampling
from tinygrad_llm.models import LanguageModel, RewardModel
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.fine_tuning import Base, FineTuning, Job
from tinygrad_llm.settings import Settings, setting, setting_of
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import TrainingSettings

ANSWERED_TOGETHER = 64  # questions


@dataclass(frozen=True)
class Options(Settings):
    data: str = setting(
        "",
        "a JSON or JSON Lines file of records with instruction, input, chosen and rejected; without one, generated "
        "records: the right answer is chosen, and a wrong one that the model itself samples rejected",
        metavar="FILE",
    )
    records: int = setting(4000, "number of records to generate", least=20)
    kinds: str = setting_of(reinforce.Options, "kinds", instruct.LEARNED_IN_MINUTES)
    temperature: float = setting(1.0, "temperature at which wrong answers are sampled", above=0)
    max_new_tokens: int = setting(32, "maximum length of a sampled answer, in tokens", least=1)
    style: str = setting_of(instruct.Options, "style", "phi3")


def prepare_job(
    base: Base, tokenizer: Tokenizer, options: Options, settings: TrainingSettings, status: StatusLine
) -> Job:
    """A reward model on the body of the base, and training, validation and test pairs."""
    form = form_of(options.style, tokenizer, base.conventions)
    end, context = end_id(tokenizer, base.conventions, form), base.model.config.context_length
    ends = (end, *ends_of(base.conventions, form))
    generator = Generator(settings.seed).spawn("pairs")
    pairs = (
        read_preferences(options.data)
        if options.data
        else sampled_pairs(base.model, tokenizer, options, form, ends, generator, status)
    )
    loader, held_out = batches_of_pairs(pairs, tokenizer, form, end, context, settings, status)
    model = RewardModel(base.model)
    return Job(
        model,
        loader,
        held_out["validation"],
        lambda workers: {
            name: evaluate_rewards(model, status.track(batches, f"evaluating {name}"), workers).to_dict()
            for name, batches in held_out.items()
        },
        describe,
        reward_model_loss,
        "reward score --model {model} 'an instruction' 'an answer'",
    )


def sampled_pairs(
    model: LanguageModel,
    tokenizer: Tokenizer,
    options: Options,
    form: PromptForm,
    ends: tuple[int, ...],
    generator: Generator,
    status: StatusLine,
) -> list[dict[str, Any]]:
    """Generated records with the right answer as chosen, and a sampled one as rejected where that is wrong.

    Raises: DataError if the model answers nearly all of them right
    """
    instruct.expect_few("--records", options.records)
    asked = instruction_tasks(options.records, generator, instruct.kinds_of(options.kinds))
    records = fitting_records(asked, tokenizer, form, model.config.context_length)
    pairs: list[dict[str, Any]] = []
    for start in range(0, len(records), ANSWERED_TOGETHER):
        part: Sequence[Record] = records[start : start + ANSWERED_TOGETHER]
        status.renew(partial(status.share, "sampling answers", start, len(records)))
        answers = respond(
            model,
            tokenizer,
            part,
            form,
            options.max_new_tokens,
            ends,
            Sampling(temperature=options.temperature),
            generator,
        )
        scores = right_answers(part, answers)
        pairs += [
            {**record, "chosen": record["output"], "rejected": answer}
            for record, answer, score in zip(part, answers, scores, strict=True)
            if score == 0
        ]
    status.say(f"{len(pairs):,} of {len(records):,} sampled answers are wrong, and make a pair with the right one")
    if len(pairs) < 20:
        raise DataError(
            f"at least 20 pairs are needed; the model's answers made {len(pairs)}: raise --records or --temperature, "
            "or give pairs with --data"
        )
    return pairs


def describe(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Loss and agreement of each held-out split; before training the loss is ln 2."""
    return "\n".join(
        f"{name:<10} loss {before[name]['loss']:.4f} -> {figures['loss']:.4f} nats per pair, "
        f"the chosen answer has the larger reward in {figures['agreement']:.1%} of {figures['count']:,} pairs"
        for name, figures in after.items()
    )


TRAINING = FineTuning(
    "reward",
    Options(),
    TrainingSettings(
        steps=200, batch_size=32, learning_rate=5e-4, min_learning_rate=5e-5, warmup_steps=10, eval_interval=50
    ),
    prepare_job,
    suits=reinforce.options_that_suit,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="train|score", required=True)
    summary = "Train a reward model: a head with one output on a language model, on pairs of answers."
    add_training_arguments(add_action(actions, "train", summary), TRAINING)
    score = add_action(actions, "score", "Print the reward of each answer to an instruction, largest first.")
    add_model_argument(score, "a reward model")
    score.add_argument("instruction", metavar="INSTRUCTION", help="the instruction that is answered")
    score.add_argument("answers", nargs="+", metavar="ANSWER", help="answers to it")
    score.add_argument("--input", default="", metavar="TEXT", help="input that the instruction refers to")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "train":
        return train(TRAINING, arguments)
    from tinygrad_llm.terminal import for_terminal

    arguments.model = chosen_run(arguments.model, "reward score")
    reward = open_reward(arguments.model, Options().style, "--model")
    record = {"instruction": arguments.instruction, "input": arguments.input}
    scores = reward([record] * len(arguments.answers), arguments.answers)
    for score, answer in sorted(zip(scores.tolist(), arguments.answers, strict=True), reverse=True):
        print(f"{score:+.3f}\t{for_terminal(answer)}")
    return 0
