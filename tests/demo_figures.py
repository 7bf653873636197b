"""Running a demo as a reader would, and comparing what it prints with the figures of `tests/demos/figures/`.

Figures may differ by one unit in their last decimal: sums are taken in another order on other machines, and the book
itself has 1.6754 in one version and 1.6755 in another. Whole numbers may not differ.
"""

import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "tests" / "demos" / "figures"
BANNER = re.compile(r"^== (.+) ==$", re.MULTILINE)
NUMBER = re.compile(r"-?\d{1,3}(?:,\d{3})+|-?\d+(?:\.\d*)?(?:e[+-]?\d+)?")


class Figure(NamedTuple):
    """Numbers that a section of a demo prints after a label, and who printed them first.

    `printed_by` is the book or its public repository; "PyTorch" where the book shows no numbers and PyTorch 2.13 gave
    them for the same steps; "the book's plot" for values that the book computes and shows as a picture only.
    In `numbers`, "50256*7" stands for 50256 seven times.
    """

    section: str
    label: str
    numbers: str
    printed_by: str = "the book"

    def each_number(self) -> list[str]:
        pairs = [word.partition("*") for word in self.numbers.split()]
        return [number for number, _, times in pairs for _ in range(int(times or 1))]


@dataclass(frozen=True)
class DemoFigures:
    """One file of `tests/demos/figures/`."""

    slow: bool  # whether a run of the demo takes longer than a few seconds
    comparisons: int = 0  # printed lines "largest difference X" of a step written out and the package's: X is rounding
    equalities: int = 0  # printed lines "same ...: True"
    agreement_needs_texts: bool = False
    titles: Sequence[str] = ()  # the sections, as the book names them
    figures: Sequence[Figure] = ()  # need no text
    figures_of_the_texts: Sequence[Figure] = ()  # need the book's texts
    lines_of_the_texts: Sequence[str] = ()
    rows_of_the_messages: Sequence[str] = ()
    without_texts: Mapping[str, Sequence[str]] = field(default_factory=dict)  # a run where no text is at hand


def read_figures(path: Path) -> DemoFigures:
    fields = tomllib.loads(path.read_text(encoding="utf-8"))
    for name in ("figures", "figures_of_the_texts"):
        fields[name] = [Figure(*row) for row in fields.get(name, ())]
    return DemoFigures(**fields)


FIGURES = {path.stem: read_figures(path) for path in sorted(FOLDER.glob("*.toml"))}


def run(demo: str, *arguments: str, **environment: str) -> str:
    """Return what the demo prints; a demo that fails, or prints to stderr, fails the test."""
    result = subprocess.run(
        [sys.executable, "-W", "error", f"demos/{demo}.py", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **environment},
        capture_output=True,
        encoding="utf-8",
        timeout=900,
    )
    assert (result.returncode, result.stderr) == (0, ""), result.stderr
    return result.stdout


def section(output: str, number: str) -> str:
    """Return what was printed between the banner of a section and the next banner."""
    banners = [*BANNER.finditer(output)]
    for banner, following in zip(banners, [*banners[1:], None], strict=True):
        if banner[1].startswith(f"{number} "):
            return output[banner.end() : following.start() if following else len(output)]
    raise AssertionError(f"no banner of section {number}")


def check(output: str, figure: Figure) -> None:
    """The numbers printed after the label must be the figure's, to the decimals that it has."""
    text = section(output, figure.section)
    assert figure.label in text
    expected = figure.each_number()
    found = NUMBER.findall(text[text.index(figure.label) + len(figure.label) :])[: len(expected)]
    assert len(found) == len(expected), figure
    for ours, theirs in zip(found, expected, strict=True):
        decimals = len(theirs.partition(".")[2])
        tolerance = 1.01 * 10.0**-decimals if "." in theirs else 0.0
        assert abs(float(ours.replace(",", "")) - float(theirs)) <= tolerance, (figure, found)


def percentages(text: str, label: str) -> list[float]:
    """Return the percentages on the line that begins with the label."""
    line = next(line for line in text.splitlines() if line.startswith(label))
    return [float(number) for number in re.findall(r"(\d+\.\d+)%", line)]
