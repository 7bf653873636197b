"""The flags of sampling, the same for every command that writes text: --temperature, --top-k, ... and --seed."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import TYPE_CHECKING

from tinygrad_llm.cli.flags import add_flags, seed_number
from tinygrad_llm.generate.sampling_settings import SamplingSettings

if TYPE_CHECKING:
    from tinygrad_llm.generate.sampling import Sampling


def add_sampling_flags(parser: argparse.ArgumentParser, defaults: SamplingSettings) -> None:
    """Add a flag for each setting of sampling, with its value in `defaults` in the help, and --seed."""
    add_flags(parser, defaults)
    parser.add_argument(
        "--seed", type=seed_number, metavar="N", help="seed of the random numbers: the same seed writes the same text"
    )


def sampling_of(arguments: argparse.Namespace, defaults: SamplingSettings) -> Sampling:
    """The sampling that the flags ask for. Raises ConfigError naming the setting outside its range."""
    from tinygrad_llm.generate.sampling import Sampling

    values = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(SamplingSettings)}
    named = {name: value for name, value in values.items() if value is not None}
    return Sampling.from_dict({**defaults.to_dict(), **named})


def seed_of(arguments: argparse.Namespace, sampling: Sampling, silent: bool = False) -> int:
    """The --seed, or else a random seed, which is told on standard error if `sampling` needs one and not `silent`."""
    if arguments.seed is not None:
        return int(arguments.seed)
    import secrets

    seed = secrets.randbits(32)
    if not sampling.greedy and not silent:
        print(f"sampling with --seed {seed}", file=sys.stderr)
    return seed
