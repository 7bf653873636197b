"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """Whether the check passed, what it observed (with figures), and the usual cause where it failed."""

    ok: bool
    observed: str
    cause: str = ""

    def __str__(self) -> str:
        return f"ok     {self.observed}" if self.ok else f"WRONG  {self.observed}. Usual cause: {self.cause}"
