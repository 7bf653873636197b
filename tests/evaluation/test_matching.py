"""What is extracted from an answer, and what the comparison ignores."""

from typing import Any

import pytest

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.evaluation.matching import NO_MATCH, extract, matches
from tinygrad_llm.evaluation.task_settings import TaskSettings


@pytest.mark.parametrize(
    ("text", "settings", "expected"),
    [
        (" a b\n", {}, "a b"),
        (" a b\n", {"filter": "none"}, " a b\n"),
        ("from 12 to -1,234.50.", {"filter": "first-number"}, "12"),
        ("from 12 to -1,234.50.", {"filter": "last-number"}, "-1234.50"),
        ("none", {"filter": "last-number"}, NO_MATCH),
        ("so #### 42 or #### 43", {"filter": "regex", "regex": r"#### (\d+)"}, "42"),
        ("yes, or no", {"filter": "regex", "regex": r"(maybe)|(no)"}, "no"),
        ("yes, or no", {"filter": "regex", "regex": "or "}, "or"),
        ("yes", {"filter": "regex", "regex": "no"}, NO_MATCH),
    ],
)
def test_what_is_extracted(text: str, settings: dict[str, Any], expected: str) -> None:
    assert extract(text, TaskSettings(**settings)) == expected


@pytest.mark.parametrize(
    ("extracted", "answers", "settings", "expected"),
    [
        ("a", [" a"], {}, True),
        ("a", [" a"], {"filter": "none"}, False),
        ("A", ["b", "a"], {}, False),
        ("A", ["b", "a"], {"ignore_case": True}, True),
        ("a-b!", ["ab"], {"ignore_punctuation": True}, True),
        ("a1b22", ["ab"], {"ignore_numbers": True}, True),
        ("the end", ["end"], {"ignore": ("the ", "$")}, True),
        ("1000", ["1,000 francs"], {"filter": "first-number"}, True),
        (NO_MATCH, ["many"], {"filter": "first-number"}, False),
    ],
)
def test_whether_it_matches(extracted: str, answers: list[str], settings: dict[str, Any], expected: bool) -> None:
    assert matches(extracted, answers, TaskSettings(**settings)) is expected


def test_settings_outside_their_range() -> None:
    for settings, said in (
        ({"filter": "first"}, "filter must be one of strip, none"),
        ({"regex": "a"}, "filter regex and regex belong together"),
        ({"ignore": ("[",)}, r"ignore must be a regular expression; got '\['"),
        ({"stop": ("",)}, "stop must be texts, none of them empty"),
        ({"votes": 0}, r"votes must be an integer in \[1, 10000\]"),
        ({"temperature": 0}, "temperature must be a finite number above 0"),
    ):
        with pytest.raises(ConfigError, match=said):
            TaskSettings(**settings)  # type: ignore[arg-type]
