"""Numbers as text, and lines wrapped at the width of the terminal."""

import pytest

from tinygrad_llm.study.formatting import (
    format_bytes,
    format_count,
    format_shape,
    format_time,
    terminal_width,
    text_width,
    wrap,
)


def test_numbers_as_text() -> None:
    assert [format_shape(shape) for shape in ((), (3,), (2, 3))] == ["scalar", "3", "2×3"]
    assert [format_time(seconds) for seconds in (2e-6, 0.00123, 1.5)] == ["2 µs", "1.2 ms", "1500.0 ms"]
    assert [format_bytes(count) for count in (12, 1234, 123_456, 5_000_000_000)] == [
        "12 B",
        "1.2 KB",
        "123 KB",
        "5.0 GB",
    ]
    assert [format_count(count, "case") for count in (0, 1, 1000)] == ["0 cases", "1 case", "1,000 cases"]


@pytest.mark.parametrize(("columns", "table", "text"), [("80", 80, 80), ("160", 160, 100), ("5", 40, 40)])
def test_the_width_is_that_of_the_terminal_within_limits(
    monkeypatch: pytest.MonkeyPatch, columns: str, table: int, text: int
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert (terminal_width(), text_width()) == (table, text)


def test_lines_are_wrapped_at_spaces_with_a_hanging_indent() -> None:
    assert wrap("  one two three", 9) == ["  one two", "      three"]
    assert wrap("a-word-longer-than-the-width", 10) == ["a-word-longer-than-the-width"]
    assert wrap("", 10) == [""]
