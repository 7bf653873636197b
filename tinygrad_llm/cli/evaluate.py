"""Evaluate a model on multiple-choice questions, zero-shot or few-shot."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from textwrap import shorten

from tinygrad_llm.cli.flags import expect_file_can_be_made
from tinygrad_llm.cli.prompt_forms import STYLES, end_id, form_of, style_of
from tinygrad_llm.cli.run_argument import add_model_argument, open_chosen_run
from tinygrad_llm.data.multiple_choice import read_questions
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.finetune.multiple_choice import ScoredQuestion, evaluate_choices
from tinygrad_llm.formats import atomic_write, json_bytes
from tinygrad_llm.interop.chat_template import ChatTemplate
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.open_model import conventions_of, recorded_config
from tinygrad_llm.study.formatting import format_count

PLAIN = "plain"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "A task file is a JSON list or JSON Lines (.jsonl) of records like\n"
        '  {"question": "What do bees make?", "choices": ["honey", "bread"],\n'
        '   "answer": "honey"}\n'
        "where the answer may also be the index of the choice, from 0. The model's answer\n"
        "is the choice whose text is most probable after the question. Two accuracies are\n"
        "printed: by the log-likelihood of the text, and by the log-likelihood per byte,\n"
        "because the first favours short texts."
    )
    parser.add_argument("--task", required=True, type=Path, metavar="FILE", help="file of questions; see below")
    add_model_argument(parser, "a language model")
    parser.add_argument(
        "--shots",
        type=int,
        default=0,
        metavar="N",
        help="answered questions shown first; they are not scored (default: 0)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed that chooses the questions shown first (default: 0)"
    )
    parser.add_argument(
        "--style",
        choices=(PLAIN, *STYLES),
        help="form of a question: plain (`Question: ... Answer:`), an instruction template, or chat, the model's own "
        "chat template (default: the template that the model was fine-tuned with, else plain)",
    )
    parser.add_argument("--verbose", action="store_true", help="print a line for each question")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write a JSON line for each question to FILE")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


def run(arguments: argparse.Namespace) -> int:
    questions = read_questions(arguments.task)
    if not 0 <= arguments.shots < len(questions):
        raise ConfigError(
            f"--shots must be 0 to {len(questions) - 1}, so that a question of the task is left to score; "
            f"got {arguments.shots}"
        )
    expect_file_can_be_made("--log", arguments.log)
    model, tokenizer = open_chosen_run(arguments, "evaluate")
    conventions = conventions_of(arguments.model, tokenizer)
    style = arguments.style or _trained_style(arguments.model, conventions.template)
    form = None if style == PLAIN else form_of(style, tokenizer, conventions)
    end = None if form is None else end_id(tokenizer, conventions, form)
    order = Generator(arguments.seed).randperm(len(questions))
    shots = [questions[place] for place in order[: arguments.shots]]
    rest = [questions[place] for place in sorted(order[arguments.shots :])]
    status = StatusLine()

    def show(done: int, total: int) -> None:
        if not arguments.json:
            status.renew(lambda: status.share("scoring", done, total))

    scored: list[ScoredQuestion] = []

    def keep(question: ScoredQuestion) -> None:
        scored.append(question)
        if arguments.verbose and not arguments.json:
            status.say(line_of(question))

    report = evaluate_choices(model, tokenizer, rest, shots, show, form, keep, end)
    if arguments.log is not None:
        with atomic_write(arguments.log) as file:
            file.writelines(json_bytes(question.to_dict(), indent=None) for question in scored)
    if arguments.json:
        print(json.dumps({"style": style, **report.to_dict()}))
        return 0
    status.say(
        f"{format_count(report.count, 'question')} in the {style} style, {format_count(report.shots, 'shot')}; "
        f"accuracy of guessing {report.chance:.1%}"
    )
    for name, share in (("summed", report.by_sum), ("per byte", report.by_byte)):
        print(f"accuracy by log-likelihood {name:<8}  {share:6.1%} ± {report.standard_error(share):.1%}")
    if report.shortened:
        print(f"fewer shots, because of the context length: {format_count(report.shortened, 'question')}")
    if report.skipped:
        print(f"skipped, longer than the context: {format_count(report.skipped, 'question')}")
    return 0


def _trained_style(folder: Path, template: ChatTemplate | None) -> str:
    """The template that a run was fine-tuned with, else plain, also for other people's model with a chat template."""
    return (style_of(folder, template) or PLAIN) if recorded_config(folder).get("task") else PLAIN


def line_of(scored: ScoredQuestion) -> str:
    """One question in at most 80 columns: right or wrong, the most likely choice, and the question."""
    question, chosen = scored.question, scored.by_sum
    if chosen is None:
        verdict, choice = "skipped", ""
    else:
        verdict = "right" if chosen == question.answer else "wrong"
        choice = shorten(question.choices[chosen], 28, placeholder="...")
    return f"{verdict:<7} {choice:<28} {shorten(question.text, 43, placeholder='...')}"
