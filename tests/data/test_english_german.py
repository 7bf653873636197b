"""English sentences and their German translations: the rules of both languages, and combinations held out."""

import re
from typing import Any

import pytest

from tinygrad_llm import Generator
from tinygrad_llm.data import sentence_pairs
from tinygrad_llm.data.choices import is_held_out
from tinygrad_llm.data.english_german import (
    HELD_OUT_SHARE,
    MODALS,
    OF_PEOPLE,
    OF_THINGS,
    PEOPLE,
    THINGS,
    VERBS,
    Clause,
    NounPhrase,
)
from tinygrad_llm.errors import ConfigError

NOUNS = {noun.english: noun for noun in (*PEOPLE, *THINGS)}
VERB = {verb.base: verb for verb in VERBS}


def phrase(text: str, plural: bool = False, companion: NounPhrase | None = None) -> NounPhrase:
    if text in ("I", "he", "she", "we", "they"):
        return NounPhrase(None, text in ("we", "they"), pronoun=text)
    article, *adjective, noun = text.split()
    return NounPhrase(NOUNS[noun], plural, article, "".join(adjective), companion)


@pytest.mark.parametrize(
    ("text", "plural", "english", "nominative", "accusative", "dative"),
    [
        ("the dog", False, "the dog", "der Hund", "den Hund", "dem Hund"),
        ("the old dog", False, "the old dog", "der alte Hund", "den alten Hund", "dem alten Hund"),
        ("a old dog", False, "an old dog", "ein alter Hund", "einen alten Hund", "einem alten Hund"),
        ("a heavy book", False, "a heavy book", "ein schweres Buch", "ein schweres Buch", "einem schweren Buch"),
        ("my white cat", False, "my white cat", "meine weiße Katze", "meine weiße Katze", "meiner weißen Katze"),
        ("our horse", True, "our horses", "unsere Pferde", "unsere Pferde", "unseren Pferden"),
        ("a big lamp", True, "big lamps", "große Lampen", "große Lampen", "großen Lampen"),
        ("the car", True, "the cars", "die Autos", "die Autos", "den Autos"),
        (
            "her small knife",
            True,
            "her small knives",
            "ihre kleinen Messer",
            "ihre kleinen Messer",
            "ihren kleinen Messern",
        ),
    ],
)
def test_articles_and_adjectives_agree(
    text: str, plural: bool, english: str, nominative: str, accusative: str, dative: str
) -> None:
    found = phrase(text, plural)
    assert found.english() == english
    assert [found.german(case) for case in ("nominative", "accusative", "dative")] == [nominative, accusative, dative]
    if found.article == "a":
        assert found.german("accusative", no=True).startswith("kein")


@pytest.mark.parametrize(
    ("meaning", "english", "second", "first", "last"),
    [
        (
            ("she", "pick up", "present", False, "the ball"),
            "she picks up the ball",
            "sie hebt den Ball auf",
            "hebt sie den Ball auf",
            "sie den Ball aufhebt",
        ),
        (
            ("I", "pick up", "perfect", True, "the ball"),
            "I have not picked up the ball",
            "ich habe den Ball nicht aufgehoben",
            "habe ich den Ball nicht aufgehoben",
            "ich den Ball nicht aufgehoben habe",
        ),
        (
            ("we", "put away", MODALS[1], True, "a hat"),
            "we do not want to put away a hat",
            "wir wollen keinen Hut wegräumen",
            "wollen wir keinen Hut wegräumen",
            "wir keinen Hut wegräumen wollen",
        ),
        (
            ("he", "look for", "present", True, "my key"),
            "he does not look for my key",
            "er sucht meinen Schlüssel nicht",
            "sucht er meinen Schlüssel nicht",
            "er meinen Schlüssel nicht sucht",
        ),
        (
            ("they", "see", MODALS[0], True, "a book"),
            "they cannot see a book",
            "sie können kein Buch sehen",
            "können sie kein Buch sehen",
            "sie kein Buch sehen können",
        ),
    ],
)
def test_verbs_move(meaning: tuple[Any, ...], english: str, second: str, first: str, last: str) -> None:
    subject, verb, tense, negated, thing = meaning
    clause = Clause(phrase(subject), VERB[verb], phrase(thing), tense, negated)
    assert clause.english() == english
    assert [clause.german(order) for order in ("second", "first", "last")] == [second, first, last]


def test_a_time_in_front_exchanges_verb_and_subject_and_companions_are_dative() -> None:
    subject = phrase("the girl", companion=phrase("a dog"))
    clause = Clause(subject, VERB["buy"], phrase("a letter"), "present", False, "today", True)
    assert clause.english() == "today the girl with a dog buys a letter"
    assert clause.german() == "heute kauft das Mädchen mit einem Hund einen Brief"


def test_held_out_combinations_are_in_every_held_out_sentence_and_in_no_other() -> None:
    singular = {form: noun.english for noun in NOUNS.values() for form in (noun.english, noun.english_plural)}
    adjective = re.compile(rf"\b({'|'.join(OF_PEOPLE | OF_THINGS)}) (\w+)")
    forms = {form: verb.base for verb in VERBS for form in (verb.base, verb.third, verb.participle)}

    def adjectives_held_out(source: str) -> bool:
        return any(is_held_out(f"{word} {singular[noun]}", HELD_OUT_SHARE) for word, noun in adjective.findall(source))

    def verbs_held_out(source: str) -> bool:
        verbs = [base for form, base in forms.items() if f" {form} " in source]
        nouns = [singular[word] for word in re.findall(r"\w+", source) if word in singular]
        return any(is_held_out(f"{verb} {noun}", HELD_OUT_SHARE) for verb in verbs for noun in nouns)

    training, held_out = sentence_pairs(500, Generator(1)), sentence_pairs(100, Generator(2), held_out=True)
    assert not any(adjectives_held_out(source) for source, _ in training)
    assert all(adjectives_held_out(source) or verbs_held_out(source) for source, _ in held_out)
    for source, target in [*training, *held_out]:
        assert re.fullmatch(r"[A-Z][A-Za-z ]*(, [A-Za-z ]+)?\.", source)
        assert re.fullmatch(r"[A-ZÄÖÜ][A-Za-zÄÖÜäöüß ]+(, [A-Za-zÄÖÜäöüß ]+)?\.", target)


def test_the_same_seed_gives_the_same_sentences() -> None:
    assert sentence_pairs(20, Generator(3)) == sentence_pairs(20, Generator(3)) != sentence_pairs(20, Generator(4))
    with pytest.raises(ConfigError, match="count"):
        sentence_pairs(0, Generator(0))
