"""`torch.cuda`: none."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.torch.missing import missing_word


def is_available() -> bool:
    return False


def device_count() -> int:
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to seed."""


def manual_seed_all(seed: int) -> None:
    """Nothing to seed."""


def empty_cache() -> None:
    """Nothing to empty."""


def synchronize() -> None:
    """Nothing to wait for."""


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.cuda", name, globals()))
