"""Translation with an encoder-decoder: whole texts in, whole texts out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.padding import expect_length, pad_right
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate.beam import beam_search
from tinygrad_llm.generate.decodable import Decodable
from tinygrad_llm.generate.decoding import generate
from tinygrad_llm.text import Tokenizer


class TranslationModel(Protocol):
    """A model that writes about a source text, such as `EncoderDecoder`."""

    @property
    def config(self) -> Any:
        """Has a `context_length`, in tokens."""

    def conditioned_on(self, source: Any, source_lengths: Any = None, /) -> Decodable:
        """The decoder with these sources: prompt i continues about source i. Shapes: source (B, S), lengths (B,)"""


def translate(
    model: TranslationModel,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    num_beams: int = 1,
    length_penalty: float = 1.0,
    batch_size: int = 32,
    use_cache: bool = True,
) -> list[str]:
    """The translation of each text: greedy decoding, or beam search if `num_beams` is above 1.

    Greedy decoding works on `batch_size` texts of similar length at a time.

    Raises: DataError for a text without a token, or longer than the context; ConfigError for a setting outside its
            range, or a tokenizer without the end-of-text token
    """
    expect_count("translate", "num_beams", num_beams, at_least=1)
    expect_count("translate", "batch_size", batch_size, at_least=1)
    end, room = tokenizer.end_of_text, model.config.context_length - 1
    if end is None:
        raise ConfigError("translate: the tokenizer must have an end-of-text token, which begins and ends a target")
    rows = []
    for text in texts:
        ids = tokenizer.encode_ordinary(text)
        expect_length(text, len(ids), room)
        rows.append([*ids, end])
    by_length = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    found = [""] * len(rows)
    step = batch_size if num_beams == 1 else 1
    for start in range(0, len(rows), step):
        places = by_length[start : start + step]
        lengths = np.array([len(rows[place]) for place in places])
        decodable = model.conditioned_on(pad_right([rows[place] for place in places], int(lengths.max()), 0), lengths)
        prompts = [np.array([end])] * len(places)
        if num_beams == 1:
            written = generate(decodable, prompts, room, eos_id=end, use_cache=use_cache, look_ahead=False)
        else:
            written = [beam_search(decodable, prompts[0], room, num_beams, length_penalty, end, use_cache)[0].ids]
        for place, ids in zip(places, written, strict=True):
            found[place] = tokenizer.decode(ids[1:])
    return found
