"""Running a demo as a reader would, and holding what it prints against figures.

Figures may differ by one unit in their last decimal: sums are taken in another order on other machines, and the book
itself has 1.6754 in one version and 1.6755 in another. Whole numbers may not differ.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BOOK, TORCH = "the book", "PyTorch"
BANNER = re.compile(r"^== (.+) ==$", re.MULTILINE)
NUMBER = re.compile(r"-?\d{1,3}(?:,\d{3})+|-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")


class Figure(NamedTuple):
    """The section, the words before the figures, the figures, and who printed them."""

    section: str
    label: str
    numbers: str
    printed_by: str = BOOK


def run(demo: str, *arguments: str, **environment: str) -> str:
    """What the demo prints; a demo that fails, or prints to stderr, fails the test."""
    result = subprocess.run(
        [sys.executable, "-W", "error", f"demos/{demo}.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def section(output: str, number: str) -> str:
    """What was printed between the banner of a section and the next banner."""
    banners = [*BANNER.finditer(output)]
    for banner, following in zip(banners, [*banners[1:], None], strict=True):
        if banner[1].startswith(f"{number} "):
            return output[banner.end() : following.start() if following else len(output)]
    raise AssertionError(f"no banner of section {number}")


def check(output: str, figure: Figure) -> None:
    """The numbers printed after the label are the figure's, to the decimals that it has."""
    text = section(output, figure.section)
    assert figure.label in text
    expected = figure.numbers.split()
    found = NUMBER.findall(text[text.index(figure.label) + len(figure.label) :])[: len(expected)]
    assert len(found) == len(expected), figure
    for ours, theirs in zip(found, expected, strict=True):
        decimals = len(theirs.partition(".")[2])
        slack = 1.01 * 10.0**-decimals if "." in theirs else 0.0
        assert abs(float(ours.replace(",", "")) - float(theirs)) <= slack, (figure, found)
