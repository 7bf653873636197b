"""Film reviews whose sentiment is computed, from a grammar: in some kinds the words decide, in others their order.

Each clause judges one thing, "the plot is dull", perhaps with a negation. The sentiment is that of the deciding clause:

    plain      The acting is superb and the music is lovely.                 both clauses agree
    negation   The acting is superb and the music is anything but dull.      one of them with a negation
    contrast   Although the acting is superb, the plot is dull.              the main clause, or the one after "but"
    opinion    The critics say that the plot is dull, but I find it superb.  the writer's own opinion
    nested     contrast or opinion, with negations in both clauses

Each review of a kind other than the plain one has a mirror image: exactly the same words, and the other sentiment. A
classifier that only counts words is right on one of the two.
"""

from __future__ import annotations

from collections.abc import Sequence

from tinygrad_llm.checks import expect_choice, expect_count
from tinygrad_llm.data.choices import Choices, is_held_out
from tinygrad_llm.data.classification import LabelledText
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.random import Generator

NEGATIVE, POSITIVE = SENTIMENTS = ("negative", "positive")  # sorted, as the ids of classes are
HELD_OUT_SHARE = 5  # one in so many combinations of two words is held out of training

JUDGED = "acting plot music ending dialogue photography story script humour pace cast opening"
ADJECTIVES = {
    POSITIVE: "brilliant wonderful excellent superb delightful charming impressive lovely fantastic splendid",
    NEGATIVE: "awful terrible dreadful dull boring poor weak disappointing tedious horrible",
}
NEW_ADJECTIVES = {
    POSITIVE: "gorgeous magnificent stunning admirable marvellous beautiful",
    NEGATIVE: "lousy abysmal dismal clumsy annoying miserable",
}
NEGATIONS = ("not", "never", "anything but", "far from", "hardly", "by no means")
CONTRASTS = (  # {other} and {deciding} are clauses
    "{other}, but {deciding}",
    "although {other}, {deciding}",
    "{deciding}, although {other}",
    "even if {other}, {deciding}",
    "{deciding}, even if {other}",
    "{other}. still, {deciding}",
)
OPINIONS = (  # {who} says {other}, the writer {deciding}
    "{who} that {other}, but I think that {deciding}",
    "I think that {deciding}, but {who} that {other}",
    "{who} that {other}. I find that {deciding}",
    "I find that {deciding}. {who} that {other}",
    "if you ask me, {deciding}, but {who} that {other}",
    "{who} that {other}, but if you ask me, {deciding}",
)
OTHERS = ("the critics say", "my brother says", "my sister thinks", "my friends think", "the newspaper says")
BEGINNINGS = ("", "", "we saw it last night. ", "I watched it twice. ", "I read the book first. ")
KINDS = ("plain", "negation", "contrast", "opinion", "nested")


def sentiment_texts(
    count: int,
    generator: Generator,
    kinds: Sequence[str] = KINDS,
    held_out: bool = False,
    adjectives: str = "known",
) -> list[LabelledText]:
    """`count` reviews of these kinds in turn, positive and negative with equal probability.

    One in five combinations of a judged thing and its adjective, and of a negation and its adjective, is held out: a
    review with `held_out` has only such combinations, any other has none. `adjectives` are the "known" ones, the "new"
    ones, which no review with known ones has, or "all", to give the words of unlabelled reviews a context. The same
    generator state gives the same reviews.

    Raises: ConfigError for a kind that does not exist, or no kind
    """
    expect_count("sentiment_texts", "count", count)
    expect_choice("sentiment_texts", "adjectives", adjectives, ("known", "new", "all"))
    if not kinds or not set(kinds) <= set(KINDS):
        raise ConfigError(f"sentiment_texts: kinds must be among {', '.join(KINDS)}; got {list(kinds)}")
    tables = [ADJECTIVES] * (adjectives != "new") + [NEW_ADJECTIVES] * (adjectives != "known")
    words = {sentiment: [word for table in tables for word in table[sentiment].split()] for sentiment in SENTIMENTS}
    reviews = _Reviews(Choices(generator), words, held_out)
    return [reviews.draw(kinds[i % len(kinds)]) for i in range(count)]


class _Reviews:
    """Draws reviews with these adjectives."""

    def __init__(self, draw: Choices, adjectives: dict[str, list[str]], held_out: bool) -> None:
        self.choices, self.adjectives, self.held_out = draw, adjectives, held_out

    def draw(self, kind: str) -> LabelledText:
        draw, sentiment = self.choices, self.choices.one_of(SENTIMENTS)
        opposite = POSITIVE if sentiment == NEGATIVE else NEGATIVE
        if kind in ("plain", "negation"):
            clauses = [self._clause(sentiment, False), self._clause(sentiment, kind == "negation")]
            review = " and ".join(clauses if draw.chance(50) else clauses[::-1])
        else:
            negated = kind == "nested"
            other, deciding = self._clause(opposite, negated), self._clause(sentiment, negated)
            form = draw.one_of(CONTRASTS if kind == "contrast" or (negated and draw.chance(50)) else OPINIONS)
            review = form.format(other=other, deciding=deciding, who=draw.one_of(OTHERS))
        sentences = (draw.one_of(BEGINNINGS) + review + ".").split(". ")
        return LabelledText(". ".join(one[0].upper() + one[1:] for one in sentences), sentiment)

    def _clause(self, sentiment: str, negated: bool) -> str:
        """A clause that expresses the sentiment; if it is negated, by the opposite adjective."""
        opposite = POSITIVE if sentiment == NEGATIVE else NEGATIVE
        draw = self.choices
        while True:
            thing, negation = draw.one_of(JUDGED.split()), draw.one_of(NEGATIONS) if negated else ""
            adjective = draw.one_of(self.adjectives[opposite if negated else sentiment])
            others = [thing, negation] if negated else [thing]
            if all(is_held_out(f"{other} {adjective}", HELD_OUT_SHARE) == self.held_out for other in others):
                return f"the {thing} is {negation + ' ' * negated}{adjective}"
