"""Another busy program, to measure what it costs a training: on a laptop there always is one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

COUNTS = """
import os
started_by = os.getppid()
while os.getppid() == started_by:  # it ends with the program that started it
    for _ in range(1_000_000):
        pass
"""


@contextmanager
def busy_program(running: bool = True) -> Iterator[None]:
    """A process that computes without pause on one core while the block lasts; none if `running` is false."""
    if not running:
        yield
        return
    process = subprocess.Popen([sys.executable, "-S", "-c", COUNTS], stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()
