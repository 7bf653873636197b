"""The size of the base model: the best for the minutes, by this machine's speed and a scaling law.

With 20 minutes or more, the law is fitted to nine small trainings on the same text with the same tokenizer. With fewer,
it is the recorded one, which `python demos/scaling_law.py --full` has measured.
"""

from __future__ import annotations

import dataclasses
import io
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.errors import DataError
from tinygrad_llm.measure.scaling_law import ScalingLaw, Speed, TrainedPoint, fit_law
from tinygrad_llm.measure.shared_step import SharedStep
from tinygrad_llm.measure.training_step import Workload
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.encoding import EncodedText, encoded_before, split_of
from tinygrad_llm.runs.model_size import sizes_for
from tinygrad_llm.runs.pretraining import Pretraining, training_text
from tinygrad_llm.runs.run_folder import read_config
from tinygrad_llm.runs.summary import summary_of
from tinygrad_llm.speedrun.journal import SpeedrunSettings
from tinygrad_llm.text import load_tokenizer
from tinygrad_llm.train.evaluation import bits_per_byte

ARCHITECTURE = "llama"  # rotary positions copy words from the question with less training than learned positions
VOCABULARY = 1024  # tokens
CONTEXT, ROWS = 128, 16  # tokens, and sequences per batch
SPEED_SIZES = (100_000, 800_000, 3_200_000)  # parameters; the last one only where there is time for it
LEAST_SECONDS_OF_THREE = 10.0
OPTIMIZER = "muon"
WARMUP_STEPS = 40  # of the learning rate
FINAL_SHARE = 0.05  # of the peak learning rate, at the end
LEAST_STUDIED = 45_000  # parameters
TIMES = (1, 2, 4)  # lengths of the small trainings
WARMUP_CALLS = 2
LEAST_CALLS = 3

# Bits per byte: fitted to the eleven trainings of `python demos/scaling_law.py --full` on `python-library`. They are
# 1.3% from it in the mean, 2.6% at most.
RECORDED = ScalingLaw(1.1046, 2414.5, 0.79, 55.71, 0.31)
LEAST_CHARACTERS = 10_000  # so that the validation part is longer than a context
CHARACTERS_PER_TOKEN = 2.58  # of python-library with this vocabulary


def config_of(parameters: int) -> Any:
    """The config of a model of about so many parameters, as `train --size` makes it."""
    architecture = ARCHITECTURES[ARCHITECTURE]
    settings = {**architecture.preset(None), "context_length": CONTEXT, "vocab_size": VOCABULARY}
    return architecture.config_from({**settings, **sizes_for(architecture, settings, parameters)})


def pretraining(asked: SpeedrunSettings, ids: Path, size: int) -> list[str]:
    """The command that trains a base model of this size, but for its steps and its run folder."""
    settings = {
        "data": asked.data,
        "vocab_size": VOCABULARY,
        "ids": ids,
        "architecture": ARCHITECTURE,
        "size": size,
        "context_length": CONTEXT,
        "batch_size": ROWS,
        **optimization(asked, learning_rate_for(size)),
    }
    return ["train", *as_flags(settings)]


def optimization(asked: SpeedrunSettings, learning_rate: float, optimizer: str = OPTIMIZER) -> dict[str, Any]:
    """Settings that all trainings of a speedrun share."""
    return {
        "optimizer": optimizer,
        "learning_rate": learning_rate,
        "min_learning_rate": float(f"{FINAL_SHARE * learning_rate:.2g}"),
        "warmup_steps": WARMUP_STEPS,
        "workers": asked.workers,
        "seed": asked.seed,
    }


def learning_rate_for(parameters: int) -> float:
    """The peak learning rate for a model of so many parameters: it falls with the root of the size.

    >>> learning_rate_for(500_000), learning_rate_for(8_000_000), learning_rate_for(1_000)
    (0.006, 0.0015, 0.01)
    """
    return float(f"{min(0.01, 0.006 * math.sqrt(500_000 / parameters)):.2g}")


def as_flags(settings: Mapping[str, Any]) -> list[str]:
    """`--batch-size 16` for each setting."""
    return [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def measured_speeds(
    asked: SpeedrunSettings, seconds: float, progress: Callable[[str], None] = lambda _: None
) -> list[dict[str, float]]:
    """Tokens per second of training steps at SPEED_SIZES, shared by workers as in training: the median over the steps
    that fit into an equal share of `seconds`.
    """
    found = []
    sizes = SPEED_SIZES if seconds >= LEAST_SECONDS_OF_THREE else SPEED_SIZES[:2]
    for size in sizes:
        progress(f"measuring the speed at {size:,} parameters")
        config = config_of(size)
        ends, times = time.monotonic() + seconds / len(sizes), list[float]()
        with SharedStep(Workload(config, ROWS, 0), asked.workers, asked.seed, OPTIMIZER) as step:
            for _ in range(WARMUP_CALLS):
                step()
            while len(times) < LEAST_CALLS or time.monotonic() < ends:
                started = time.perf_counter()
                step()
                times.append(time.perf_counter() - started)
        parameters = ARCHITECTURES[ARCHITECTURE].parameters(config)
        found.append({"parameters": parameters, "tokens_per_second": ROWS * CONTEXT / statistics.median(times)})
    return found


def speed_of(speeds: Sequence[dict[str, float]]) -> Speed:
    """The line through measured speeds."""
    return Speed.of_measurements(
        [int(one["parameters"]) for one in speeds], [one["tokens_per_second"] for one in speeds]
    )


def study_grid(best: int, speed: Speed, seconds: float) -> Iterator[tuple[int, int]]:
    """Sizes and steps of nine trainings that take `seconds` together: `best`, the best size by the recorded law, a
    half and a quarter of it, each with D, 2 D and 4 D tokens. On a slow machine, where steps are few, some are alike.
    """
    sizes = [max(best // share, LEAST_STUDIED) for share in (4, 2, 1)]
    tokens = seconds / sum(sum(TIMES) / float(speed.tokens(size, 1.0)) for size in sizes)
    for size in sizes:
        for times in TIMES:
            yield size, max(2 * WARMUP_STEPS, round(times * tokens / (ROWS * CONTEXT)))


def point_of(run: Path, encoded: EncodedText) -> TrainedPoint:
    """A finished training as a point of the scaling law, in bits per byte of the validation text."""
    summary = summary_of(run)
    loss = summary.validation_loss
    if loss is None:
        raise DataError(f"{run} must have a validation loss in its log; it was deleted: begin in another folder")
    training: dict[str, Any] = summary.config["training"]
    tokens = summary.step * training["batch_size"] * training["grad_accumulation"] * CONTEXT
    bits = bits_per_byte(loss, len(encoded.validation), encoded.validation_bytes)
    return TrainedPoint(summary.parameters, tokens, bits)


def encoded_text(run: Path, ids: Path) -> EncodedText:
    """The ids of the text that a pretraining run was trained on. Raises: DataError if they were deleted"""
    encoded = encoded_before(ids, str(read_config(run).get("data_sha256")), load_tokenizer(run))
    if encoded is None:
        raise DataError(f"{ids} must hold the token ids that {run} was trained on; they were deleted or damaged")
    return encoded


def unique_tokens(data: str) -> int:
    """About how many training tokens the text has, before its tokenizer is trained.

    Raises: DataError for a text that cannot be read, or is too short
    """
    text = training_text(Pretraining().new_plan({"data": data}), StatusLine(io.StringIO()))
    if (characters := text.survey.characters) < LEAST_CHARACTERS:
        raise DataError(f"--data must have at least {LEAST_CHARACTERS:,} characters; {data} has {characters:,}")
    return round(split_of(text) / CHARACTERS_PER_TOKEN)


def law_of(points: Sequence[TrainedPoint], unique: float) -> dict[str, Any]:
    """The law fitted to points, for the journal."""
    return {"law": fit_law(points, unique).to_dict(), "points": [dataclasses.asdict(point) for point in points]}
