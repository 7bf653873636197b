"""Which source words a translation attends to: the cross-attention of an encoder-decoder, word by word."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.data.padding import expect_length
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import no_grad
from tinygrad_llm.models import EncoderDecoder
from tinygrad_llm.study.recorded_attention import recorded_attention
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import evaluating

SHADES = " ░▒▓█"
END = "(end)"
LONGEST_LABEL = 24  # characters of a target word in a picture


@dataclass(frozen=True)
class Alignment:
    """The weights that the words of a target give to the words of its source, in each layer, the mean over its heads.

    A word of several tokens receives the sum of their weights, and gives their mean. The weights of a target token are
    those at the position that predicts it. Both sides end with the end of the text.

    Shapes: weights (layers, target words, source words); each row sums to 1
    """

    source: list[str]
    target: list[str]
    weights: Array

    @property
    def sharpest_layer(self) -> int:
        """The layer with the largest mean of each row's largest weight."""
        return int(self.weights.max(axis=-1).mean(axis=-1).argmax())

    def picture(self, layer: int | None = None, columns: int = 80) -> str:
        """A row of shades for each target word, by default in the sharpest layer; the source words are numbered.

        Units: columns in characters, the width that is kept if there are not too many words
        """
        weights = self.weights[self.sharpest_layer if layer is None else layer]
        target = [word if len(word) <= LONGEST_LABEL else word[: LONGEST_LABEL - 1] + "…" for word in self.target]
        width = max(map(len, target))
        cell = 3 if width + 3 * len(self.source) <= columns else 2
        names = " ".join(f"{number} {word}" for number, word in enumerate(self.source, 1))
        lines = textwrap.wrap(names, max(columns, 20))
        lines.append(" " * width + "".join(f"{number:>{cell}}" for number in range(1, len(self.source) + 1)))
        for word, row in zip(target, weights, strict=True):
            shades = (SHADES[min(int(len(SHADES) * share), len(SHADES) - 1)] for share in row)
            lines.append(f"{word:>{width}}" + "".join(f"{2 * shade:>{cell}}" for shade in shades))
        return "\n".join(lines)


def align(model: EncoderDecoder, tokenizer: Tokenizer, source: str, target: str) -> Alignment:
    """The cross-attention of every layer on a source text and a target text, such as its translation.

    Raises: DataError for a text without a token, or of more tokens than the context; ConfigError for a tokenizer
            without the end-of-text token
    """
    end, context = tokenizer.end_of_text, model.config.context_length
    if end is None:
        raise ConfigError("align: the tokenizer must have an end-of-text token, which begins and ends a target")
    rows = [tokenizer.encode_ordinary(text) for text in (source, target)]
    for text, row in zip((source, target), rows, strict=True):
        expect_length(text, len(row), context - 1)
    with no_grad(), evaluating(model), recorded_attention() as calls:
        model(np.array([[*rows[0], end]]), np.array([[end, *rows[1]]]))
    layers = model.config.num_layers
    crossing = calls[layers + 1 :: 2]  # after the encoder's, the decoder's self- and cross-attention in turn
    weights = np.stack([call.shares.mean(axis=0) for call in crossing])
    (source_words, source_starts), (target_words, target_starts) = (_words(tokenizer, row) for row in rows)
    weights = np.add.reduceat(weights, source_starts, axis=2)
    tokens_of_word = np.diff([*target_starts, len(rows[1]) + 1])
    weights = np.add.reduceat(weights, target_starts, axis=1) / tokens_of_word[:, None]
    return Alignment(source_words, target_words, weights)


def _words(tokenizer: Tokenizer, ids: list[int]) -> tuple[list[str], list[int]]:
    """The words of the tokens, then END, and the place of each one's first token.

    A token begins a word if it begins with a space, or if it or the token before it is punctuation.
    """
    starts: list[int] = []
    may_join = False
    for place, token in enumerate(ids):
        piece = tokenizer.decode([token]).replace("\N{REPLACEMENT CHARACTER}", "x")  # a part of a letter
        if not (may_join and piece[:1].isalnum()):
            starts.append(place)
        may_join = piece[-1:].isalnum() or piece[-1:].isspace()
    stops = [*starts[1:], len(ids)]
    words = [tokenizer.decode(ids[start:stop]).strip() for start, stop in zip(starts, stops, strict=True)]
    return [*words, END], [*starts, len(ids)]
