"""Ask a model multiple-choice questions, after as many answered ones as you like."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tinygrad_llm.cli.instruct import STYLES, style_of
from tinygrad_llm.cli.open_model import open_model
from tinygrad_llm.data import PROMPT_STYLES
from tinygrad_llm.data.multiple_choice import read_questions
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.finetune.multiple_choice import evaluate_choices
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import StatusLine

PLAIN = "plain"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = (
        "A task file is a JSON list or JSON Lines (.jsonl) of records like\n"
        '  {"question": "What do bees make?", "choices": ["honey", "bread"], "answer": "honey"}\n'
        "where the answer may also be the choice's number, from 0. The model takes the choice whose text it finds\n"
        "likeliest after the question: by its log-likelihood summed, and per byte, for a sum favours short texts."
    )
    parser.add_argument("--task", required=True, type=Path, metavar="FILE", help="the questions; see below")
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help="the run folder of a GPT or Llama")
    parser.add_argument(
        "--shots", type=int, default=0, metavar="N", help="questions shown answered first, not scored (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="which questions are the shots (default: 0)")
    parser.add_argument(
        "--style",
        choices=(PLAIN, *STYLES),
        help="how a question is written: plain as `Question: ... Answer:`, or as an instruction (default: the style "
        "that the run was taught in, else plain)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    questions = read_questions(arguments.task)
    if not 0 <= arguments.shots < len(questions):
        raise ConfigError(
            f"--shots must be 0 to {len(questions) - 1}, so that a question of the task is left to score; "
            f"got {arguments.shots}"
        )
    model, tokenizer = open_model(arguments.model, "evaluate")
    style = arguments.style or style_of(arguments.model) or PLAIN
    order = Generator(arguments.seed).randperm(len(questions))
    shots = [questions[place] for place in order[: arguments.shots]]
    rest = [questions[place] for place in sorted(order[arguments.shots :])]
    status = StatusLine()

    def show(done: int, total: int) -> None:
        if not arguments.json:
            status.renew(lambda: f"scored {done}/{total}")

    report = evaluate_choices(model, tokenizer, rest, shots, show, PROMPT_STYLES.get(style))
    if arguments.json:
        print(json.dumps({"style": style, **report.to_dict()}))
        return 0
    status.say(
        f"{report.count:,} questions in the {style} style, {report.shots} shots; guessing would get "
        f"{report.chance:.1%} right"
    )
    for name, share in (("summed", report.by_sum), ("per byte", report.by_byte)):
        print(f"accuracy by log-likelihood {name:<8}  {share:6.1%} ± {report.standard_error(share):.1%}")
    if report.shortened:
        print(f"{report.shortened:,} questions had fewer shots, as many as the context holds")
    if report.skipped:
        print(f"{report.skipped:,} questions were skipped, which do not fit the context")
    return 0
