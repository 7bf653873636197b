"""Evaluate a model on tasks: multiple choice, generate-and-match, and perplexity of documents."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple, TypeAlias

from tinygrad_llm.cli.flags import add_flags, expect_at_least, expect_file_can_be_made, seed_number
from tinygrad_llm.cli.prompt_forms import STYLES, end_id, ends_of, form_of, style_of
from tinygrad_llm.cli.run_argument import add_model_argument, open_chosen_run
from tinygrad_llm.errors import ConfigError, DataError, TokenizerError
from tinygrad_llm.evaluation.answers import AnsweredQuestion, evaluate_answers
from tinygrad_llm.evaluation.choices import ScoredChoices, evaluate_choices
from tinygrad_llm.evaluation.documents import ScoredDocument, encode_document, evaluate_documents
from tinygrad_llm.evaluation.prompts import Prompts, prefix_id
from tinygrad_llm.evaluation.reports import Metric, TaskReport
from tinygrad_llm.evaluation.task_files import CHOICES, DOCUMENTS, Task, read_task
from tinygrad_llm.evaluation.task_settings import TaskSettings
from tinygrad_llm.formats import atomic_write, json_bytes
from tinygrad_llm.interop.chat_template import ChatTemplate
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.open_model import conventions_of, recorded_config
from tinygrad_llm.study.formatting import format_count

PLAIN = "plain"
Sample: TypeAlias = ScoredChoices | AnsweredQuestion | ScoredDocument
FIGURES = (  # of a task, and what they count
    ("cut", "with a prompt cut at its beginning, to fit the context"),
    ("skipped", "skipped: a choice is longer than the context"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "A task file is JSON Lines (.jsonl) or a JSON list, with records of one kind:\n"
        '  {"question": "What do bees make?", "choices": ["honey", "bread"],\n'
        '   "answer": "honey"}                    multiple choice; or its number, from 0\n'
        '  {"question": "2 + 3?", "answer": "5"}  generate and match; or a list\n'
        '  {"text": "It was a dark ..."}          perplexity; FILE.txt is one such text\n'
        '"prompt" in place of "question" is used as it is. A first record\n'
        '{"settings": {"shots": 2, "stop": ["\\n"]}} has the task\'s own settings, named as\n'
        "the flags are; a flag overrides them. Metrics, each with its standard error:\n"
        "  acc, acc_norm, acc_bytes, acc_tokens   the right choice is the most likely: as\n"
        "        a whole, per character, per byte, per token\n"
        "  exact_match; with --votes N also pass@1 and pass@N\n"
        "  word_perplexity, byte_perplexity, bits_per_byte, token_perplexity\n"
        "All but acc_tokens, pass@ and token_perplexity are lm-evaluation-harness's."
    )
    parser.add_argument(
        "--task", required=True, type=Path, nargs="+", action="extend", metavar="FILE", help="task files; see below"
    )
    add_model_argument(parser, "a language model")
    add_flags(parser, TaskSettings())
    parser.add_argument("--limit", type=int, metavar="N", help="use the first N records of each task only")
    parser.add_argument(
        "--seed",
        type=seed_number,
        default=0,
        metavar="N",
        help="seed that chooses the questions shown first, and of sampled answers (default: 0)",
    )
    parser.add_argument(
        "--style",
        choices=(PLAIN, *STYLES),
        help="form of a question: plain (`Question: ... Answer:`), an instruction template, or chat, the model's own "
        "chat template (default: the template that the model was fine-tuned with, else plain)",
    )
    parser.add_argument(
        "--max-length",
        type=int,
        metavar="N",
        help="tokens of choices and documents to read at once (default: the model's context)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        default=1,
        metavar="N",
        help="tokens that each window of a document repeats of the one before (default: 1)",
    )
    parser.add_argument("--verbose", action="store_true", help="print a line for each record")
    parser.add_argument(
        "--log-samples",
        type=Path,
        metavar="FILE",
        help="write a JSON line for each record to FILE: prompt, choices, log-likelihoods, prediction, correct",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")


class Plan(NamedTuple):
    """A task, its settings, and the places of the questions shown first and of the records that are evaluated."""

    task: Task
    settings: TaskSettings
    shown: Sequence[int]
    places: Sequence[int]

    @property
    def shots(self) -> list[Any]:
        return [self.task.records[place] for place in self.shown]

    @property
    def records(self) -> list[Any]:
        return [self.task.records[place] for place in self.places]


def run(arguments: argparse.Namespace) -> int:
    expect_at_least(1, **{name: getattr(arguments, name) for name in ("limit", "max_length", "overlap")})
    plans = [plan_of(task, arguments) for task in read_tasks(arguments.task)]
    expect_file_can_be_made("--log-samples", arguments.log_samples, arguments.task)
    model, tokenizer = open_chosen_run(arguments, "evaluate")
    context = model.config.context_length
    if arguments.overlap > min(arguments.max_length or context, context):
        raise ConfigError(
            f"--overlap must be at most the tokens read at once, {min(arguments.max_length or context, context)}; "
            f"got {arguments.overlap}"
        )
    conventions = conventions_of(arguments.model, tokenizer)
    style = arguments.style or _trained_style(arguments.model, conventions.template)
    form = None if style == PLAIN else form_of(style, tokenizer, conventions)
    end = None if form is None else end_id(tokenizer, conventions, form)
    prompts = Prompts(tokenizer, prefix_id(tokenizer, conventions), form, end)
    ends = frozenset((*ends_of(conventions, form), *(() if end is None else (end,))))
    encoded = [encoded_records(prompts, plan) for plan in plans]  # a record that cannot be encoded is refused first
    status, logged = StatusLine(), list[bytes]()
    notices = StatusLine(sys.stderr) if arguments.json else status
    reports: dict[str, TaskReport] = {}
    for plan, ids in zip(plans, encoded, strict=True):
        places = iter(enumerate(plan.places, 1))

        def keep(sample: Sample, plan: Plan = plan, places: Iterator[tuple[int, int]] = places) -> None:
            done, place = next(places)
            if arguments.log_samples is not None:
                entry = {"task": plan.task.name, "record": place, **sample.to_dict()}
                logged.append(json_bytes(entry, indent=None))
            if not arguments.json:
                if arguments.verbose:
                    status.say(line_of(sample))
                status.renew(partial(status.share, plan.task.name, done, len(plan.places)))

        with notices.saying_warnings():
            try:
                reports[plan.task.name] = evaluate_plan(model, prompts, plan, ids, arguments, ends, keep, status)
            except DataError as error:
                raise DataError(f"{plan.task.name}: {error}") from None
    if arguments.log_samples is not None:
        with atomic_write(arguments.log_samples) as file:
            file.writelines(logged)
    if arguments.json:
        figures = {name: report.to_dict() for name, report in reports.items()}
        print(json.dumps({"model": str(arguments.model), "style": style, "seed": arguments.seed, "tasks": figures}))
        return 0
    status.say(table_of(reports, style))
    return 0


def read_tasks(paths: Sequence[Path]) -> list[Task]:
    """The tasks, named after their files; after their paths where two files have one name.

    Raises: ConfigError for a file that is named twice, and as `read_task`
    """
    if twice := [path for place, path in enumerate(paths) if path in paths[:place]]:
        raise ConfigError(f"--task must name each file once; got {twice[0]} twice")
    tasks = [read_task(path) for path in paths]
    names = [task.name for task in tasks]
    return [
        dataclasses.replace(task, name=str(path)) if names.count(task.name) > 1 else task
        for task, path in zip(tasks, paths, strict=True)
    ]


def plan_of(task: Task, arguments: argparse.Namespace) -> Plan:
    """The task with the settings of its file and of the flags. Raises ConfigError for settings that do not fit it."""
    flags = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(TaskSettings)}
    given = {name: value for name, value in flags.items() if value is not None}
    if "regex" in given:
        given.setdefault("filter", "regex")
    elif "filter" in given and given["filter"] != "regex":
        given["regex"] = ""
    settings = TaskSettings.from_dict({**task.settings, **given})
    if task.kind == DOCUMENTS:
        return Plan(task, settings, (), range(len(task.records))[: arguments.limit])
    if settings.shots >= len(task.records):
        raise ConfigError(
            f"--shots must be 0 to {len(task.records) - 1}, so that a question of {task.name} is left to score; "
            f"got {settings.shots}"
        )
    order = [int(place) for place in Generator(arguments.seed).randperm(len(task.records))]
    return Plan(task, settings, order[: settings.shots], sorted(order[settings.shots :])[: arguments.limit])


def encoded_records(prompts: Prompts, plan: Plan) -> list[Any]:
    """The ids of each record that is evaluated, as `encode_document` and `Prompts.encode` give them.

    Raises: TokenizerError and DataError naming the file and the record with a text that cannot be encoded
    """
    records, origins = plan.task.records, plan.task.origins
    if plan.task.kind == DOCUMENTS:
        return [encode_document(prompts.tokenizer, records[place], origins[place]) for place in plan.places]
    try:
        return [prompts.encode(plan.shots, record) for record in plan.records]
    except TokenizerError:
        for place in (*plan.shown, *plan.places):
            prompts.expect_encodable(records[place], origins[place], bool(plan.shown), place in plan.shown)
        raise


def evaluate_plan(
    model: Any,
    prompts: Prompts,
    plan: Plan,
    encoded: Sequence[Any],
    arguments: argparse.Namespace,
    ends: frozenset[int],
    keep: Callable[[Sample], None],
    status: StatusLine,
) -> TaskReport:
    """The report of a task, whose samples are given to `keep`."""
    if plan.task.kind == CHOICES:
        return evaluate_choices(model, prompts, plan.records, plan.shots, arguments.max_length, keep, encoded)
    if plan.task.kind == DOCUMENTS:
        longest, overlap, tokenizer = arguments.max_length, arguments.overlap, prompts.tokenizer

        def show(done: int, total: int) -> None:
            if not arguments.json:
                status.renew(partial(status.share, f"{plan.task.name}, windows", done, total))

        return evaluate_documents(model, tokenizer, plan.records, prompts.prefix, longest, overlap, keep, show, encoded)
    context = model.config.context_length
    if (length := plan.settings.max_new_tokens) is not None and length >= context:
        raise ConfigError(f"--max-new-tokens must be below the model's context, {context} tokens; got {length}")
    return evaluate_answers(
        model, prompts, plan.records, plan.shots, plan.settings, ends, arguments.seed, keep, encoded
    )


def _trained_style(folder: Path, template: ChatTemplate | None) -> str:
    """The template that a run was fine-tuned with, else plain, also for other people's model with a chat template."""
    return (style_of(folder, template) or PLAIN) if recorded_config(folder).get("task") else PLAIN


def table_of(reports: dict[str, TaskReport], style: str) -> str:
    """A row for each metric of each task, and what was counted."""
    width = max(len("task"), *(min(len(name), 24) for name in reports))
    lines = [f"{'task':<{width}} {'count':>6}  {'metric':<16} {'value':>10}   standard error"]
    for task, report in reports.items():
        for place, (name, metric) in enumerate(report.metrics.items()):
            first = (shorten_end(task, width), f"{report.count:,}") if place == 0 else ("", "")
            value, error = figures_of(metric)
            lines.append(f"{first[0]:<{width}} {first[1]:>6}  {name:<16} {value:>10} ± {error}")
    for task, report in reports.items():
        notes = report.notes
        parts = [f"{style} style, {format_count(int(notes['shots']), 'shot')}"] if "shots" in notes else []
        parts += [f"accuracy of guessing {notes['chance']:.1%}"] if "chance" in notes else []
        parts += [f"{notes['bytes']:,} bytes, {notes['tokens']:,} tokens"] if "bytes" in notes else []
        parts += [f"{notes[name]:,} {words}" for name, words in FIGURES if notes.get(name)]
        lines.append(f"{task}: {'; '.join(parts)}")
    return "\n".join(lines)


def shorten_end(text: str, width: int) -> str:
    return text if len(text) <= width else "..." + text[3 - width :]


def figures_of(metric: Metric) -> tuple[str, str]:
    """The value and its standard error, in percent for a share."""
    value, error = metric.value, metric.standard_error
    if metric.share:
        return f"{value:.1%}", "?" if error is None else f"{error:.1%}"
    return f"{value:,.4f}", "?" if error is None else f"{error:,.4f}"


def line_of(sample: Sample) -> str:
    """One record in at most 80 columns: right or wrong, answer and question; or the bits per byte of a document."""
    if isinstance(sample, ScoredDocument):
        return f"{sample.bits_per_byte:>7.4f} bits per byte  {shorten(sample.text, 57, placeholder='...')}"
    if isinstance(sample, ScoredChoices):
        chosen = sample.predictions.get("acc")
        answer = "" if chosen is None else sample.question.choices[chosen]
        verdict = "skipped" if chosen is None else "right" if chosen == sample.question.answer else "wrong"
    else:
        answer, verdict = sample.prediction, "right" if sample.correct else "wrong"
    shown = shorten(answer, 28, placeholder="...")
    return f"{verdict:<7} {shown:<28} {shorten(sample.question.text, 43, placeholder='...')}"
