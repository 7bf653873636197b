"""Computable instructions: right answers, wordings and contents held out, the same from the same seed."""

import re
from typing import Any

import pytest

from tinygrad_llm.data.computed_instructions import (
    FRAMES,
    HELD_OUT_FRAMES,
    TASKS,
    instruction_tasks,
)
from tinygrad_llm.data.exercises import NOUNS, past_tense, pluralise
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator


def content(record: dict[str, str]) -> str:
    """What a record asks about, wherever it says so."""
    return record["input"] or re.search("'(.*)'", record["instruction"]).group(1)


# The answer worked out once more, from the record's words alone.
CHECKS = {
    "reverse_letters": lambda x, said: "".join(reversed(x)),
    "reverse_words": lambda x, said: " ".join(reversed(x.split())),
    "sort_words": lambda x, said: " ".join(sorted(x.split())),
    "count_words": lambda x, said: str(x.count(" ") + 1),
    "first_word": lambda x, said: x.partition(" ")[0],
    "second_word": lambda x, said: x.split()[1],
    "last_word": lambda x, said: x.rpartition(" ")[2],
    "longest_word": lambda x, said: sorted(x.split(), key=len)[-1],
    "join_with_hyphens": lambda x, said: x.replace(" ", "-"),
    "initials": lambda x, said: "".join(re.findall(r"\b\w", x)).upper(),
    "uppercase": lambda x, said: x.upper(),
    "lowercase": lambda x, said: x.lower(),
    "capitalise": lambda x, said: x.title(),
    "first_letter": lambda x, said: x[0],
    "last_letter": lambda x, said: x[-1],
    "spell": lambda x, said: re.sub(r"(?<=.)(?=.)", "-", x),
    "count_letters": lambda x, said: str(len(x)),
    "remove_vowels": lambda x, said: re.sub("[aeiou]", "", x),
    "sort_numbers": lambda x, said: ", ".join(sorted(x.split(", "), key=int)),
    "largest_number": lambda x, said: sorted(x.split(", "), key=int)[-1],
    "smallest_number": lambda x, said: sorted(x.split(", "), key=int)[0],
    "count_numbers": lambda x, said: str(x.count(",") + 1),
    "add": lambda x, said: str(eval(x.replace("and", "+"))),
    "subtract": lambda x, said: str(abs(eval(x.replace("and", "-")))),
    "multiply": lambda x, said: str(eval(x.replace("and", "*"))),
    "even_or_odd": lambda x, said: ["even", "odd"][int(x[-1]) % 2],
    "next_number": lambda x, said: str(int(x) + 1),
    "extract_number": lambda x, said: re.search(r"\d+", x).group(),
    "count_letter": lambda x, said: str(x.count(the_letter(said))),
    "contains_letter": lambda x, said: ["no", "yes"][the_letter(said) in x],
    "repeat": lambda x, said: " ".join(
        [x] * (2 + ["two", "three", "four"].index(re.search("two|three|four", said).group()))
    ),
}


def the_letter(said: Any) -> Any:
    return re.search(r"\b([b-z]|a(?! letter))\b", re.sub("'.*?'|a letter", "", said)).group()


def test_there_are_many_kinds_and_wordings() -> None:
    assert len(TASKS) >= 20
    for kind, task in TASKS.items():
        assert len(task.requests) >= 4, kind
        assert len(task.held_out_requests) >= 2, kind
        assert not set(task.requests) & set(task.held_out_requests), kind
        for request in (*task.requests, *task.held_out_requests):
            assert request.count("{x}") == 1, request
    assert not set(FRAMES) & set(HELD_OUT_FRAMES)


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("kind", TASKS)
def test_answers_are_right(kind: str, held_out: bool) -> None:
    records = instruction_tasks(40, Generator(7), [kind], held_out, held_out)
    assert {bool(record["input"]) for record in records} == {True, False}
    for record in records:
        assert record["kind"] == kind
        assert record["output"]
        assert record["instruction"][0].isupper()
        assert "{" not in record["instruction"]
        if kind in CHECKS:
            assert CHECKS[kind](content(record), record["instruction"]) == record["output"], record


def test_kinds_that_name_words_in_their_request() -> None:
    for record in instruction_tasks(60, Generator(8), ["remove_word", "replace_word"]):
        request = re.sub(" '.*'", "", record["instruction"]).rstrip("?.").lower()
        named = {word for word in request.replace(",", "").split() if word in NOUNS}
        before, after = content(record).split(), record["output"].split()
        if record["kind"] == "remove_word":
            assert after == [word for word in before if word not in named]
            assert len(after) == len(before) - 1
        else:
            changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
            assert len(changed) == 1
            assert set(changed[0]) == named


def test_grammar() -> None:
    assert [pluralise(noun) for noun in ("box", "city", "boy", "church", "dog", "bus")] == [
        "boxes",
        "cities",
        "boys",
        "churches",
        "dogs",
        "buses",
    ]
    assert [past_tense(verb) for verb in ("bake", "cry", "play", "walk")] == ["baked", "cried", "played", "walked"]
    for record in instruction_tasks(20, Generator(1), ["plural"]):
        number, noun = content(record).split()
        assert record["output"] == f"{number} {pluralise(noun)}"
    for record in instruction_tasks(20, Generator(1), ["past_tense"]):
        *who, verb = content(record).split()
        assert record["output"] == " ".join([*who, past_tense(verb)])


def test_the_same_seed_gives_the_same_records() -> None:
    assert instruction_tasks(50, Generator(3)) == instruction_tasks(50, Generator(3))
    assert instruction_tasks(50, Generator(3)) != instruction_tasks(50, Generator(4))


def test_what_is_held_out_is_never_trained_on() -> None:
    def asked(records: list[Any]) -> set[str]:
        return {re.sub(" '.*'", "", r["instruction"]) for r in records}

    def contents(records: list[Any]) -> set[Any]:
        return {(r["kind"], content(r), r["output"]) for r in records}

    seen = instruction_tasks(4000, Generator(0))
    tested = instruction_tasks(1000, Generator(0), held_out_wordings=True, held_out_contents=True)
    assert not asked(seen) & asked(tested)
    beginnings = tuple(frame.partition("{")[0] for frame in HELD_OUT_FRAMES)
    assert all(record["instruction"].startswith(beginnings) for record in tested)
    assert not contents(seen) & contents(tested)
    new_words = instruction_tasks(300, Generator(1), held_out_wordings=True)
    assert not asked(seen) & asked(new_words)
    assert contents(seen) & contents(new_words)


def test_unknown_kinds_are_refused() -> None:
    for kinds in (["rhyme"], []):
        with pytest.raises(ConfigError, match="kinds must be among reverse_letters"):
            instruction_tasks(1, Generator(0), kinds)
