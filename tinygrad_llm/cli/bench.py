"""Measure how fast a training step is here, where its time and memory go, and how its cost grows."""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from collections.abc import Callable
from typing import Any

from tinygrad_llm.cli.train import expect_bytes, expect_memory
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure.benchmark import Benchmark, measure, training_bytes
from tinygrad_llm.measure.data_scaling import TextPoint, measure_texts
from tinygrad_llm.measure.peak_memory import HighWaterMark
from tinygrad_llm.measure.products_alone import PEAK_SIZE
from tinygrad_llm.measure.scaling import BASE, Growth, measure_growth
from tinygrad_llm.measure.training_step import PRESETS, Workload
from tinygrad_llm.models import GPT
from tinygrad_llm.nn.init import no_initial_values
from tinygrad_llm.random import manual_seed
from tinygrad_llm.train import StatusLine
from tinygrad_llm.train.environment import arithmetic_environment

DEFAULT_PRESET = "0.8M"
WARMUP = 2
AIM = 0.85  # of a step in its own products: what is left is a readable engine's price
DATA_SIZES = [1.0, 10.0]  # MB
OF_A_PRESET = ("preset", "batch_size", "context_length", "steps", "warmup")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.argument_default = argparse.SUPPRESS
    parser.add_argument("--preset", choices=PRESETS, help=f"the GPT that is trained (default: {DEFAULT_PRESET})")
    parser.add_argument("--batch-size", type=int, metavar="N", help="sequences in a step (default: the preset's)")
    parser.add_argument("--context-length", type=int, metavar="N", help="tokens in each (default: the preset's)")
    parser.add_argument("--steps", type=int, metavar="N", help="steps that are measured (default: the preset's)")
    parser.add_argument("--warmup", type=int, metavar="N", help=f"steps before them (default: {WARMUP})")
    parser.add_argument("--seed", type=int, metavar="N", help="of the first weights (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    parser.add_argument(
        "--scaling",
        action="store_true",
        help="instead, how the cost of a small GPT grows with context, batch, width and vocabulary (about a minute)",
    )
    parser.add_argument(
        "--data-scale",
        type=float,
        nargs="*",
        metavar="MB",
        help=f"instead, memory and speed with texts of these sizes, made up for it (default: {DATA_SIZES})",
    )


def run(arguments: argparse.Namespace) -> int:
    given = vars(arguments)
    as_json, seed = given.get("json", False), given.get("seed", 0)
    say, progress = _voices(as_json)
    manual_seed(seed)  # which refuses what is no seed, before anything is printed
    if "data_scale" in given:
        _expect_alone("data_scale", given)
        return _scale_data(given["data_scale"] or DATA_SIZES, seed, as_json, say, progress)
    if given.get("scaling", False):
        _expect_alone("scaling", given)
        return _scale(seed, as_json, say, progress)
    mark = HighWaterMark()
    name, warmup = given.get("preset", DEFAULT_PRESET), given.get("warmup", WARMUP)
    workload = _workload(PRESETS[name], given, warmup)
    expect_room_for(workload)
    environment = arithmetic_environment()
    if not as_json:
        say(_introduction(name, workload, environment))
    result = measure(workload, workload.steps, warmup, seed, progress, mark)
    if as_json:
        print(json.dumps({"preset": name, "environment": environment, **result.to_dict()}, indent=1))
    else:
        say(_summary(result))
        say(_parts(result))
    return 0


def _expect_alone(flag: str, given: dict[str, Any]) -> None:
    if named := [name for name in (*OF_A_PRESET, "scaling") if name in given and name != flag]:
        ours, other = (name.replace("_", "-") for name in (flag, named[0]))
        raise ConfigError(f"--{ours} has sizes of its own; leave out --{other}")


def _voices(as_json: bool) -> tuple[Callable[[str], None], Callable[[str], None]]:
    """What prints lines that stay, and what shows how far it is: nothing, where JSON must stand alone."""
    if as_json:
        return print, lambda _: None
    status = StatusLine()
    return status.say, lambda text: status.renew(lambda: f"  {text}")


def _workload(preset: Workload, given: dict[str, Any], warmup: int) -> Workload:
    config = preset.config
    if "context_length" in given:
        config = dataclasses.replace(config, context_length=given["context_length"])
    workload = Workload(config, given.get("batch_size", preset.batch_size), given.get("steps", preset.steps))
    for flag, number in {"--batch-size": workload.batch_size, "--steps": workload.steps, "--warmup": warmup}.items():
        if number < 1:
            raise ConfigError(f"{flag} must be at least 1; got {number}")
    return workload


def expect_room_for(workload: Workload) -> None:
    """Refuse what cannot fit: first by its weights alone, then, with these made, by what it keeps for the backward."""
    expect_memory(workload.config)
    with no_initial_values():
        model = GPT(workload.config)
    expect_bytes(training_bytes(model, workload))


def _introduction(name: str, workload: Workload, environment: dict[str, str]) -> str:
    config = workload.config
    return (
        f"a training step of the preset {name}: a GPT of {config.num_layers} layers, {config.num_heads} heads, "
        f"{config.embedding_dim} wide,\n{config.vocab_size:,} tokens in its vocabulary, reading "
        f"{workload.batch_size} x {config.context_length} tokens; forward, backward, clipping and AdamW in float32\n"
        f"({environment['blas']}, threads: {environment['threads']}; 1 GFLOP is a billion multiplications and "
        "additions)\n"
    )


def _summary(result: Benchmark) -> str:
    median, least, most = result.tokens_per_second
    step, alone = statistics.median(result.step_seconds), statistics.median(result.product_seconds)
    kept, count = result.memory, len(result.step_seconds)
    peak = "unknown here" if result.peak_memory is None else f"{_megabytes(result.peak_memory)} at most"
    rows = {
        "tokens a second": f"{median:,.0f} (slowest step {least:,.0f}, fastest {most:,.0f}; {count} "
        f"step{'s' * (count > 1)})",
        "a step": f"{_milliseconds(step)}: {result.operations / 1e9:,.3g} GFLOP of matrix products, at "
        f"{result.step_speed / 1e9:,.1f} GFLOP/s, {result.step_speed / result.peak_speed:.0%} of the best",
        "its products alone": f"{_milliseconds(alone)}, at {result.product_speed / 1e9:,.1f} GFLOP/s: "
        f"{result.product_share:.0%} of the step (the aim is {AIM:.0%})",
        "the best": f"{result.peak_speed / 1e9:,.1f} GFLOP/s: a product of two squares of {PEAK_SIZE:,} rows",
        "memory": f"{peak}, beyond what was held before the model",
        "of it, counted": f"{_megabytes(kept.training)}: weights {_megabytes(kept.parameters)}, gradients "
        f"{_megabytes(kept.gradients)}, AdamW {_megabytes(kept.optimizer)}, activations {_megabytes(kept.activations)}",
    }
    return "\n".join(f"{name:<20}{what}" for name, what in rows.items())


def _parts(result: Benchmark) -> str:
    whole = result.observed_seconds - result.watching
    lines = [f"\n{'where one step went':<28}{'forward':>12}{'backward':>12}{'share':>8}"]
    for name, (there, back) in result.parts.items():
        lines.append(f"{name:<28}{_milliseconds(there):>12}{_milliseconds(back):>12}{(there + back) / whole:>8.1%}")
    alone = {"clipping and AdamW": result.optimizer, "the engine": result.engine, "together": whole}
    lines += [f"{name:<28}{'':12}{_milliseconds(taken):>12}{taken / whole:>8.1%}" for name, taken in alone.items()]
    lines.append(
        "(the engine: the order of the walk back, handing gradients on and adding them up, letting activations go)"
    )
    return "\n".join(lines)


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:,.2f} ms"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _scale(seed: int, as_json: bool, say: Callable[[str], None], progress: Callable[[str], None]) -> int:
    config = BASE.config
    if not as_json:
        say(
            f"how the cost of a training step grows, one size at a time, from a GPT of {config.num_layers} layers, "
            f"{config.num_heads} heads, {config.embedding_dim} wide,\n{config.vocab_size} tokens in its vocabulary, "
            f"reading {BASE.batch_size} x {config.context_length} tokens: twice the size costs 2^exponent times as much"
        )
    grown = []
    for growth in measure_growth(seed=seed, progress=progress):
        grown.append(growth)
        if not as_json:
            say(_growth(growth))
    if as_json:
        axes = {growth.axis: growth.to_dict() for growth in grown}
        base = {"model": config.to_dict(), "batch_size": BASE.batch_size}
        print(json.dumps({"base": base, "environment": arithmetic_environment(), "axes": axes}, indent=1))
    return 0


def _growth(growth: Growth) -> str:
    lines = [f"\n{growth.axis:>12}{'a step':>14}{'tokens/s':>12}{'GFLOP':>12}"]
    for point in growth.points:
        lines.append(
            f"{point.size:>12,}{_milliseconds(point.seconds):>14}{point.tokens_per_second:>12,.0f}"
            f"{point.operations / 1e9:>12.3f}"
        )
    lines.append(f"{'exponent':>12}{growth.exponent:>14.2f}{'':12}{growth.exponent_of_operations:>12.2f}")
    return "\n".join(lines)


def _scale_data(
    megabytes: list[float], seed: int, as_json: bool, say: Callable[[str], None], progress: Callable[[str], None]
) -> int:
    points: list[TextPoint] = []
    for point in measure_texts(megabytes, seed, progress):
        if not as_json and not points:
            say(
                "made-up texts, each read once, encoded by a BPE tokenizer into a file of ids, and trained on by a GPT"
                ";\nmemory is all that this process held at most meanwhile, Python and NumPy included"
            )
            say(f"\n{'text':>10}{'tokens':>14}{'read':>14}{'encoded':>12}{'memory':>12}{'trained':>18}{'memory':>12}")
        points.append(point)
        if not as_json:
            say(_text_row(point))
    if as_json:
        texts = [dataclasses.asdict(point) for point in points]
        print(json.dumps({"environment": arithmetic_environment(), "texts": texts}, indent=1))
    return 0


def _text_row(point: TextPoint) -> str:
    read, encoded = (point.bytes / 1e6 / seconds for seconds in (point.reading_seconds, point.encoding_seconds))
    memory = ["unknown" if one is None else _megabytes(one) for one in (point.encoding_memory, point.training_memory)]
    return (
        f"{point.bytes / 1e6:>7,.1f} MB{point.tokens:>14,}{read:>9,.1f} MB/s{encoded:>7,.1f} MB/s{memory[0]:>12}"
        f"{point.tokens_per_second:>9,.0f} tokens/s{memory[1]:>12}"
    )
