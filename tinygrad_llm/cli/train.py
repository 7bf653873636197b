"""Train a language model on a text, from nothing to a sample of what it writes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from tinygrad_llm.architectures import DEFAULT_PRESET, Architecture, taken_by
from tinygrad_llm.cli.flags import add_flags, add_run_flags
from tinygrad_llm.cli.sizes import count_of, short_count
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.runs.environment import crowding
from tinygrad_llm.runs.life_cycle import Request, assist, carry_out
from tinygrad_llm.runs.pretraining import DEFAULT_ARCHITECTURE, DEFAULT_TRAINING, Pretraining, TextOptions
from tinygrad_llm.runs.pretraining_report import FINAL_EVALUATION_BATCHES
from tinygrad_llm.runs.progress import StatusLine
from tinygrad_llm.train.parallel.mpi import MPICommunicator, join_launch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.argument_default = argparse.SUPPRESS  # so that a resumed run can tell what was asked for
    parser.epilog = (
        "All cores share the work (--workers). Several machines can: mpiexec -n 2 tinygrad-llm train ..., with "
        "pip install 'tinygrad-llm[mpi]'; each process has its own workers."
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="the text to train on, the same as --data")
    add_run_flags(parser.add_argument_group("run"), out="runs/gpt")
    add_flags(parser.add_argument_group("text and tokenizer"), TextOptions(), silent=("data",))
    add_model_flags(parser)
    add_flags(parser.add_argument_group("training"), DEFAULT_TRAINING)


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """The flags of the architecture, its preset, and the settings of each architecture that `train` takes."""
    model = parser.add_argument_group("model")
    architectures = taken_by("train")
    model.add_argument(
        "--architecture",
        choices=[architecture.name for architecture in architectures],
        help=f"the kind of model (default: {DEFAULT_ARCHITECTURE})",
    )
    model.add_argument(
        "--preset",
        metavar="NAME",
        help=f"sizes to start from, with their parameters: {', '.join(preset_sizes(architectures))} "
        f"(default: {DEFAULT_PRESET})",
    )
    model.add_argument(
        "--size",
        type=count_of,
        metavar="N",
        help="parameters of the model, such as 300K or 5M: sets layers, heads of 32, and a width near 64 per layer",
    )
    explained = {"vocab_size"}  # which the tokenizer decides
    for architecture in architectures:
        group = model
        if architecture.name != DEFAULT_ARCHITECTURE:
            group = parser.add_argument_group(f"model of --architecture {architecture.name}")
        add_flags(group, architecture.config, leave_out=tuple(explained))
        explained |= set(architecture.config.__dataclass_fields__)


def preset_sizes(architectures: Sequence[Architecture]) -> list[str]:
    """`micro (2.2M)`: each preset with the number of parameters of the first architecture that has it."""
    sizes: dict[str, str] = {}
    for architecture in architectures:
        for name in architecture.presets.keys() - sizes.keys():
            config = architecture.config.from_dict(architecture.presets[name])
            sizes[name] = f"{name} ({short_count(architecture.parameters(config))})"
    return list(sizes.values())


def run(arguments: argparse.Namespace) -> int:
    communicator, status, processes = join_launch(), StatusLine(), 1
    if communicator.rank:
        return assist(communicator, FINAL_EVALUATION_BATCHES)
    if isinstance(communicator, MPICommunicator):
        processes = communicator.processes_here
        if warning := crowding(processes, communicator.cores_here):
            status.say(f"warning: {warning}")
    given = vars(arguments)
    if "file" in given:
        if "data" in given and "data" not in given.get("config", ()):
            raise ConfigError("give the text once: as FILE or as --data")
        given["data"] = given["file"]
    request = Request.of_flags(given, out="runs/gpt")
    return carry_out(Pretraining(processes), request, status, communicator)
