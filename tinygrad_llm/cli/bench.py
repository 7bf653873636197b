"""Measure the speed and memory of a training step on this machine, and how its cost grows with sizes."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Sequence
from typing import Any

from tinygrad_llm.architectures import ARCHITECTURES, architecture_of_config, taken_by
from tinygrad_llm.cli.flags import add_flags, expect_at_least, seed_number
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure.benchmark import Benchmark, measure, training_bytes
from tinygrad_llm.measure.busy_program import busy_program
from tinygrad_llm.measure.data_scaling import TextPoint, measure_texts
from tinygrad_llm.measure.peak_memory import HighWaterMark
from tinygrad_llm.measure.products_alone import PEAK_SIZE
from tinygrad_llm.measure.scaling import BASE, Growth, measure_growth
from tinygrad_llm.measure.training_step import PRESETS, Workload, preset_of
from tinygrad_llm.nn.init import no_initial_values
from tinygrad_llm.random import manual_seed
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.environment import arithmetic_environment
from tinygrad_llm.runs.memory import expect_bytes, expect_memory
from tinygrad_llm.study.formatting import format_count, text_width, wrap
from tinygrad_llm.train.settings import TrainingSettings

DEFAULT_ARCHITECTURE, DEFAULT_PRESET = "gpt", "0.8M"
WARMUP = 2
AIM = 0.85  # share of a step's time in its matrix products
DATA_SIZES = (1.0, 10.0)  # MB
PRESET_FLAGS = ("architecture", "preset", "batch_size", "context_length", "steps", "warmup", "workers", "busy")
LABEL_WIDTH = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument(
        "--architecture",
        choices=[architecture.name for architecture in taken_by("bench")],
        help=f"kind of model to train (default: {DEFAULT_ARCHITECTURE})",
    )
    parser.add_argument(
        "--preset",
        choices=PRESETS,
        help=f"parameters of the model, with a batch size; smoke: a quick test (default: {DEFAULT_PRESET})",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="sequences per step (default: the preset's)")
    parser.add_argument("--context-length", type=int, metavar="N", help="tokens per sequence (default: the preset's)")
    parser.add_argument("--steps", type=int, metavar="N", help="training steps to measure (default: the preset's)")
    parser.add_argument("--warmup", type=int, metavar="N", help=f"training steps before these (default: {WARMUP})")
    add_flags(
        parser, TrainingSettings(), leave_out=[name for name in TrainingSettings().to_dict() if name != "workers"]
    )
    parser.add_argument("--busy", action="store_true", help="keep one core busy with another program meanwhile")
    parser.add_argument("--seed", type=seed_number, metavar="N", help="seed of the initial weights (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument(
        "--scaling",
        action="store_true",
        help="measure instead how the cost of a small GPT grows with context length, batch size, embedding size and "
        "vocabulary (about a minute)",
    )
    parser.add_argument(
        "--data-scale",
        type=float,
        nargs="*",
        metavar="MB",
        help="measure instead the memory and speed of training on random texts of these sizes (default: "
        f"{' and '.join(f'{size:g}' for size in DATA_SIZES)} MB)",
    )


def run(arguments: argparse.Namespace) -> int:
    given = vars(arguments)
    seed = given.get("seed", 0)
    output = _Output(given.get("json", False))
    manual_seed(seed)
    if "data_scale" in given:
        _expect_alone("data_scale", given)
        return _measure_texts(given["data_scale"] or DATA_SIZES, seed, output)
    if given.get("scaling", False):
        _expect_alone("scaling", given)
        return _measure_growth(seed, output)
    return _measure_step(given, seed, output)


def _expect_alone(flag: str, given: dict[str, Any]) -> None:
    if named := [name for name in (*PRESET_FLAGS, "scaling") if name in given and name != flag]:
        flag, other = (name.replace("_", "-") for name in (flag, named[0]))
        raise ConfigError(f"--{flag} has its own sizes; leave out --{other}")


class _Output:
    """Prints tables and, on a terminal, progress; with --json only one JSON object."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        self._status = StatusLine()

    def text(self, text: str, indent: str = "") -> None:
        """Lines of text, wrapped at the width of the terminal."""
        if not self.as_json:
            for line in text.split("\n"):
                self._status.say("\n".join(wrap(line, text_width(), indent)))

    def progress(self, text: str) -> None:
        if not self.as_json:
            self._status.renew(lambda: f"  {text}")

    def json(self, value: dict[str, Any]) -> None:
        if self.as_json:
            print(json.dumps(value, indent=1))


# -- one training step


def _measure_step(given: dict[str, Any], seed: int, output: _Output) -> int:
    mark = HighWaterMark()
    name, warmup = given.get("preset", DEFAULT_PRESET), given.get("warmup", WARMUP)
    architecture = ARCHITECTURES[given.get("architecture", DEFAULT_ARCHITECTURE)]
    workload = _workload(preset_of(architecture, name), given, warmup)
    expect_room_for(workload)
    environment, busy = arithmetic_environment(), given.get("busy", False)
    workers = TrainingSettings(workers=given.get("workers", "auto")).workers
    output.text(_introduction(name, workload, environment))
    with busy_program(busy):
        result = measure(workload, workload.steps, warmup, seed, output.progress, mark, workers)
    for label, text in _summary(result).items():
        output.text(f"{label:<{LABEL_WIDTH}}{text}", " " * LABEL_WIDTH)
    output.text(_parts(result))
    output.json({"preset": name, "environment": environment, "busy": busy, **result.to_dict()})
    return 0


def _workload(preset: Workload, given: dict[str, Any], warmup: int) -> Workload:
    config = preset.config
    if "context_length" in given:
        config = dataclasses.replace(config, context_length=given["context_length"])
    workload = Workload(config, given.get("batch_size", preset.batch_size), given.get("steps", preset.steps))
    expect_at_least(1, batch_size=workload.batch_size, steps=workload.steps, warmup=warmup)
    return workload


def expect_room_for(workload: Workload) -> None:
    """Refuse sizes that do not fit the memory: first by the weights alone, then with the activations.

    Raises: ConfigError
    """
    expect_memory(workload.config)
    with no_initial_values():
        model = architecture_of_config(workload.config).begin(workload.config)
    expect_bytes(training_bytes(model, workload))


def _introduction(name: str, workload: Workload, environment: dict[str, str]) -> str:
    return (
        f"One training step of the preset {name}: {_model_in_words(workload)}; "
        "forward, backward, clipping and AdamW in float32.\n"
        f"({environment['blas']}, kernels: {environment['kernels']}, threads: {environment['threads']}; 1 GFLOP is a "
        "billion multiplications and additions)\n"
    )


def _model_in_words(workload: Workload) -> str:
    config = workload.config
    counts = [("num_layers", "layers"), ("num_heads", "heads")]
    sizes = [f"{getattr(config, name)} {words}" for name, words in counts if hasattr(config, name)]
    sizes.append(f"embedding size {config.embedding_dim}")
    return (
        f"{architecture_of_config(config).words} with {', '.join(sizes)} and a vocabulary of {config.vocab_size:,} "
        f"tokens, on {workload.batch_size} x {config.context_length} tokens"
    )


def _summary(result: Benchmark) -> dict[str, str]:
    median, slowest, fastest = result.tokens_per_second
    step, alone = statistics.median(result.step_seconds), statistics.median(result.product_seconds)
    memory, count = result.memory, len(result.step_seconds)
    rows, sharing = result.workload.batch_size, "one process"
    if result.workers > 1:
        sharing = f"{result.workers} workers, which divide the {rows} rows of the batch"
    if result.workers > rows:
        sharing += f"; {result.workers - rows} of them have none: use fewer"
    return {
        "shared by": sharing,
        "tokens per second": f"{median:,.0f} (slowest step {slowest:,.0f}, fastest {fastest:,.0f}; "
        f"{format_count(count, 'step')})",
        "time per step": f"{_milliseconds(step)}: {result.operations / 1e9:,.3g} GFLOP of matrix products, at "
        f"{result.step_speed / 1e9:,.1f} GFLOP/s, {result.step_speed / result.peak_speed:.0%} of the peak",
        "products alone": f"{_milliseconds(alone)}, at {result.product_speed / 1e9:,.1f} GFLOP/s: "
        f"{result.product_share:.0%} of the step (the aim is {AIM:.0%})",
        "peak speed": f"{result.peak_speed / 1e9:,.1f} GFLOP/s: the product of two square matrices of "
        f"{PEAK_SIZE:,} rows",
        "peak memory": "unknown on this system"
        if result.peak_memory is None
        else f"{_megabytes(result.peak_memory)} above the memory held before the model",
        "counted memory": f"{_megabytes(memory.training)}: weights {_megabytes(memory.parameters)}, gradients "
        f"{_megabytes(memory.gradients)}, AdamW {_megabytes(memory.optimizer)}, activations "
        f"{_megabytes(memory.activations)}",
    }


def _parts(result: Benchmark) -> str:
    total = result.observed_seconds - result.watching
    title = "time of one step" if result.workers == 1 else "time of a worker's rows"
    lines = [f"\n{title:<28}{'forward':>12}{'backward':>12}{'share':>8}"]
    for name, (forward, backward) in result.parts.items():
        times = f"{_milliseconds(forward):>12}{_milliseconds(backward):>12}"
        lines.append(f"{name:<28}{times}{(forward + backward) / total:>8.1%}")
    others = {"clipping and AdamW": result.optimizer, "the engine": result.engine, "together": total}
    lines += [f"{name:<28}{'':12}{_milliseconds(time):>12}{time / total:>8.1%}" for name, time in others.items()]
    lines.append("(the engine: ordering the graph, adding gradients up, freeing activations)")
    return "\n".join(lines)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.2f} ms"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


# -- growth with the model's sizes


def _measure_growth(seed: int, output: _Output) -> int:
    config = BASE.config
    output.text(
        f"The cost of a training step as one size grows, from {_model_in_words(BASE)}. Twice the size costs 2^exponent "
        "times as much."
    )
    axes = {}
    for growth in measure_growth(seed=seed, progress=output.progress):
        output.text(_growth_table(growth))
        axes[growth.axis] = growth.to_dict()
    base = {"model": config.to_dict(), "batch_size": BASE.batch_size}
    output.json({"base": base, "environment": arithmetic_environment(), "axes": axes})
    return 0


def _growth_table(growth: Growth) -> str:
    lines = [f"\n{growth.axis:>12}{'time per step':>16}{'tokens/s':>12}{'GFLOP':>12}"]
    for point in growth.points:
        lines.append(
            f"{point.size:>12,}{_milliseconds(point.seconds):>16}{point.tokens_per_second:>12,.0f}"
            f"{point.operations / 1e9:>12.3f}"
        )
    lines.append(f"{'exponent':>12}{growth.exponent:>16.2f}{'':12}{growth.exponent_of_operations:>12.2f}")
    return "\n".join(lines)


# -- growth with the text


def _measure_texts(megabytes: Sequence[float], seed: int, output: _Output) -> int:
    points: list[TextPoint] = []
    for point in measure_texts(megabytes, seed, output.progress):
        if not points:
            output.text(
                "Random texts, each read once, encoded by a BPE tokenizer into a file of ids, and trained on by a GPT. "
                "Memory is the peak of this process, with Python and NumPy.\n"
            )
            output.text(
                f"{'text':>10}{'tokens':>12}{'read':>11}{'encoded':>11}{'memory':>10}{'trained':>16}{'memory':>10}"
            )
        points.append(point)
        output.text(_text_row(point))
    texts = [dataclasses.asdict(point) for point in points]
    output.json({"environment": arithmetic_environment(), "texts": texts})
    return 0


def _text_row(point: TextPoint) -> str:
    read, encoded = (
        f"{point.bytes / 1e6 / seconds:,.1f} MB/s" for seconds in (point.reading_seconds, point.encoding_seconds)
    )
    peaks = ["unknown" if peak is None else _megabytes(peak) for peak in (point.encoding_memory, point.training_memory)]
    speed = f"{point.tokens_per_second:,.0f} tokens/s"
    encoding = f"{_megabytes(point.bytes):>10}{point.tokens:>12,}{read:>11}{encoded:>11}{peaks[0]:>10}"
    return f"{encoding}{speed:>16}{peaks[1]:>10}"
