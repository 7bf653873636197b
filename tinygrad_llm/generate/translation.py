"""Whole texts in, whole texts out: what an encoder-decoder is for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.padding import pad_right
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.generate.beam import beam_search
from tinygrad_llm.generate.decoding import generate
from tinygrad_llm.models import EncoderDecoder
from tinygrad_llm.text import Tokenizer


def translate(
    model: EncoderDecoder,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    num_beams: int = 1,
    length_penalty: float = 1.0,
    batch_size: int = 32,
    use_cache: bool = True,
) -> list[str]:
    """What the model makes of each text: always the likeliest token, or the best of a search with `num_beams`.

    Greedy texts are written `batch_size` at a time, those of like length together.

    Raises: DataError for a text of no tokens or of more than the context has room for; ConfigError for a setting out
            of its range, or a tokenizer without the end-of-text token
    """
    expect_count("translate", "num_beams", num_beams, at_least=1)
    expect_count("translate", "batch_size", batch_size, at_least=1)
    end, room = tokenizer.end_of_text, model.config.context_length - 1
    if end is None:
        raise ConfigError("translate: the tokenizer must have an end-of-text token, which begins and ends a target")
    rows = []
    for text in texts:
        ids = tokenizer.encode_ordinary(text)
        if not 1 <= len(ids) <= room:
            raise DataError(f"translate: a text must have 1 to {room} tokens; {text[:60]!r} has {len(ids)}")
        rows.append([*ids, end])
    by_length = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    found = [""] * len(rows)
    step = batch_size if num_beams == 1 else 1
    for start in range(0, len(rows), step):
        places = by_length[start : start + step]
        lengths = np.array([len(rows[place]) for place in places])
        reading = model.reading(pad_right([rows[place] for place in places], int(lengths.max()), 0), lengths)
        prompts = [np.array([end])] * len(places)
        if num_beams == 1:
            written = generate(reading, prompts, room, eos_id=end, use_cache=use_cache, look_ahead=False)
        else:
            written = [beam_search(reading, prompts[0], room, num_beams, length_penalty, end, use_cache)[0].ids]
        for place, ids in zip(places, written, strict=True):
            found[place] = tokenizer.decode(ids[1:])
    return found
