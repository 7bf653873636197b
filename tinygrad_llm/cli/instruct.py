"""Fine-tune a language model to follow instructions; answer and evaluate."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tinygrad_llm.cli.answer_choice import (
    Answering,
    add_choice_flags,
    answer_choice_of,
    sampling_of_choice,
)
from tinygrad_llm.cli.classify import lines_of_standard_input
from tinygrad_llm.cli.finetuning import add_action, add_training_arguments, train
from tinygrad_llm.cli.flags import expect_at_least, expect_file_can_be_made, seed_number
from tinygrad_llm.cli.lora_options import LoRAOptions
from tinygrad_llm.cli.prompt_forms import (
    CHAT,
    STYLES,
    SYSTEM_HELP,
    add_answer_length,
    answer_length,
    end_id,
    ends_of,
    fitting_of,
    form_of,
    style_of,
    style_that_suits,
)
from tinygrad_llm.cli.run_argument import add_model_argument, open_chosen_run
from tinygrad_llm.cli.sampling_flags import add_sampling_flags, sampling_of, seed_of
from tinygrad_llm.data import (
    PROMPT_STYLES,
    TASKS,
    InstructionDataset,
    collate_instructions,
    fitting_records,
    instruction_tasks,
    read_instructions,
    split_records,
)
from tinygrad_llm.data.instructions import Record
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.finetune import (
    Answer,
    InstructionReport,
    constant_answers,
    evaluate_instructions,
)
from tinygrad_llm.formats import write_json
from tinygrad_llm.generate import Sampling
from tinygrad_llm.interop.conventions import Conventions
from tinygrad_llm.models import GPT, GPTConfig, LanguageModel
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.fine_tuning import Base, FineTuning, Job, held_out_batches, training_batches
from tinygrad_llm.runs.open_model import conventions_of, recorded_config
from tinygrad_llm.settings import setting
from tinygrad_llm.terminal import for_terminal
from tinygrad_llm.text import BPETokenizer, Tokenizer
from tinygrad_llm.train import TrainingSettings

# Kinds that a model learns in minutes, and whose answers depend on the instruction.
LEARNED_IN_MINUTES = "first_word,longest_word,largest_number,extract_number,count_words,count_numbers,plural,past_tense"
# The model without a base: small enough to read some hundred thousand records in that time.
NEW_WIDTH = 64
FROM_NOTHING = {
    "embedding_dim": NEW_WIDTH,
    "num_layers": 2,
    "num_heads": 4,
    "context_length": 128,
    "dropout": 0.0,
    "tie_weights": True,
}
USUAL_LENGTH = 64  # tokens of an answer
MOST_RECORDS = 1_000_000  # to be generated
VOCAB_SIZE = 1024  # of its tokenizer, trained on the records
KINDS_HELP = "kinds of the generated records, separated by commas; empty: all kinds"


@dataclass(frozen=True)
class Options(LoRAOptions):
    data: str = setting(
        "",
        "a JSON or JSON Lines file of records with instruction, input and output; without one, records "
        "whose answers can be computed (first word, largest number ...) are generated",
        metavar="FILE",
    )
    records: int = setting(8000, "number of records to generate for training", least=1)
    kinds: str = setting(LEARNED_IN_MINUTES, KINDS_HELP, metavar="NAMES")
    style: str = setting(
        "phi3",
        "prompt template; chat: the model's own chat template. A --model that has or was trained with one keeps it",
        choices=STYLES,
    )
    mask_instructions: bool = setting(True, "loss on the answers only, not on the instructions")
    test_records: int = setting(200, "maximum number of held-out records to answer before and after training", least=1)
    max_new_tokens: int = setting(USUAL_LENGTH, "maximum length of an answer in that evaluation, in tokens", least=1)


def prepare_job(
    base: Base | None,
    tokenizer: Tokenizer | None,
    options: Options,
    settings: TrainingSettings,
    status: StatusLine,
) -> Job:
    """The base or a new model, with LoRA if asked for, and its training, validation and test records."""
    if base is None and options.style == CHAT:
        raise ConfigError(f"--style {CHAT} needs a --model with a chat template; a new model has none")
    options.expect_rank_within(NEW_WIDTH if base is None else base.model.config.embedding_dim)
    parts = dict(zip(("train", "test", "validation"), records_of(options, settings.seed), strict=True))
    if tokenizer is None:
        texts = [PROMPT_STYLES[options.style].answered(record) for record in parts["train"]]
        tokenizer = BPETokenizer.train(texts, VOCAB_SIZE)
    model: LanguageModel
    if base is None:
        model, conventions = (
            GPT(GPTConfig.from_dict({**FROM_NOTHING, "vocab_size": tokenizer.vocab_size}), "gpt2"),
            Conventions.of_tokenizer(tokenizer),
        )
        status.say(f"no --model: a new GPT of {model.num_parameters():,} parameters, {tokenizer.vocab_size:,} tokens")
    else:
        model, conventions = base.model, base.conventions
    form = form_of(options.style, tokenizer, conventions)
    end, context = end_id(tokenizer, conventions, form), model.config.context_length
    parts = {name: fitting_of(name, records, tokenizer, form, context, status) for name, records in parts.items()}
    collate = partial(
        collate_instructions, pad_id=end, allowed_max_length=context, mask_instructions=options.mask_instructions
    )
    finished_weights = options.add_updates(model)
    asked = parts["test"][: options.test_records]
    constant = constant_answers(parts["train"], asked).to_dict()
    words, ends = tokenizer, ends_of(conventions, form)
    return Job(
        model,
        training_batches(InstructionDataset(parts["train"], tokenizer, form), settings, collate),
        held_out_batches(InstructionDataset(parts["validation"], tokenizer, form), settings, collate),
        lambda workers: evaluate_instructions(
            model,
            words,
            asked,
            form,
            options.max_new_tokens,
            (end, *ends),
            progress=progress_of(status),
            workers=workers,
        ).to_dict(),
        partial(describe, constant),
        next_command="instruct generate --model {model} " + _as_arguments(asked[0]),
        tokenizer=tokenizer,
        finished_weights=finished_weights,
        baselines={"constant_answers": constant},
    )


def _as_arguments(record: Record) -> str:
    """The instruction of a record as arguments of a command."""
    given = record.get("input", "")
    return shlex.quote(record["instruction"]) + (f" --input {shlex.quote(given)}" if given else "")


def records_of(options: Any, seed: int) -> Sequence[Sequence[Record]]:
    """Training, test and validation records, without overlap: of the file `data`, or generated.

    Raises: ConfigError for more records than are held in memory, or unknown kinds; DataError for an unusable file
    """
    if options.data:
        return split_records(read_instructions(options.data))
    expect_few("--records", options.records)
    expect_few("--test-records", options.test_records)
    source, kinds = Generator(seed).spawn("records"), kinds_of(options.kinds)
    # Held-out records have wordings and contents that no training record has.
    held_out = instruction_tasks(2 * options.test_records, source, kinds, True, True)
    train = instruction_tasks(options.records, source, kinds)
    return train, held_out[: options.test_records], held_out[options.test_records :]


def expect_few(flag: str, records: int) -> None:
    if records > MOST_RECORDS:
        raise ConfigError(f"{flag} must be at most {MOST_RECORDS:,}, for all are held in memory; got {records:,}")


def kinds_of(names: str) -> list[str]:
    """The kinds that --kinds names, all of them where it is empty. Raises ConfigError for one that does not exist."""
    kinds = [name.strip() for name in names.split(",")] if names else list(TASKS)
    if unknown := [kind for kind in kinds if kind not in TASKS]:
        raise ConfigError(
            f"--kinds must name some of {', '.join(TASKS)}, separated by commas; got {', '.join(unknown)!r}"
        )
    return kinds


def kinds_learned(folder: Path) -> str:
    """The kinds of generated records that a run was trained on, empty for all where it was trained on none."""
    config = recorded_config(folder)
    options = config.get("options")
    if config.get("task") not in ("instruct", "reinforce") or not isinstance(options, dict) or options.get("data"):
        return ""
    return str(options.get("kinds", ""))


def describe(constant: dict[str, Any], before: dict[str, Any], after: dict[str, Any]) -> str:
    """Exact match and token F1 of each kind of record, and of its most frequent answer as a baseline."""
    width = max(len("all"), *map(len, after["kinds"]))
    lines = [
        "answers to held-out records, before -> after training; same: the most frequent answer of the kind",
        f"{'kind':<{width}} {'count':>5}  {'exact match':>16} {'same':>7}  {'token F1':>14} {'same':>6}",
    ]
    for kind in [*after["kinds"], "all"]:
        was, now, same = (report if kind == "all" else report["kinds"][kind] for report in (before, after, constant))
        lines.append(
            f"{kind:<{width}} {now['count']:>5}  {was['exact_match']:>6.1%} -> {now['exact_match']:>6.1%} "
            f"{same['exact_match']:>7.1%}  {was['token_f1']:>5.3f} -> {now['token_f1']:>5.3f} {same['token_f1']:>6.3f}"
        )
    return "\n".join(lines)


def progress_of(status: StatusLine) -> Any:
    return lambda done, total: status.renew(lambda: status.share("answering", done, total))


TRAINING = FineTuning(
    "instruct",
    Options(),
    TrainingSettings(
        steps=1000, batch_size=8, learning_rate=1e-3, min_learning_rate=1e-4, warmup_steps=50, eval_interval=200
    ),
    prepare_job,
    from_nothing=TrainingSettings(
        steps=2400, batch_size=32, learning_rate=4e-3, min_learning_rate=4e-4, warmup_steps=50, eval_interval=300
    ),
    suits=style_that_suits,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="train|generate|evaluate", required=True)
    add_training_arguments(
        add_action(actions, "train", "Train a model, pretrained or new, on instructions and their answers."), TRAINING
    )
    generate = add_action(actions, "generate", "Answer instructions.")
    generate.add_argument(
        "instructions", nargs="*", metavar="TEXT", help="instructions (default: the lines of standard input)"
    )
    generate.add_argument("--input", default="", metavar="TEXT", help="input that the instructions refer to")
    add_sampling_flags(generate, Sampling())
    evaluate = add_action(actions, "evaluate", "Answer held-out records, and report exact match and token F1.")
    evaluate.add_argument(
        "--data", metavar="FILE", help="a JSON or JSON Lines file of records (default: generated records)"
    )
    evaluate.add_argument("--records", type=int, default=100, metavar="N", help="maximum number of records to answer")
    evaluate.add_argument("--kinds", metavar="NAMES", help=f"{KINDS_HELP} (default: those that the run was trained on)")
    evaluate.add_argument("--seed", type=seed_number, default=1, metavar="N", help="seed of the generated records")
    evaluate.add_argument("--report", type=Path, metavar="FILE", help="write figures and answers to this JSON file")
    for action in (generate, evaluate):
        add_model_argument(action, "a language model")
        action.add_argument("--style", choices=STYLES, help="prompt template (default: that of the model)")
        action.add_argument("--system", metavar="TEXT", help=SYSTEM_HELP)
        add_choice_flags(action)
    add_answer_length(generate, USUAL_LENGTH)
    evaluate.add_argument(
        "--max-new-tokens", type=int, default=USUAL_LENGTH, metavar="N", help="maximum tokens of an answer"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "train":
        return train(TRAINING, arguments)
    expect_at_least(1, max_new_tokens=arguments.max_new_tokens)
    model, tokenizer = open_chosen_run(arguments, "instruct")
    conventions = conventions_of(arguments.model, tokenizer)
    style = arguments.style or style_of(arguments.model, conventions.template) or Options().style
    form = form_of(style, tokenizer, conventions, arguments.system)
    choice = answer_choice_of(arguments, style)
    answering = Answering(model, tokenizer, form, ends_of(conventions, form), choice)
    return generate(arguments, answering) if arguments.action == "generate" else evaluate(arguments, answering)


def generate(arguments: argparse.Namespace, answering: Answering) -> int:
    sampling = sampling_of(arguments, Sampling())
    if answering.choice is not None:
        sampling = sampling_of_choice(sampling, arguments.temperature)
    seed = seed_of(arguments, sampling)
    context = answering.model.config.context_length
    longest = answer_length(arguments.max_new_tokens, answering.form, context, USUAL_LENGTH)
    for text in arguments.instructions or lines_of_standard_input():
        record = {"instruction": text, "input": arguments.input}
        (answer,) = answering.answers([record], longest, sampling, Generator(seed))
        print(for_terminal(answer), flush=True)
    return 0


def evaluate(arguments: argparse.Namespace, answering: Answering) -> int:
    expect_at_least(1, records=arguments.records)
    expect_file_can_be_made("--report", arguments.report, [Path(arguments.data)] if arguments.data else [])
    records: Sequence[Record]
    if arguments.data is not None:
        records = read_instructions(arguments.data)
    else:
        expect_few("--records", arguments.records)
        source = Generator(arguments.seed).spawn("records")
        kinds = kinds_learned(arguments.model) if arguments.kinds is None else arguments.kinds
        records = instruction_tasks(arguments.records, source, kinds_of(kinds), True, True)
    status = StatusLine()
    model, tokenizer, form = answering.model, answering.tokenizer, answering.form
    context = model.config.context_length
    fitting = fitting_records(records, tokenizer, form, context)
    if skipped := len(records) - len(fitting):
        print(f"{skipped:,} records skipped, whose prompt does not fit the context of {context} tokens")
    if not fitting:
        raise DataError(
            f"at least one record must fit the context of {context} tokens, with the prompt template around it; got "
            f"{len(records):,}, none of which does: shorten the records, or take a model with a longer context"
        )
    asked, longest, progress = fitting[: arguments.records], arguments.max_new_tokens, progress_of(status)
    with status.saying_warnings():
        if answering.choice is None:
            report = evaluate_instructions(model, tokenizer, asked, form, longest, answering.ends, progress=progress)
        else:
            answers = answering.answers_in_workers(asked, longest, arguments.seed, progress)
            report = InstructionReport(list(map(Answer, asked, answers)))
    width = max(len("kind"), *map(len, report.by_kind()))
    status.say(f"{'kind':<{width}} {'count':>5}  exact match  token F1")
    for kind, part in [*report.by_kind().items(), ("all", report)]:
        figures = part.figures()
        print(f"{kind:<{width}} {figures['count']:>5}  {figures['exact_match']:>11.1%}  {figures['token_f1']:>8.3f}")
    if arguments.report is not None:
        write_json(arguments.report, report.to_dict())
        print(f"the answers are in {arguments.report}")
    return 0
