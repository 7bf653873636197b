"""The tape as a table that fits the terminal."""

import re

import numpy as np
import pytest
from recorded_gpt import recorded
from tiny_gpt import tiny

from tinygrad_llm import Tensor, study
from tinygrad_llm.study.tape import Tape


@pytest.fixture(scope="module")
def tape() -> Tape:
    return recorded(tiny())


def test_the_table_is_aligned_and_not_too_wide() -> None:
    model = tiny(dtype=np.float32)
    title, head, *lines = recorded(model).table(160).splitlines()
    assert re.fullmatch(
        r"50 operations, 50 backward calls; forward .+, backward .+; [\d.]+ KB made, [\d.]+ KB kept for backward", title
    )
    assert max(map(len, [head, *lines])) <= 160
    rows = [line for line in lines if line[:2].strip().isdigit()]
    assert len(rows) == 50 and [line for line in lines if line not in rows] == ["GPT", "blocks.0", "blocks.1", "GPT"]
    at = head.index("output")
    assert {row[at - 2 : at] for row in rows} == {"  "} and all(row[at] != " " for row in rows)
    assert str(study.Tape()).startswith("0 operations")


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_the_table_fits_the_width_and_names_the_columns_left_out(tape: Tape, width: int) -> None:
    table = tape.table(width)
    assert max(map(len, table.splitlines())) <= width
    left_out = re.findall(r"mean±std|reads|called at", table.partition("wider terminal also:")[2])
    assert ("mean±std" in left_out) == (width < 160)
    assert ("|dy|" in table.partition("terminal")[0]) == (width > 60)


def test_the_width_is_that_of_the_terminal(tape: Tape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert str(tape) == tape.table(80) != tape.table(160)
    assert max(max(map(len, str(entry).splitlines())) for entry in tape) <= 80


def test_non_finite_elements_are_reported() -> None:
    with study.record() as tape:
        Tensor([0.0, 1.0], requires_grad=True).log()
    assert "50% not finite" in tape.table(40) and "50% not finite" in str(tape[0])
