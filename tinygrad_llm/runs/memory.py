"""Refuse a model that cannot fit this machine's memory, before anything is allocated."""

from __future__ import annotations

import os
from typing import Any

from tinygrad_llm.architectures import architecture_of_config
from tinygrad_llm.errors import ConfigError

BYTES_PER_PARAMETER = 16  # float32: the weight, its gradient, and AdamW's two moments


def expect_memory(config: Any, processes: int = 1) -> None:
    """Refuse to train a model of this config where it cannot fit: a system short of memory kills, it does not refuse.

    `processes` is how many train on this machine, each with a model of its own. Raises: ConfigError
    """
    needed = BYTES_PER_PARAMETER * architecture_of_config(config).parameters(config) * processes
    expect_bytes(needed, f" by {processes} processes" if processes > 1 else "")


def expect_bytes(needed: int, by_whom: str = "") -> None:
    """Refuse a training that needs more bytes than this machine's memory has. Raises: ConfigError"""
    if not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > memory:
        raise ConfigError(
            f"a model of these sizes needs at least {min(needed // 10**9, 10**9):,} GB of memory to be trained"
            f"{by_whom}; this machine has {memory // 10**9} GB: choose smaller sizes"
        )
