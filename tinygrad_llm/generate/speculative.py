"""Speculative decoding: several tokens per forward pass, distributed exactly as one at a time.

Decoding one token at a time is limited by reading every weight from memory; a pass over a few tokens costs little more
than a pass over one. So a cheap *draft* proposes the next tokens, and the model reads all of them in one pass. A token
x, drafted with probability q(x) where the model gives it p(x), is accepted with probability min(1, p(x) / q(x)). The
first token that is rejected is replaced by a sample from max(0, p - q), normalised, which ends the pass. The total
probability of x is

    min(p(x), q(x)) + (1 - Σ min(p, q)) · max(0, p(x) - q(x)) / Σ max(0, p - q)  =  p(x)

exactly (Leviathan et al. 2022, arXiv:2211.17192): the draft changes only the speed. If all drafted tokens are accepted,
the pass gives one token more, sampled from the model's logits after the last.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, Unpack

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate.decodable import Decodable
from tinygrad_llm.generate.decoding_state import DecodingState, prompts_of
from tinygrad_llm.generate.ending import EndOfText, end_ids
from tinygrad_llm.generate.sampling import Sampling, SamplingKeywords
from tinygrad_llm.random import Generator, default_generator


class Draft(Protocol):
    """Proposes how a text continues."""

    def propose(self, text: Array, most: int, sampling: Sampling, generator: Generator) -> tuple[Array, Array | None]:
        """At most `most` tokens, and the distributions they were sampled from; None if each had probability 1.

        Shapes: text (T,) -> tokens (n,), distributions (n, V)
        """


class PromptLookup:
    """Proposes that the text repeats itself: the tokens that followed its last n-gram when it occurred before (Saxena
    2023, "Prompt Lookup Decoding").

    `tokens` is the most to propose; `ngram` the length of the n-gram, shorter where no longer one occurs.
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
                return np.resize(text[after:], min(most, self.tokens)), None  # repeats them where the text ends first
        return text[:0], None


class DraftModel:
    """Proposes tokens with a smaller model of the same vocabulary, at most `tokens` at a time."""

    def __init__(self, model: Decodable, tokens: int = 4) -> None:
        expect_count("DraftModel", "tokens", tokens, at_least=1)
        self.model, self.tokens = model, tokens
        self._state: DecodingState | None = None

    def propose(self, text: Array, most: int, sampling: Sampling, generator: Generator) -> tuple[Array, Array]:
        state = self._state_of(text)
        distributions = []
        for _ in range(min(most, self.tokens)):
            distribution = _distributions(sampling, state.logits()[0], state.texts())
            state.append(np.array([_draw(distribution[0], generator)]))
            distributions.append(distribution[0])
        return state.ids[0, len(text) :], np.array(distributions)

    def _state_of(self, text: Array) -> DecodingState:
        """The draft model's own decoding state, brought up to `text`; the common beginning stays in its cache."""
        state = self._state
        if state is None:
            self._state = state = DecodingState(self.model, [text])
            return state
        common = min(state.length, len(text))
        differs = np.flatnonzero(state.ids[0, :common] != text[:common])
        state.truncate(int(differs[0]) if len(differs) else common)
        state.append(text[state.length :])
        return state


@dataclass(frozen=True)
class Speculation:
    """The ids, prompt included, and how well the draft did.

    `passes` counts the model's forward passes, `drafted` the tokens proposed, `accepted` those of them it accepted.
    """

    ids: Array
    passes: int
    drafted: int
    accepted: int

    @property
    def accepted_per_pass(self) -> float:
        """Drafted tokens accepted per forward pass: tokens gained over decoding one at a time."""
        return self.accepted / self.passes if self.passes else 0.0

    def __str__(self) -> str:
        return (
            f"{self.passes} passes, {self.accepted} of {self.drafted} drafted tokens accepted, "
            f"{self.accepted_per_pass:.2f} per pass"
        )


class Pass(NamedTuple):
    """One forward pass: the new tokens (n,), all but the last of them drafted, and how many drafted tokens it read."""

    tokens: Array
    drafted: int


class DraftLength:
    """The number of tokens to draft for the next pass: more while all are accepted, none for a while after a failure.

    A pass over several tokens takes two to three times as long as a pass over one, for which BLAS reads the weights at
    the speed of memory. So at least two drafted tokens must be accepted to gain anything. Each failure doubles the
    number of passes without a draft, so that a text that never repeats itself loses little.
    """

    FIRST, MOST, LONGEST_PAUSE = 4, 15, 64

    def __init__(self) -> None:
        self._length, self._pause, self._pausing = self.FIRST, self.FIRST, 0

    def next(self) -> int:
        if self._pausing:
            self._pausing -= 1
            return 0
        return self._length

    def update(self, drafted: int, accepted: int) -> None:
        if accepted >= 2:
            self._length = min(2 * self._length, self.MOST) if accepted == drafted else max(accepted, self.FIRST)
            self._pause = self.FIRST
        elif drafted:
            self._length, self._pausing = self.FIRST, self._pause
            self._pause = min(2 * self._pause, self.LONGEST_PAUSE)


def generate_speculatively(
    model: Decodable,
    ids: Any,
    max_new_tokens: int,
    draft: Draft,
    sampling: Sampling | None = None,
    *,
    eos_id: EndOfText = None,
    generator: Generator | None = None,
    **keywords: Unpack[SamplingKeywords],
) -> Speculation:
    """`generate` for one prompt with a draft: the same distribution, faster if the draft's tokens are accepted.

    Greedy tokens are those of `generate` up to float32 rounding: a row among eight rounds differently from a row alone,
    which matters where the two largest logits are nearly equal. With a temperature, single samples differ.

    Shapes: ids (T,)
    Raises: as `generate`; ConfigError for more than one prompt, or a draft model with another vocabulary
    """
    sampling = Sampling.of("generate_speculatively", sampling, keywords)
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
    state = DecodingState(model, prompts)
    count = drafted = accepted = 0
    for tokens, drafted_now in passes(state, max_new_tokens, draft, sampling, generator):
        count, drafted, accepted = count + 1, drafted + drafted_now, accepted + len(tokens) - 1
        ended = np.flatnonzero(np.isin(tokens, list(ends)))
        if len(ended):
            state.truncate(state.length - len(tokens) + int(ended[0]))
            break
    return Speculation(state.ids[0].copy(), count, drafted, accepted)


def passes(
    state: DecodingState,
    max_new_tokens: int,
    draft: Draft,
    sampling: Sampling,
    generator: Generator,
    draft_length: DraftLength | None = None,
) -> Iterator[Pass]:
    """Continue the one text of `state`, pass by pass. With `draft_length`, tokens are drafted only where it pays."""
    last, context = state.length + max_new_tokens, state.model.config.context_length
    while state.length < last:
        before = state.length
        # A pass gives one token more than it accepts, and reads them all within one context.
        most = max(min(last - 1, context) - before, 0)
        if draft_length is not None:
            most = min(most, draft_length.next())
        drafted, q = state.ids[0, :0], None
        if most:
            drafted, q = draft.propose(state.ids[0], most, sampling, generator)
        state.append(drafted)
        texts = [state.ids[0, :length] for length in range(before, state.length + 1)]
        logits = state.logits(len(drafted) + 1)[0]
        if sampling.greedy:  # a token is accepted if it is the model's own choice
            chosen = sampling.choose(logits, texts, generator)
            agrees = chosen[:-1] == drafted
            accepted = len(drafted) if agrees.all() else int(agrees.argmin())
            following = int(chosen[accepted])
        else:
            accepted, following = accept(drafted, q, _distributions(sampling, logits, texts), generator)
        if draft_length is not None:
            draft_length.update(len(drafted), accepted)
        state.truncate(before + accepted)
        state.append(np.array([following]))
        yield Pass(state.ids[0, before:], len(drafted))


def accept(drafted: Array, q: Array | None, p: Array, generator: Generator) -> tuple[int, int]:
    """How many of the drafted tokens are accepted, and the token after them.

    `p` are the model's distributions, `q` those of the draft, None if each of its tokens had probability 1.

    Shapes: drafted (n,), q (n, V), p (n + 1, V), float64
    """
    for i, token in enumerate(drafted.tolist()):
        draft = np.zeros_like(p[i]) if q is None else q[i]
        if q is None:
            draft[token] = 1
        ratio = p[i, token] / draft[token]
        if not (ratio >= 1 or (ratio > 0 and float(generator.rand(1, dtype=np.float64)[0]) < ratio)):
            rest = np.maximum(p[i] - draft, 0)
            return i, _draw(rest if rest.any() else p[i], generator)  # rounding may leave only zeros
    return len(drafted), _draw(p[-1], generator)


def _draw(weights: Array, generator: Generator) -> int:
    """Sample one token. With one possible token no random number is used: greedy decoding leaves the stream alone."""
    if np.count_nonzero(weights) == 1:
        return int(weights.argmax())
    return int(generator.multinomial(weights)[0])


def _distributions(sampling: Sampling, logits: Array, texts: list[Array]) -> Array:
    """The probabilities in float64, normalised again: float32 rows miss a sum of 1 by too much to be exact."""
    probabilities = sampling.probabilities(logits, texts).astype(np.float64)
    probabilities /= probabilities.sum(axis=-1, keepdims=True)
    return probabilities
