"""What is measured of the model after each stage, beside its answers: losses in bits per byte, and continued texts."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tinygrad_llm.data import DataLoader, InstructionDataset, collate_instructions
from tinygrad_llm.formats import atomic_write, read_json_object, read_metrics
from tinygrad_llm.runs import load
from tinygrad_llm.runs.encoding import EncodedText
from tinygrad_llm.text import load_tokenizer
from tinygrad_llm.train.batch_loss import count_targets
from tinygrad_llm.train.evaluation import bits_per_byte, evaluate

RunCommand = Callable[[Sequence[str]], int]  # carries out a command line and returns its exit code
ANSWERS = "evaluation.json"  # in the run folder: answers to held-out records, as `instruct evaluate --report` writes it
MEASURES = "measures.json"  # in the run folder: what `measures_of` returns
STYLE = "phi3"
BATCH = 16  # records
PROMPTS = ("The ", "Return the ", "This function ")
SAMPLING = ("--max-new-tokens", "60", "--temperature", "0.8", "--top-k", "50")


def step_seconds(run: Path) -> list[float]:
    """The wall time of each step of a run, with the evaluation and the checkpoint before it."""
    return [float(record["seconds"] or 0) for record in read_metrics(run / "metrics.jsonl")]


def write_validation_text(run: Path, encoded: EncodedText, path: Path) -> None:
    """Write the validation part of the text that a run was trained on, for `evaluate --task`."""
    text = load_tokenizer(run).decode(encoded.validation.tolist())
    with atomic_write(path) as file:
        file.write(text.encode())


def measures_of(run: Path, validation: Path, seed: int, run_command: RunCommand) -> dict[str, Any]:
    """The losses of a run's model on the validation text (by `evaluate`) and on the right answers to the records in its
    ANSWERS, end of text included; and texts that it continues (by `generate`), each with the command.
    """
    command = ["evaluate", "--task", str(validation), "--model", str(run)]
    (text,) = _printed(run_command, command)["tasks"].values()
    continuations = []
    for prompt in PROMPTS:
        words = ["generate", "--model", str(run), "--prompt", prompt, *SAMPLING, "--seed", str(seed)]
        continuations.append({"prompt": prompt, "text": _printed(run_command, words)["text"], "command": words})
    return {"text": {**text, "command": command}, "answers": _answer_loss(run), "continuations": continuations}


def _printed(run_command: RunCommand, words: Sequence[str]) -> dict[str, Any]:
    """The object that a command prints with --json."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        run_command([*words, "--json"])
    printed: dict[str, Any] = json.loads(output.getvalue())
    return printed


def _answer_loss(run: Path) -> dict[str, Any]:
    model, tokenizer = load(run)
    records = read_json_object(run / ANSWERS)["answers"]
    collate = partial(
        collate_instructions,
        pad_id=int(tokenizer.end_of_text or 0),
        allowed_max_length=model.config.context_length,
        mask_instructions=True,
    )
    batches = list(DataLoader(InstructionDataset(records, tokenizer, STYLE), BATCH, collate_fn=collate))
    loss, tokens = evaluate(model, batches), sum(map(count_targets, batches))
    length = sum(len(record["output"].encode()) for record in records)
    return {"nats_per_token": loss, "bits_per_byte": bits_per_byte(loss, tokens, length), "records": len(records)}
