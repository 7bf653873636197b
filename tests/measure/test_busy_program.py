"""The busy program runs while the block lasts, and not after."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from tinygrad_llm.measure.busy_program import busy_program


def test_it_ends_with_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []

    class Recorded(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    with pytest.raises(KeyboardInterrupt), busy_program():
        assert started[0].poll() is None
        raise KeyboardInterrupt
    assert started[0].poll() is not None
    with busy_program(running=False):
        assert len(started) == 1
