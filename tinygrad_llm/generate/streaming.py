"""Decoding as a stream: each token, or each piece of text, as soon as it is known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Unpack

from tinygrad_llm.checks import expect_count
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate.decodable import Decodable
from tinygrad_llm.generate.decoding import each_step
from tinygrad_llm.generate.decoding_state import prompts_of
from tinygrad_llm.generate.ending import EndOfText, end_ids
from tinygrad_llm.generate.sampling import Sampling, SamplingKeywords
from tinygrad_llm.random import Generator
from tinygrad_llm.text import StreamDecoder, Tokenizer


def stream(
    model: Decodable,
    ids: Any,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    eos_id: EndOfText = None,
    generator: Generator | None = None,
    use_cache: bool = True,
    look_ahead: bool = True,
    **keywords: Unpack[SamplingKeywords],
) -> Iterator[int]:
    """The new ids of `generate` with the same settings, each as soon as it is chosen.

    Shapes: ids (T,)
    Raises: as `generate`, before the first token; ConfigError for more than one prompt
    """
    sampling = Sampling.of("stream", sampling, keywords)
    prompts = prompts_of("stream", model, ids)
    ends = end_ids("stream", eos_id)
    expect_count("stream", "max_new_tokens", max_new_tokens, at_least=0)
    if len(prompts) != 1:
        raise ConfigError(f"stream: one prompt at a time; got {len(prompts)}: give each a stream of its own")
    steps = each_step(model, prompts, max_new_tokens, sampling, ends, generator, use_cache, look_ahead)
    return (token for _, tokens in steps if (token := int(tokens[0])) not in ends)


def stream_text(
    model: Decodable,
    tokenizer: Tokenizer,
    ids: Any,
    max_new_tokens: int,
    sampling: Sampling | None = None,
    *,
    stop: str | Sequence[str] = (),
    **settings: Any,
) -> Iterator[str]:
    """The new text as it comes: whole characters, up to the first of the `stop` strings, which is left out.

    `settings` as in `stream`. The pieces continue the prompt's text: joined to it, they are the text that `tokenizer`
    decodes all ids to, cut at the stop string.

    Shapes: ids (T,), the prompt
    Raises: as `stream`; ConfigError for an empty stop string
    """
    stops = expect_stops("stream_text: stop", stop)
    keywords: Any = {name: settings.pop(name) for name in SamplingKeywords.__annotations__ if name in settings}
    sampling = Sampling.of("stream_text", sampling, keywords).limited_to(tokenizer)
    tokens = stream(model, ids, max_new_tokens, sampling, **settings)
    decoder = StreamDecoder(tokenizer, after=prompts_of("stream_text", model, ids)[0])
    return until_stop(whole_characters(tokens, decoder), stops)


def expect_stops(name: str, stop: str | Sequence[str]) -> list[str]:
    """The stop strings as a list. Raises ConfigError unless they are non-empty strings."""
    stops = [stop] if isinstance(stop, str) else list(stop)
    if not all(isinstance(one, str) and one for one in stops):
        raise ConfigError(f"{name} must be a string or several, none of them empty; got {stop!r}")
    return stops


def whole_characters(tokens: Iterable[int], decoder: StreamDecoder) -> Iterator[str]:
    """The text of each token, or of as many tokens as make one character."""
    for token in tokens:
        if text := decoder.push(token):
            yield text
    if text := decoder.finish():
        yield text


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces up to the first complete stop string, which may begin and end in different pieces.

    Text that may be the beginning of a stop string is held back until it is known.

    >>> list(until_stop(["one t", "w", "o th", "ree"], ["two", "three"]))
    ['one ']
    """
    search = StopSearch(stops)
    for piece in pieces:
        if text := search.push(piece):
            yield text
        if search.found:
            return
    if text := search.finish():
        yield text


class StopSearch:
    """Looks for the first complete stop string in a text that comes in pieces; `found` tells whether it has come."""

    def __init__(self, stops: Sequence[str]) -> None:
        self.found, self._stops, self._waiting = False, stops, ""

    def push(self, piece: str) -> str:
        """The text that is known to lie before any stop string."""
        self._waiting += piece
        ends = [(place + len(stop), place) for stop in self._stops if (place := self._waiting.find(stop)) >= 0]
        self.found = bool(ends)
        held = max((_begun(self._waiting, stop) for stop in self._stops), default=0)
        free = min(ends)[1] if ends else len(self._waiting) - held
        text, self._waiting = self._waiting[:free], self._waiting[free:]
        return text

    def finish(self) -> str:
        """The text that was held back, where no more comes."""
        text, self._waiting = self._waiting, ""
        return text


def _begun(text: str, stop: str) -> int:
    """The length of the longest beginning of `stop` that `text` ends with, `stop` itself excluded."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
