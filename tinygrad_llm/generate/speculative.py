"""Speculative decoding: several tokens per reading of the weights, and the very same distribution.

One token at a time is bound by reading every weight from memory; a few tokens in one pass cost little more than one.
So something cheap, the draft, guesses the next tokens, and the model reads all guesses at once. Guess x, drafted with
chance q(x) where the model gives it p(x), is taken with chance min(1, p(x) / q(x)); the first that is refused is
replaced by a draw from what q left over, max(0, p - q) normalised, and ends the pass. Either way x comes with chance

    min(p(x), q(x)) + (1 - Σ min(p, q)) · max(0, p(x) - q(x)) / Σ max(0, p - q)  =  p(x)

exactly (Leviathan et al. 2022, arXiv:2211.17192). The draft decides only how fast it goes. If every guess is taken, the
pass gives one token more: the model's logits after the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate.ending import EndOfText, end_ids
from tinygrad_llm.generate.reading import Reading, prompts_of
from tinygrad_llm.generate.sampling import Sampling
from tinygrad_llm.random import Generator, default_generator


class Draft(Protocol):
    """What guesses how a text goes on."""

    def propose(self, text: Array, most: int, sampling: Sampling, generator: Generator) -> tuple[Array, Array | None]:
        """At most `most` tokens (n,), and the distributions (n, V) they were drawn from; None if each was certain."""


class PromptLookup:
    """Guesses that the text repeats itself: what followed its last tokens the last time they stood there (Saxena 2023,
    "Prompt Lookup Decoding").

    `tokens` is how many to guess at most; `ngram` how many last tokens to look for, fewer where they are new.
    """

    def __init__(self, tokens: int = 7, ngram: int = 3) -> None:
        expect_count("PromptLookup", "tokens", tokens, at_least=1)
        expect_count("PromptLookup", "ngram", ngram, at_least=1)
        self.tokens, self.ngram = tokens, ngram

    def propose(self, text: Array, most: int, sampling: Sampling, generator: Generator) -> tuple[Array, None]:
        for size in range(min(self.ngram, len(text) - 1), 0, -1):
            earlier = np.lib.stride_tricks.sliding_window_view(text[:-1], size)
            places = np.flatnonzero((earlier == text[-size:]).all(axis=1))
            if len(places):
                after = places[-1] + size
                return np.resize(text[after:], min(most, self.tokens)), None  # goes round where the text does
        return text[:0], None


class DraftModel:
    """Guesses with a smaller model of the same vocabulary, `tokens` at a time at most."""

    def __init__(self, model: Any, tokens: int = 4) -> None:
        expect_count("DraftModel", "tokens", tokens, at_least=1)
        self.model, self.tokens = model, tokens
        self._reading: Reading | None = None

    def propose(self, text: Array, most: int, sampling: Sampling, generator: Generator) -> tuple[Array, Array]:
        reading = self._caught_up(text)
        distributions = []
        for _ in range(min(most, self.tokens)):
            distribution = _distributions(sampling, reading.logits()[0], reading.texts())
            reading.append(np.array([_draw(distribution[0], generator)]))
            distributions.append(distribution[0])
        return reading.ids[0, len(text) :], np.array(distributions)

    def _caught_up(self, text: Array) -> Reading:
        """The draft's own reading of `text`: what it has read of it already is kept."""
        reading = self._reading
        if reading is None:
            self._reading = reading = Reading(self.model, [text])
            return reading
        both = min(reading.length, len(text))
        differs = np.flatnonzero(reading.ids[0, :both] != text[:both])
        reading.truncate(int(differs[0]) if len(differs) else both)
        reading.append(text[reading.length :])
        return reading


@dataclass(frozen=True)
class Speculation:
    """The ids, prompt included, and what guessing has brought.

    `passes` counts how often the model was run, `drafted` the guesses it read, `accepted` those it took.
    """

    ids: Array
    passes: int
    drafted: int
    accepted: int

    @property
    def accepted_per_pass(self) -> float:
        """Guesses taken per run of the model: so many tokens came free."""
        return self.accepted / self.passes if self.passes else 0.0

    def __str__(self) -> str:
        return (
            f"{self.passes} passes, {self.accepted} of {self.drafted} drafted tokens accepted, "
            f"{self.accepted_per_pass:.2f} per pass"
        )


class Pass(NamedTuple):
    """What one run of the model gave: the new tokens (n,), all but the last of them guesses, and how many it read."""

    tokens: Array
    guessed: int


class Pace:
    """How many guesses a pass may read: more while all are taken, none for a while where they are refused.

    A pass over several tokens takes two to three times as long as one over a single token, where BLAS reads weights for
    one row at the memory's speed and for several it does not. So two guesses must be taken to gain anything; each
    failure doubles the number of passes without guesses, and they can cost a text that never repeats itself little.
    """

    FIRST, MOST, LONGEST_REST = 4, 15, 64

    def __init__(self) -> None:
        self._most, self._rest, self._resting = self.FIRST, self.FIRST, 0

    def allowed(self) -> int:
        if self._resting:
            self._resting -= 1
            return 0
        return self._most

    def learn(self, guessed: int, taken: int) -> None:
        if taken >= 2:
            self._most = min(2 * self._most, self.MOST) if taken == guessed else max(taken, self.FIRST)
            self._rest = self.FIRST
        elif guessed:
            self._most, self._resting = self.FIRST, self._rest
            self._rest = min(2 * self._rest, self.LONGEST_REST)


def generate_speculatively(
    model: Any,
    ids: Any,
    max_new_tokens: int,
    draft: Draft,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    eos_id: EndOfText = None,
    generator: Generator | None = None,
) -> Speculation:
    """As `generate` for one prompt, and distributed as its texts are; faster where `draft` guesses well.

    Greedy, the tokens are those of `generate` but for rounding: float32 rounds a row among eight unlike a row alone, so
    they may part where the two best logits are nearly equal. With a temperature, single draws differ.

    Shapes: ids (T,)
    Raises: as `generate`; ConfigError for more than one prompt, or a draft model with another vocabulary
    """
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    prompts = prompts_of("generate_speculatively", model, ids)
    ends = end_ids("generate_speculatively", eos_id)
    expect_count("generate_speculatively", "max_new_tokens", max_new_tokens, at_least=0)
    if len(prompts) != 1:
        raise ConfigError(f"generate_speculatively: one prompt at a time; got {len(prompts)}")
    if isinstance(draft, DraftModel) and draft.model.config.vocab_size != model.config.vocab_size:
        raise ConfigError(
            f"generate_speculatively: the draft must have the model's vocabulary, {model.config.vocab_size} tokens; "
            f"got {draft.model.config.vocab_size}"
        )
    generator = default_generator() if generator is None else generator
    reading = Reading(model, prompts)
    runs = drafted = accepted = 0
    for tokens, guessed in passes(reading, max_new_tokens, draft, sampling, generator):
        runs, drafted, accepted = runs + 1, drafted + guessed, accepted + len(tokens) - 1
        ended = np.flatnonzero(np.isin(tokens, list(ends)))
        if len(ended):
            reading.truncate(reading.length - len(tokens) + int(ended[0]))
            break
    return Speculation(reading.ids[0].copy(), runs, drafted, accepted)


def passes(
    reading: Reading,
    max_new_tokens: int,
    draft: Draft,
    sampling: Sampling,
    generator: Generator,
    pace: Pace | None = None,
) -> Iterator[Pass]:
    """Let the one text of `reading` grow, pass by pass; with a `pace`, only where guesses are worth their reading."""
    last, context = reading.length + max_new_tokens, reading.model.config.context_length
    while reading.length < last:
        before = reading.length
        # A pass gives one token more than it takes guesses, and reads them all within one context.
        most = max(min(last - 1, context) - before, 0)
        if pace is not None:
            most = min(most, pace.allowed())
        guesses, q = reading.ids[0, :0], None
        if most:
            guesses, q = draft.propose(reading.ids[0], most, sampling, generator)
        reading.append(guesses)
        texts = [reading.ids[0, :length] for length in range(before, reading.length + 1)]
        logits = reading.logits(len(guesses) + 1)[0]
        if sampling.greedy:  # a guess is taken if it is the model's own choice
            chosen = sampling.choose(logits, texts, generator)
            agreeing = chosen[:-1] == guesses
            taken = len(guesses) if agreeing.all() else int(agreeing.argmin())
            following = int(chosen[taken])
        else:
            taken, following = accept(guesses, q, _distributions(sampling, logits, texts), generator)
        if pace is not None:
            pace.learn(len(guesses), taken)
        reading.truncate(before + taken)
        reading.append(np.array([following]))
        yield Pass(reading.ids[0, before:], len(guesses))


def accept(guesses: Array, q: Array | None, p: Array, generator: Generator) -> tuple[int, int]:
    """How many of the guesses are taken, and the token after them.

    Shapes: guesses (n,), drafted from q (n, V), or certain if None; p (n + 1, V) float64, the model's distributions
    """
    for i, guess in enumerate(guesses.tolist()):
        drafted = np.zeros_like(p[i]) if q is None else q[i]
        if q is None:
            drafted[guess] = 1
        chance = p[i, guess] / drafted[guess]
        if not (chance >= 1 or (chance > 0 and float(generator.rand(1, dtype=np.float64)[0]) < chance)):
            left = np.maximum(p[i] - drafted, 0)
            return i, _draw(left if left.any() else p[i], generator)  # rounding may leave nothing
    return len(guesses), _draw(p[-1], generator)


def _draw(chances: Array, generator: Generator) -> int:
    """One token; `generator` is not asked for what is certain, so greedy decoding leaves it where it was."""
    if np.count_nonzero(chances) == 1:
        return int(chances.argmax())
    return int(generator.multinomial(chances)[0])


def _distributions(sampling: Sampling, logits: Array, texts: list[Array]) -> Array:
    """The chances in float64, each row's sum 1: float32 sums miss it by more than exactness allows."""
    chances = sampling.probabilities(logits, texts).astype(np.float64)
    chances /= chances.sum(axis=-1, keepdims=True)
    return chances
