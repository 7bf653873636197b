"""Generated reviews: the sentiment worked out once more from the text, mirror images, and what is held out."""

import re

import pytest

from tinygrad_llm import Generator
from tinygrad_llm.data import SENTIMENTS, LabelledText, sentiment_texts
from tinygrad_llm.data.sentiment import ADJECTIVES, KINDS, NEGATIONS, NEW_ADJECTIVES
from tinygrad_llm.errors import ConfigError

CLAUSE = re.compile(rf"the (\w+) is (?:({'|'.join(NEGATIONS)}) )?(\w+)")
POSITIVE = {*ADJECTIVES["positive"].split(), *NEW_ADJECTIVES["positive"].split()}


def judgement(clause: tuple[str, str, str]) -> str:
    return "positive" if (clause[2] in POSITIVE) != bool(clause[1]) else "negative"


def sentiment(text: str) -> str:
    """The sentiment of the clause that decides, found by the words around the two clauses."""
    text = text.lower()
    first, second = list(CLAUSE.finditer(text))
    before, between = text[: first.start()], text[first.end() : second.start()]
    clauses = [found.groups() for found in (first, second)]
    if between == " and ":
        assert judgement(clauses[0]) == judgement(clauses[1])
        return judgement(clauses[0])
    if re.search(r"\b(say|says|think|thinks) that $", before) and not re.search(r"\bi (think|find) that $", before):
        return judgement(clauses[1])
    if re.search(r"although $|even if $", before) or between in (", but ", ". still, "):
        return judgement(clauses[1])
    return judgement(clauses[0])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("held_out", [False, True])
def test_the_label_follows_from_the_text(kind: str, held_out: bool) -> None:
    reviews = sentiment_texts(300, Generator(3), [kind], held_out, "known" if held_out else "all")
    assert [sentiment(review.text) for review in reviews] == [review.label for review in reviews]
    assert 100 < sum(review.label == "positive" for review in reviews) < 200


def test_words_alone_decide_only_plain_reviews() -> None:
    for kind in KINDS[1:]:
        for review in sentiment_texts(100, Generator(4), [kind]):
            clauses = [found.groups() for found in CLAUSE.finditer(review.text.lower())]
            (thing, no, word), (other_thing, other_no, other_word) = clauses
            moved = [(thing, other_no, word), (other_thing, no, other_word)]  # the negation moves
            mirrored = moved if kind == "negation" else clauses[::-1]
            text = review.text.lower()
            for old, new in zip(list(CLAUSE.finditer(text))[::-1], mirrored[::-1], strict=True):
                clause = f"the {new[0]} is {new[1] + ' ' if new[1] else ''}{new[2]}"
                text = text[: old.start()] + clause + text[old.end() :]
            assert sorted(re.findall(r"\w+", text)) == sorted(re.findall(r"\w+", review.text.lower()))
            assert sentiment(text) != review.label


def test_held_out_combinations_are_in_no_training_review() -> None:
    def combinations(reviews: list[LabelledText]) -> list[set[tuple[str, str]]]:
        found = [CLAUSE.findall(review.text.lower()) for review in reviews]
        return [{(other, word) for thing, no, word in one for other in (thing, no) if other} for one in found]

    trained = set().union(*combinations(sentiment_texts(3000, Generator(5), adjectives="all")))
    for of_review in combinations(sentiment_texts(300, Generator(6), held_out=True)):
        assert of_review and not of_review & trained


def test_new_adjectives_are_in_no_review_with_known_ones() -> None:
    new = {word for words in NEW_ADJECTIVES.values() for word in words.split()}
    assert all(new & set(re.findall(r"\w+", one.text)) for one in sentiment_texts(50, Generator(7), adjectives="new"))
    assert not any(new & set(re.findall(r"\w+", review.text)) for review in sentiment_texts(500, Generator(7)))


def test_the_same_seed_gives_the_same_reviews_and_foreign_kinds_are_refused() -> None:
    assert sentiment_texts(20, Generator(8)) == sentiment_texts(20, Generator(8)) != sentiment_texts(20, Generator(9))
    assert set(SENTIMENTS) == {review.label for review in sentiment_texts(20, Generator(8))}
    for kinds in (["irony"], []):
        with pytest.raises(ConfigError, match="kinds must be among plain, negation"):
            sentiment_texts(1, Generator(0), kinds)
    with pytest.raises(ConfigError, match="adjectives"):
        sentiment_texts(1, Generator(0), adjectives="old")
