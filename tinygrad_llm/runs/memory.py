"""Refuse a model that cannot fit this machine's memory, before anything is allocated."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.architectures import architecture_of_config
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.train.parallel.cores_and_memory import usable_memory

BYTES_PER_PARAMETER = 16  # float32: the weight, its gradient, and AdamW's two moments


def expect_memory(config: Any, processes: int = 1) -> None:
    """Refuse to train a model of this config that does not fit the memory; the system would kill the process instead.

    `processes` is the number of processes that train on this machine, each with its own copy of the model, which its
    workers share.

    Raises: ConfigError
    """
    by_whom = f" by {processes} processes" if processes > 1 else ""
    expect_bytes(BYTES_PER_PARAMETER * architecture_of_config(config).parameters(config) * processes, by_whom)


def expect_batch(config: Any, rows: int) -> None:
    """Refuse a batch of `rows` sequences whose training step cannot fit, before it is put together.

    The estimate is low: the logits and two arrays of each layer, for sequences of half the context. Raises: ConfigError
    """
    numbers = config.vocab_size + 2 * config.num_layers * config.embedding_dim
    needed = 4 * rows * max(config.context_length // 2, 1) * numbers
    _expect_to_fit(needed, f"a batch of {rows:,} sequences", "in a training step", "choose a smaller --batch-size")


def expect_bytes(needed: int, by_whom: str = "") -> None:
    """Refuse a training that needs more bytes than this machine's memory has. Raises: ConfigError"""
    _expect_to_fit(needed, "a model of these sizes", f"to be trained{by_whom}", "choose smaller sizes")


def _expect_to_fit(needed: int, what: str, purpose: str, advice: str) -> None:
    memory = usable_memory()
    if memory is not None and needed > memory:
        raise ConfigError(
            f"{what} needs at least {min(needed // 10**9, 10**9):,} GB of memory {purpose}; this process may use "
            f"{memory // 10**9} GB: {advice}"
        )
