"""What is measured of the model after each stage, beside its answers: its loss on the text and on the right answers."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from tinygrad_llm.data import DataLoader, InstructionDataset, WindowBatches, collate_instructions
from tinygrad_llm.formats import read_json_object, read_metrics
from tinygrad_llm.runs import load
from tinygrad_llm.runs.encoding import EncodedText
from tinygrad_llm.runs.pretraining import FINAL_EVALUATION_BATCHES
from tinygrad_llm.train.batch_loss import count_targets
from tinygrad_llm.train.evaluation import bits_per_byte, evaluate, evenly_spaced

ANSWERS = "evaluation.json"  # in the run folder: answers to held-out records, as `instruct evaluate --report` writes it
LOSSES = "losses.json"  # in the run folder: what `losses_of` returns
STYLE = "phi3"
BATCH = 16  # sequences


def step_seconds(run: Path) -> list[float]:
    """The wall time of each step of a run, with the evaluation and the checkpoint before it."""
    return [float(record["seconds"] or 0) for record in read_metrics(run / "metrics.jsonl")]


def losses_of(run: Path, encoded: EncodedText) -> dict[str, Any]:
    """Losses of a run's model in bits per byte: on the validation part of the base model's text (at most
    FINAL_EVALUATION_BATCHES batches, evenly spaced), and on the right answers to the records in its ANSWERS, end of
    text included.
    """
    model, tokenizer = load(run)
    context = model.config.context_length
    windows = evenly_spaced(WindowBatches(encoded.validation, context, BATCH), FINAL_EVALUATION_BATCHES)
    of_text = evaluate(model, windows)
    records = read_json_object(run / ANSWERS)["answers"]
    collate = partial(
        collate_instructions, pad_id=int(tokenizer.end_of_text or 0), allowed_max_length=context, mask_instructions=True
    )
    answers = list(DataLoader(InstructionDataset(records, tokenizer, STYLE), BATCH, collate_fn=collate))
    of_answers, tokens = evaluate(model, answers), sum(map(count_targets, answers))
    answer_bytes = sum(len(record["output"].encode()) for record in records)
    return {
        "text": {
            "nats_per_token": of_text,
            "bits_per_byte": bits_per_byte(of_text, len(encoded.validation), encoded.validation_bytes),
            "windows": sum(len(batch[0]) for batch in windows),
        },
        "answers": {
            "nats_per_token": of_answers,
            "bits_per_byte": bits_per_byte(of_answers, tokens, answer_bytes),
            "records": len(records),
        },
    }
