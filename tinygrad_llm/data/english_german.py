"""English sentences and their German translations, from one grammar: agreement and word order have to be learned.

In German a noun has one of three genders; articles and adjectives agree with gender, number and case (*der rote Ball*,
but *den roten Ball* as an object and *mit dem roten Ball* after *mit*). The finite verb is second in a main clause and
last in a subordinate one; participles, infinitives and separable prefixes go to the end (*hebt den Ball auf*, *weil sie
den Ball aufgehoben hat*); a clause in front of the verb exchanges verb and subject. *Not a* is *kein*.

A sentence is drawn as a meaning, and each language writes it down by its own rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.choices import Choices, is_held_out
from tinygrad_llm.data.translation import Pair
from tinygrad_llm.random import Generator

HELD_OUT_SHARE = 8  # one in so many combinations of two words is never trained on


class Noun(NamedTuple):
    """The two forms of a noun in each language, and its German gender: m, f or n."""

    english: str
    english_plural: str
    german: str
    german_plural: str
    gender: str


class Verb(NamedTuple):
    """The forms of a transitive verb; a German separable `prefix` leaves the other forms, or is "-"."""

    base: str
    third: str
    participle: str
    german_first: str
    german_third: str
    german_plural: str
    german_participle: str
    prefix: str


def _table(lines: str) -> list[list[str]]:
    return [[word.replace("_", " ") for word in line.split()] for line in lines.strip().splitlines()]


PEOPLE = [
    Noun(*row)
    for row in _table("""
        brother brothers Bruder Brüder m
        sister sisters Schwester Schwestern f
        child children Kind Kinder n
        teacher teachers Lehrer Lehrer m
        girl girls Mädchen Mädchen n
        friend friends Freund Freunde m
        doctor doctors Arzt Ärzte m
        daughter daughters Tochter Töchter f
        son sons Sohn Söhne m
        aunt aunts Tante Tanten f
    """)
]
THINGS = [
    Noun(*row)
    for row in _table("""
        ball balls Ball Bälle m
        key keys Schlüssel Schlüssel m
        letter letters Brief Briefe m
        chair chairs Stuhl Stühle m
        hat hats Hut Hüte m
        lamp lamps Lampe Lampen f
        bag bags Tasche Taschen f
        flower flowers Blume Blumen f
        cup cups Tasse Tassen f
        bottle bottles Flasche Flaschen f
        book books Buch Bücher n
        picture pictures Bild Bilder n
        car cars Auto Autos n
        knife knives Messer Messer n
        boat boats Boot Boote n
        dog dogs Hund Hunde m
        cat cats Katze Katzen f
        horse horses Pferd Pferde n
    """)
]
ADJECTIVES = {"old": "alt", "small": "klein", "big": "groß", "beautiful": "schön", "strange": "seltsam", "good": "gut"}
OF_PEOPLE = {"young": "jung", "famous": "berühmt", "friendly": "freundlich", **ADJECTIVES}
OF_THINGS = {"black": "schwarz", "white": "weiß", "dirty": "schmutzig", "heavy": "schwer", **ADJECTIVES}
VERBS = [
    Verb(*row)
    for row in _table("""
        see sees seen sehe sieht sehen gesehen -
        buy buys bought kaufe kauft kaufen gekauft -
        sell sells sold verkaufe verkauft verkaufen verkauft -
        find finds found finde findet finden gefunden -
        need needs needed brauche braucht brauchen gebraucht -
        carry carries carried trage trägt tragen getragen -
        forget forgets forgotten vergesse vergisst vergessen vergessen -
        paint paints painted male malt malen gemalt -
        hide hides hidden verstecke versteckt verstecken versteckt -
        look_for looks_for looked_for suche sucht suchen gesucht -
        pick_up picks_up picked_up hebe hebt heben aufgehoben auf
        take_along takes_along taken_along nehme nimmt nehmen mitgenommen mit
        put_away puts_away put_away räume räumt räumen weggeräumt weg
        bring_back brings_back brought_back bringe bringt bringen zurückgebracht zurück
    """)
]
PRONOUNS = {"I": "ich", "he": "er", "she": "sie", "we": "wir", "they": "sie"}
TIMES = {"today": "heute", "now": "jetzt", "here": "hier"}
POSSESSIVES = {"my": "mein", "her": "ihr", "our": "unser"}
# English for I and plural subjects, for other singular subjects, and negated; German for singular and plural ones.
MODALS = [
    ("can", "can", "cannot", "kann", "können"),
    ("want to", "wants to", "not want to", "will", "wollen"),
    ("have to", "has to", "not have to", "muss", "müssen"),
]
BELIEFS = [("know", "knows", "weiß", "weiß", "wissen"), ("believe", "believes", "glaube", "glaubt", "glauben")]
CONJUNCTIONS = {"because": "weil", "although": "obwohl", "when": "wenn"}

# German endings by case, for masculine, feminine, neuter and plural.
THE = {"nominative": "der die das die", "accusative": "den die das die", "dative": "dem der dem den"}
EIN = {"nominative": "- e - e", "accusative": "en e - e", "dative": "em er em en"}
AFTER_THE = {"nominative": "e e e en", "accusative": "en e e en", "dative": "en en en en"}
AFTER_EIN = {"nominative": "er e es en", "accusative": "en e es en", "dative": "en en en en"}
WITHOUT_ARTICLE = {"nominative": "er e es e", "accusative": "en e es e", "dative": "em er em en"}


@dataclass(frozen=True)
class NounPhrase:
    """An article, perhaps an adjective, a noun, and perhaps "with" another phrase; or a pronoun alone.

    `article` is "the", "a", which plurals leave out, or a possessive.
    """

    noun: Noun | None
    plural: bool
    article: str = ""
    adjective: str = ""
    companion: NounPhrase | None = None
    pronoun: str = ""

    def english(self) -> str:
        if self.noun is None:
            return self.pronoun
        noun = self.noun.english_plural if self.plural else self.noun.english
        article = "" if self.article == "a" and self.plural else self.article
        following = self.adjective or noun
        if article == "a" and following[0] in "aeiou":
            article = "an"
        words = [article, self.adjective, noun]
        if self.companion:
            words += ["with", self.companion.english()]
        return " ".join(filter(None, words))

    def german(self, case: str, no: bool = False) -> str:
        """The phrase in a case; with `no`, *kein* takes the place of *ein*."""
        if self.noun is None:
            return PRONOUNS[self.pronoun]
        column = 3 if self.plural else "mfn".index(self.noun.gender)
        stem = "kein" if no and self.article == "a" else POSSESSIVES.get(self.article, "ein")
        if self.article == "the":
            article, ending = THE[case].split()[column], AFTER_THE
        elif stem == "ein" and self.plural:
            article, ending = "", WITHOUT_ARTICLE
        else:
            article, ending = stem + EIN[case].split()[column].strip("-"), AFTER_EIN
        adjective = (OF_PEOPLE | OF_THINGS)[self.adjective] + ending[case].split()[column] if self.adjective else ""
        noun = self.noun.german_plural if self.plural else self.noun.german
        if self.plural and case == "dative" and noun[-1] not in "ns":
            noun += "n"
        words = [article, adjective, noun]
        if self.companion:
            words += ["mit", self.companion.german("dative")]
        return " ".join(filter(None, words))

    def combinations(self) -> list[str]:
        """Adjectives with their nouns."""
        own = [f"{self.adjective} {self.noun.english}"] if self.noun and self.adjective else []
        return own + (self.companion.combinations() if self.companion else [])

    @property
    def person(self) -> int:
        """0 for I, 1 for other singular subjects, 2 for plural ones: the column of a verb's forms."""
        return 0 if self.pronoun == "I" else 2 if self.plural else 1


@dataclass(frozen=True)
class Clause:
    """Who does what to whom, and when: `tense` is "present", "perfect" or a row of MODALS."""

    subject: NounPhrase
    verb: Verb
    object: NounPhrase
    tense: str | tuple[str, ...]
    negated: bool
    time: str = ""
    time_first: bool = False

    def english(self) -> str:
        person, verb = self.subject.person, self.verb
        do = "does" if person == 1 else "do"
        if self.tense == "perfect":
            words = ["has" if person == 1 else "have", "not" * self.negated, verb.participle]
        elif self.tense == "present":
            words = [do, "not", verb.base] if self.negated else [verb.third if person == 1 else verb.base]
        elif self.negated:
            words = [do * self.tense[2].startswith("not"), self.tense[2], verb.base]
        else:
            words = [self.tense[person == 1], verb.base]
        words = [self.subject.english(), *words, self.object.english()]
        words = [self.time, *words] if self.time_first else [*words, self.time]
        return " ".join(filter(None, words))

    def german(self, order: str = "second") -> str:
        """The clause with its finite verb "second", or "first", after a clause or time in front; or "last"."""
        person, verb, prefix = self.subject.person, self.verb, self.verb.prefix.strip("-")
        if self.tense == "perfect":
            finite, rest = ("habe", "hat", "haben")[person], verb.german_participle
        elif self.tense == "present":
            finite, rest = (verb.german_first, verb.german_third, verb.german_plural)[person], prefix
        else:
            finite, rest = self.tense[3 + (person == 2)], prefix + verb.german_plural
        time, subject = TIMES.get(self.time, ""), self.subject.german("nominative")
        nicht = "nicht" * (self.negated and self.object.article != "a")
        rear = [self.object.german("accusative", no=self.negated), nicht]
        if order == "last":
            end = [rest + finite] if self.tense == "present" else [rest, finite]
            words = [subject, time, *rear, *end]
        elif order == "first":
            words = [finite, subject, time, *rear, rest]
        elif self.time_first:
            words = [time, finite, subject, *rear, rest]
        else:
            words = [subject, finite, time, *rear, rest]
        return " ".join(filter(None, words))

    def combinations(self) -> list[str]:
        """The verb with its object, and adjectives with their nouns."""
        own = [f"{self.verb.base} {self.object.noun.english}"] if self.object.noun else []
        return own + self.subject.combinations() + self.object.combinations()


def _draw_phrase(draw: Choices, nouns: list[Noun], companion: bool = True) -> NounPhrase:
    return NounPhrase(
        draw.one_of(nouns),
        draw.chance(30),
        draw.one_of(("the", "the", "a", *POSSESSIVES)),
        draw.one_of(tuple(OF_PEOPLE if nouns is PEOPLE else OF_THINGS)) if draw.chance(50) else "",
        _draw_phrase(draw, THINGS, companion=False) if companion and draw.chance(15) else None,
    )


def _draw_subject(draw: Choices) -> NounPhrase:
    if draw.chance(35):
        pronoun = draw.one_of(tuple(PRONOUNS))
        return NounPhrase(None, pronoun in ("we", "they"), pronoun=pronoun)
    return _draw_phrase(draw, PEOPLE)


def _draw_clause(draw: Choices, time_may_lead: bool = False) -> Clause:
    time = draw.one_of(tuple(TIMES)) if draw.chance(30) else ""
    tenses: tuple[str | tuple[str, ...], ...] = ("present", "present", "perfect", draw.one_of(MODALS))
    return Clause(
        _draw_subject(draw),
        draw.one_of(VERBS),
        _draw_phrase(draw, THINGS),
        draw.one_of(tenses),
        draw.chance(25),
        time,
        bool(time) and time_may_lead and draw.chance(50),
    )


def _draw_sentence(draw: Choices) -> tuple[Pair, list[str]]:
    """A sentence and its combinations of words: a main clause, alone, with a subordinate one after it or, its verb
    then first, in front of it; or a clause that somebody knows or believes.
    """
    kind = draw.below(10)
    main = _draw_clause(draw, time_may_lead=kind < 6)
    english, german, combinations = main.english(), main.german(), main.combinations()
    if kind in (4, 5, 6, 7):
        clause, word = _draw_clause(draw), draw.one_of(tuple(CONJUNCTIONS))
        combinations += clause.combinations()
        subordinate = f"{word} {clause.english()}", f"{CONJUNCTIONS[word]} {clause.german('last')}"
        if kind in (4, 5):
            english, german = f"{english} {subordinate[0]}", f"{german}, {subordinate[1]}"
        else:
            english, german = f"{subordinate[0]}, {english}", f"{subordinate[1]}, {main.german('first')}"
    elif kind in (8, 9):
        who, belief = _draw_subject(draw), draw.one_of(BELIEFS)
        combinations += who.combinations()
        english = f"{who.english()} {belief[who.person == 1]} that {english}"
        german = f"{who.german('nominative')} {belief[2 + who.person]}, dass {main.german('last')}"
    return Pair(_written(english), _written(german)), combinations


def _written(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:] + "."


def sentence_pairs(count: int, generator: Generator, held_out: bool = False) -> list[Pair]:
    """`count` English sentences with their German translations; the same generator state gives the same ones.

    One combination in eight of a verb and its object, or of an adjective and its noun, is held out: every sentence with
    `held_out` has one or more of them, all other sentences none.

    >>> pair = sentence_pairs(1, Generator(10))[0]
    >>> pair.source, pair.target
    ('We have not sold a dirty picture.', 'Wir haben kein schmutziges Bild verkauft.')
    """
    expect_count("sentence_pairs", "count", count)
    draw, pairs = Choices(generator), list[Pair]()
    while len(pairs) < count:
        pair, combinations = _draw_sentence(draw)
        if any(is_held_out(words, HELD_OUT_SHARE) for words in combinations) == held_out:
            pairs.append(pair)
    return pairs
