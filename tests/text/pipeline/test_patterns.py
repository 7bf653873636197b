"""Oniguruma's patterns, as `regex` runs them."""

import pytest

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text.pipeline.patterns import Pattern


@pytest.mark.parametrize(
    ("source", "text", "found"),
    [
        (r"\p{N}{1,3}", "12345", ["123", "45"]),
        (r"a{2}+", "aaaaa", ["aaaa"]),  # a repetition of a repetition
        (r"a{2}?b", "aab ab", ["aab", "b"]),  # an optional "aa"
        (r"a++b", "aaab", ["aaab"]),
        (r"^.|.$", "ab\ncd", ["a", "b", "c", "d"]),  # the ends of each line
        (r"(?m:a.b)", "a\nb", ["a\nb"]),  # the dot matches a line break
        (r"\h+", "xyz0fg", ["0f"]),
        (r"[a-z&&[^c-x]]+", "abcxyz", ["ab", "yz"]),
        (r"[[:punct:]]+", "a!?b", ["!?"]),
        (r"[(\s|[.,])]+", "a (.b", [" (."]),  # a class within a class
        (r"(a)(?<name>b)", "ab", ["ab"]),  # groups capture nothing
        (r"[--/]+", "a-./", ["-./"]),
        (r"\w", "²", ["²"]),
        (r"[\w]", "²", []),
        (r"\x{41}\x42\u0043", "ABC", ["ABC"]),
        (r"(?i)'s", "'ſ", ["'ſ"]),
        (r"a\Z|b\z", "a\n", ["a"]),
    ],
)
def test_patterns_match_what_oniguruma_matches(source: str, text: str, found: list[str]) -> None:
    assert Pattern(source, "here").findall(text) == found


def test_characters_that_are_younger_than_unicode_16_are_no_letters() -> None:
    letters = Pattern(r"\p{L}+", "here")
    assert letters.findall("a\U00016ea0b\U0003d000") == ["a", "b"] and list(letters.spans("\u0088f")) == [(1, 2)]
    assert Pattern(r"\p{Ll}", "here").findall("\u0295") == ["\u0295"]


def test_an_empty_match_directly_after_another_match_is_left_out() -> None:
    assert list(Pattern("x*", "here").spans("axb")) == [(0, 0), (1, 2), (3, 3)]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (r"(a)\1", "is not known here"),
        (r"\y", "escape"),
        ("(a", "pattern"),
        ("[a", "no end"),
        ("[]", "is empty"),
        ("*a", "nothing stands before"),
        (r"(?P<x>a)", "group"),
        (r"\p{Nonsense}", "pattern"),
        (r"\xFF", "no character"),
        ("[[:print:]]", "class"),
        ("a" * 30_000, "may have 20000"),
        ("(" * 5000 + ")" * 5000, "not supported"),
    ],
)
def test_what_is_not_understood_is_refused(source: str, message: str) -> None:
    with pytest.raises(TokenizerError, match=message) as caught:
        Pattern(source, "normalizer.pattern")
    assert str(caught.value).startswith("normalizer.pattern: ") and len(str(caught.value)) < 400
