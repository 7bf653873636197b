"""Generated tokens and text as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tinygrad_llm.checks import expect_count
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate.decoding import each_step
from tinygrad_llm.generate.ending import EndOfText, end_ids
from tinygrad_llm.generate.reading import prompts_of
from tinygrad_llm.generate.sampling import Sampling
from tinygrad_llm.random import Generator
from tinygrad_llm.text import StreamDecoder, Tokenizer


def stream(
    model: Any,
    ids: Any,
    max_new_tokens: int,
    temperature: float = 0.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    eos_id: EndOfText = None,
    generator: Generator | None = None,
    use_cache: bool = True,
    look_ahead: bool = True,
) -> Iterator[int]:
    """The new ids that `generate` gives with the same settings, each as soon as it is chosen.

    Shapes: ids (T,)
    Raises: as `generate`, at once; ConfigError for more than one prompt
    """
    sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
    prompts = prompts_of("stream", model, ids)
    ends = end_ids("stream", eos_id)
    expect_count("stream", "max_new_tokens", max_new_tokens, at_least=0)
    if len(prompts) != 1:
        raise ConfigError(f"stream: one prompt at a time; got {len(prompts)}: give each a stream of its own")
    steps = each_step(model, prompts, max_new_tokens, sampling, ends, generator, use_cache, look_ahead)
    return (token for _, tokens in steps if (token := int(tokens[0])) not in ends)


def stream_text(
    model: Any,
    tokenizer: Tokenizer,
    ids: Any,
    max_new_tokens: int,
    stop: str | Sequence[str] = (),
    **settings: Any,
) -> Iterator[str]:
    """The new text as it comes: whole characters, up to the first of the `stop` strings, which is not shown.

    `settings` as in `stream`. The pieces go on from the prompt's text: joined to it, they are what `tokenizer` decodes
    all ids to, cut at the stop.

    Shapes: ids (T,), the prompt
    Raises: as `stream`; ConfigError for an empty stop string
    """
    stops = [stop] if isinstance(stop, str) else list(stop)
    if not all(isinstance(one, str) and one for one in stops):
        raise ConfigError(f"stream_text: stop must be a string or several, none of them empty; got {stop!r}")
    tokens = stream(model, ids, max_new_tokens, **settings)
    decoder = StreamDecoder(tokenizer, after=prompts_of("stream_text", model, ids)[0])
    return until_stop(whole_characters(tokens, decoder), stops)


def whole_characters(tokens: Iterable[int], decoder: StreamDecoder) -> Iterator[str]:
    """The text of each token, or of as many as make a character."""
    for token in tokens:
        if text := decoder.push(token):
            yield text
    if text := decoder.finish():
        yield text


def until_stop(pieces: Iterable[str], stops: Sequence[str]) -> Iterator[str]:
    """The pieces up to the stop string that is complete first, wherever pieces begin and end.

    What may be the beginning of a stop string waits until it is clear that it is none.

    >>> list(until_stop(["one t", "w", "o th", "ree"], ["two", "three"]))
    ['one ']
    """
    waiting = ""
    for piece in pieces:
        waiting += piece
        ends = [(place + len(stop), place) for stop in stops if (place := waiting.find(stop)) >= 0]
        if ends:
            if text := waiting[: min(ends)[1]]:
                yield text
            return
        begun = max((_begun(waiting, stop) for stop in stops), default=0)
        if text := waiting[: len(waiting) - begun]:
            yield text
        waiting = waiting[len(waiting) - begun :]
    if waiting:
        yield waiting


def _begun(text: str, stop: str) -> int:
    """How many characters of `stop` the end of `text` is."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
