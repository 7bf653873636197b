"""Show a run: its layers, shapes, parameters, memory, settings and loss curve; or the configuration that repeats it."""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.cli.config_file import as_toml
from tinygrad_llm.errors import DataError
from tinygrad_llm.runs.hints import command
from tinygrad_llm.runs.memory import BYTES_PER_PARAMETER
from tinygrad_llm.runs.plan import FLAT_NAMES
from tinygrad_llm.runs.summary import RunSummary, newest_run, summary_of
from tinygrad_llm.study.formatting import format_bytes, format_count, format_shape, wrap
from tinygrad_llm.terminal import columns, for_terminal, is_terminal, sparkline

LONG_VALUE = 40  # characters
BLOCK = re.compile(r"\.\d+\.")  # the number of a layer in the name of a parameter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_folder", nargs="?", type=Path, metavar="RUN", help="run folder (default: the newest)")
    parser.add_argument(
        "--config", action="store_true", help="print the TOML file that repeats the run with `train --config FILE`"
    )


def run(arguments: argparse.Namespace) -> int:
    folder = arguments.run_folder or newest_run(ARCHITECTURES.keys(), "a model", "train")
    found = summary_of(folder)
    if arguments.config:
        print(configuration_of(found), end="")
        return 0
    width = columns() if is_terminal() else sys.maxsize
    for line in page_of(found):
        print(for_terminal("\n".join(wrap(line, width)) if len(line) > width else line))
    return 0


def page_of(found: RunSummary) -> Iterator[str]:
    """The lines of `show RUN`."""
    saved = time.strftime("%d %b %Y %H:%M", time.localtime(found.saved_at))
    words = ARCHITECTURES[found.model_type].words
    yield f"{found.path}: {words} of {found.parameters:,} parameters, by `{found.made_by}`, saved {saved}"
    if "imported_from" in found.config:
        yield f"imported from {found.config['imported_from']}"
    yield ""
    yield from layer_table(found.shapes)
    weights = 4 * found.parameters
    yield f"memory: weights {format_bytes(weights)}, training at least " + format_bytes(
        BYTES_PER_PARAMETER * found.parameters
    )
    for title, part in settings_of(found).items():
        yield f"\n{title}"
        yield from settings_table(part)
    yield from loss_curve(found)


def layer_table(shapes: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """Parameters by name, those of equal layers in one row: name, shape, how many such layers, numbers in all."""
    rows: dict[tuple[str, tuple[int, ...]], int] = {}
    for name, shape in sorted(shapes.items(), key=lambda item: _in_order(item[0])):
        key = (BLOCK.sub(".*.", name), shape)
        rows[key] = rows.get(key, 0) + 1
    width = max([len(name) for name, _ in rows] + [9])
    yield f"{'parameter':<{width}}  {'shape':>12}  {'layers':>6}  {'numbers':>13}"
    for (name, shape), count in rows.items():
        yield f"{name:<{width}}  {format_shape(shape):>12}  {count:>6}  {count * math.prod(shape):>13,}"
    yield f"{'total':<{width}}  {'':>12}  {'':>6}  {sum(map(math.prod, shapes.values())):>13,}"


def _in_order(name: str) -> tuple[int, list[Any]]:
    """Embeddings, then blocks by their number, then the rest."""
    place = 0 if "embedding" in name else 1 if BLOCK.search(name) else 2
    return place, [int(part) if part.isdigit() else -1 for part in name.split(".")]


def settings_of(found: RunSummary) -> dict[str, dict[str, Any]]:
    """The settings by their part of the run: model, data or options, training."""
    config = found.config
    parts = {"model": config.get("model"), "options": config.get("options"), "training": config.get("training")}
    if not config.get("task"):
        names = ("data", "tokenizer", "tokenizer_vocab_size", "vocab_sample", "ids")
        parts["options"] = {name: config[name] for name in names if name in config}
    return {name: part for name, part in parts.items() if isinstance(part, dict) and part}


def settings_table(settings: Mapping[str, Any]) -> Iterator[str]:
    """Settings as `name value`, in as many columns as the terminal has room for."""
    shown = {name: str(value) for name, value in settings.items() if not isinstance(value, dict | list)}
    cells = [
        f"{name} {value.replace(',', ', ') if len(value) > LONG_VALUE else value}"  # so that a list can be wrapped
        for name, value in shown.items()
        if value
    ]
    width = max([len(cell) for cell in cells if len(cell) <= 36] + [10]) + 2
    across = max(1, (columns() - 3) // width)
    line = ""
    for cell in cells:
        if line and (len(cell) >= width or len(line) + len(cell) > across * width):
            yield "  " + line.rstrip()
            line = ""
        line += cell.ljust(width * -(-len(cell) // width))
    if line:
        yield "  " + line.rstrip()


def loss_curve(found: RunSummary) -> Iterator[str]:
    """The losses of the log as sparklines, with the first and the last value."""
    for title, name in (("training loss", "train_loss"), ("validation loss", "val_loss")):
        if losses := found.losses(name):
            curve = sparkline(losses, max(10, columns() - 48), sys.stdout)
            yield ("\n" if name == "train_loss" else "") + (
                f"{title:<15}  {losses[0]:.3f} {curve} {losses[-1]:.3f}  ({format_count(len(losses), 'value')})"
            )


def configuration_of(found: RunSummary) -> str:
    """The TOML file that repeats a run, from its own record. Raises: DataError for a model that was imported"""
    from tinygrad_llm.cli import build_parser
    from tinygrad_llm.finetune.lora import SCALING_OF_OLD_FILES

    config = found.config
    if not isinstance(config.get("training"), dict):
        raise DataError(f"{found.path} was imported, not trained: there is no training to repeat")
    words = found.made_by.split()
    page = build_parser(words[:1]).page_of(words)
    written = {new: old for old, new in FLAT_NAMES.items()}
    settings: dict[str, Any] = {}
    if task := config.get("task"):
        settings |= {"model": config.get("base")}
    else:
        settings |= {"architecture": found.model_type}
    for title, part in settings_of(found).items():
        if title == "model" and task:  # follows from the base or the options
            continue
        named = {name: value for name, value in part.items() if (title, name) != ("model", "vocab_size")}
        settings |= {written.get(name, name): value for name, value in named.items()}
    if settings.get("tokenizer") != "bpe" and not task:
        settings = {name: value for name, value in settings.items() if name not in ("vocab_size", "vocab_sample")}
    if "lora_alpha" in settings:
        settings.setdefault("lora_scaling", SCALING_OF_OLD_FILES)
    note = ""
    if config.get("workers_chosen_by") == "auto":  # the best number elsewhere may be another
        note = f"# auto chose {settings['workers']} here; the same number gives the same last bits\n"
        settings["workers"] = "auto"
    again = command(*words, "--config", "run.toml", "--out", f"{found.path}-again")
    return f"# repeats {found.path}: {again}\n{as_toml(settings, page)}{note}"
