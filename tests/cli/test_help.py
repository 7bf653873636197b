"""`--help` of each command: every flag explained, and no default that says nothing."""

import argparse
from collections.abc import Iterator

import pytest

from tinygrad_llm.cli import Parser, build_parser


def all_parsers(parser: Parser) -> Iterator[Parser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from all_parsers(inner)


PARSERS = list(all_parsers(build_parser()))


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_the_help_tells_defaults_that_say_something(parser: Parser) -> None:
    page = " ".join(parser.format_help().split())
    assert "SUPPRESS" not in page and "default: None" not in page and "default: )" not in page
    assert "(default: [])" not in page and "%(" not in page


def test_a_default_of_0_is_told() -> None:
    (page,) = (parser.format_help() for parser in PARSERS if parser.prog.endswith("tinygrad-llm train"))
    assert "0: only after the last (default: 0)" in " ".join(page.split())


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.prog)
def test_each_page_fits_80_columns(parser: Parser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert [line for line in parser.format_help().splitlines() if len(line) > 80] == []
