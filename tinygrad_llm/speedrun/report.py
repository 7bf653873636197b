"""The figures of the report card, read from the run folders of a speedrun, and its files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.data import TASKS, instruction_tasks
from tinygrad_llm.finetune import constant_answers
from tinygrad_llm.formats import atomic_write, read_json_object, read_metrics, write_json
from tinygrad_llm.random import Generator
from tinygrad_llm.runs.hints import command
from tinygrad_llm.runs.loss_chart import Curve, smoothed
from tinygrad_llm.runs.summary import summary_of
from tinygrad_llm.speedrun.budget import TRAINED
from tinygrad_llm.speedrun.card import document
from tinygrad_llm.speedrun.card_markdown import as_markdown
from tinygrad_llm.speedrun.card_page import as_page
from tinygrad_llm.speedrun.choosing import encoded_text
from tinygrad_llm.speedrun.journal import Journal
from tinygrad_llm.speedrun.measuring import ANSWERS, MEASURES, step_seconds
from tinygrad_llm.speedrun.road import IDS
from tinygrad_llm.text import load_tokenizer

NAMES = {"json": "report.json", "markdown": "report.md", "page": "report.html"}
POINTS = 120  # of a curve
COUNTED_PER_KIND = 50  # records whose most frequent answer is a baseline
SAMPLES = 10  # kinds of instructions whose answers are shown


def write_report(journal: Journal) -> list[Path]:
    """Write the report card; returns its files."""
    report = report_of(journal)
    paths = {kind: journal.folder / name for kind, name in NAMES.items()}
    write_json(paths["json"], report)
    for kind, text in (("markdown", as_markdown(document(report))), ("page", as_page(document(report)))):
        with atomic_write(paths[kind]) as file:
            file.write(text.encode())
    return list(paths.values())


def report_of(journal: Journal) -> dict[str, Any]:
    """All figures of the card. Raises: DataError, FormatError for a stage whose files are missing or damaged"""
    folder, evaluations = journal.folder, {}
    stages = {}
    for name in carried_out(journal):
        evaluations[name] = read_json_object(folder / name / ANSWERS)
        stages[name] = _stage(journal, name, evaluations[name])
    cpu = [period["cpu_seconds"] for period in journal.periods]
    return {
        "settings": journal.settings.to_dict(),
        "machine": journal.machine,
        "planned_seconds": journal.settings.seconds,
        "seconds": journal.seconds(),
        "cpu_seconds": None if None in cpu else sum(cpu),
        "periods": journal.periods,
        "text": _text(folder),
        "size": journal.stage("size"),
        "stages": stages,
        "same_answer": _same_answers(evaluations[TRAINED[0]]["answers"]),
        "samples": _samples(evaluations),
        "commands": {
            "chat": command("chat", "--model", folder / list(stages)[-1]),
            "serve": command("serve", "--model", folder / list(stages)[-1]),
            "again": command("speedrun", *_flags(journal), "--out", f"{folder}-again"),
        },
    }


def carried_out(journal: Journal) -> list[str]:
    """The stages that trained a model."""
    return [name for name in TRAINED if not journal.stage(name).get("skipped")]


def _flags(journal: Journal) -> list[str]:
    return [word for name, value in journal.settings.to_dict().items() for word in (f"--{name}", f"{value}")]


def _text(folder: Path) -> dict[str, Any]:
    """The base model's text and its tokenizer."""
    encoded, tokenizer = encoded_text(folder / "base", folder / IDS), load_tokenizer(folder / "base")
    tokens = len(encoded.train) + len(encoded.validation)
    return {
        "vocabulary": tokenizer.vocab_size,
        "training_tokens": len(encoded.train),
        "validation_tokens": len(encoded.validation),
        "validation_bytes": encoded.validation_bytes,
        "bytes_per_token": encoded.validation_bytes / len(encoded.validation),
        "tokens": tokens,
    }


def _stage(journal: Journal, name: str, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    run, record = journal.folder / name, journal.stage(name)
    summary, log = summary_of(run), read_metrics(run / "metrics.jsonl")
    periods = [period for period in journal.periods if period["stage"] == name]
    cpu = [period["cpu_seconds"] for period in periods]
    measures = read_json_object(run / MEASURES)
    right, count = evaluation["exact_match"], evaluation["count"]
    return {
        "run": str(run),
        "commands": [
            command(*words) for words in (record["command"], record["evaluation_command"], measures["text"]["command"])
        ],
        "model_type": summary.model_type,
        "model": summary.config["model"],
        "options": summary.config.get("options", {}),
        "training": summary.config["training"],
        "parameters": summary.parameters,
        "steps": summary.step,
        "planned_seconds": record["seconds"],
        "training_seconds": sum(step_seconds(run)),
        "seconds": journal.seconds(name),
        "cpu_seconds": None if None in cpu else sum(cpu),
        "loads": [period["load"] for period in periods],
        "evaluation_seconds": record["evaluation_seconds"],
        "curves": {
            key: _curve(log, key)
            for key in ("train_loss", "val_loss", "reward", "kl", "answer_length")
            if key in log[-1]
        },
        "accuracy": {
            "all": right,
            "count": count,
            "standard_error": math.sqrt(right * (1 - right) / count),
            "kinds": {
                kind: {"right": figures["exact_match"], "count": figures["count"]}
                for kind, figures in evaluation["kinds"].items()
            },
        },
        **measures,
    }


def _curve(log: list[dict[str, Any]], key: str) -> dict[str, list[float]]:
    """A column of a log over the steps, smoothed to at most POINTS points."""
    found = [(record["step"], record[key]) for record in log if isinstance(record.get(key), int | float)]
    curve = smoothed(Curve(key, [step for step, _ in found], [value for _, value in found]), POINTS)
    return {"steps": list(curve.steps), "values": list(curve.values)}


def _same_answers(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Right answers by the most frequent answer of each kind among generated records."""
    training = instruction_tasks(COUNTED_PER_KIND * len(TASKS), Generator(0))
    constant = constant_answers(training, records)
    return {"all": constant.score, "kinds": {kind: report.score for kind, report in constant.by_kind().items()}}


def _samples(evaluations: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The first held-out record of some kinds, evenly spaced, with every stage's answer."""
    first: dict[str, int] = {}
    records = evaluations[TRAINED[0]]["answers"]
    for place, record in enumerate(records):
        first.setdefault(record["kind"], place)
    kinds = list(first)[:: max(1, len(first) // SAMPLES)][:SAMPLES]
    return [
        {
            **{name: records[first[kind]][name] for name in ("kind", "instruction", "input", "output")},
            "answers": {
                stage: {
                    "text": evaluation["answers"][first[kind]]["response"],
                    "right": evaluation["answers"][first[kind]]["score"] == 1,
                }
                for stage, evaluation in evaluations.items()
            },
        }
        for kind in kinds
    ]
