"""Continuous batching: texts that are decoded together join and leave between two tokens (Yu et al. 2022, "Orca").

A batch that waits for its longest text wastes the rows of the others, and lets new texts wait. Here each text has its
own cache, and each step reads one token of every text that is in the batch now:

    step       1  2  3  4  5  6
    text A     p  p  .  a  a  a         p: a chunk of its prompt is read
    text B           p  b               a, b, c: a token of it is read, together with those of the others
    text C                    p  c

A prompt is read alone, in chunks, between the steps of the others, up to its last token; so what the caches hold of it
does not depend on the other texts. In a step of at most eight texts each is multiplied as if it were alone
(`ops.linear.times_table`), and has the same logits to the bit; the products of more texts round differently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate.decodable import Decodable
from tinygrad_llm.generate.decoding_state import prompts_of, without_dropout
from tinygrad_llm.graph import no_grad
from tinygrad_llm.tensor import Tensor

CHUNK = 64  # tokens of a prompt that are read at once; the others wait for it
MOST_ROWS = 64  # that a model reads at once, each with its own cache


class Row:
    """A text in the batch: its ids so far, and the cache of those that were read."""

    def __init__(self, ids: Sequence[int], cache: Any) -> None:
        self.ids, self.cache = list(ids), cache
        self.prompt_length = len(ids)

    @property
    def reads_prompt(self) -> bool:
        """Whether more of its prompt must be read than the last token, which the next step reads."""
        return self.cache.length < self.prompt_length - 1


class ContinuousBatch:
    """The texts that `model` reads together. Only its caches are kept here; the caller chooses and appends tokens.

        row = batch.join(prompt)
        while row.reads_prompt:
            batch.read_prompt(row)
        row.ids.append(int(batch.logits([row])[0].argmax()))
        batch.leave(row)

    The last texts that left are kept, at most `kept_tokens` tokens of them and `kept_bytes` bytes of caches. A prompt
    that begins like that of one of them, or of one in the batch, takes that part from its cache, in whole chunks: the
    same numbers to the bit.
    """

    def __init__(self, model: Decodable, kept_tokens: int = 0, kept_bytes: int = 1 << 30) -> None:
        self.model, self.kept_tokens, self.kept_bytes = model, kept_tokens, kept_bytes
        self.rows: list[Row] = []
        self._kept: list[Row] = []  # the text that left last comes last
        self._modules = list(model.modules())

    def join(self, ids: Any) -> Row:
        """A text that begins with these ids. Shapes: ids (T,), T at most the context length. Raises: ConfigError"""
        (prompt,) = prompts_of("ContinuousBatch", self.model, ids)
        context = self.model.config.context_length
        if len(prompt) > context:
            raise ConfigError(f"ContinuousBatch: a prompt has at most {context} tokens, the context; got {len(prompt)}")
        if len(self.rows) >= MOST_ROWS:
            raise ConfigError(f"ContinuousBatch: at most {MOST_ROWS} texts at once; got one more")
        row = Row(prompt.tolist(), self.model.new_cache())
        self.rows.append(row)
        return row

    def leave(self, row: Row, keep: bool = True) -> None:
        """A text has ended, or nobody wants it any more. Do not `keep` one whose reading has failed."""
        self.rows.remove(row)
        if keep:
            self._kept.append(row)
        while (
            sum(len(kept.ids) for kept in self._kept) > self.kept_tokens
            or sum(kept.cache.nbytes for kept in self._kept) > self.kept_bytes
        ):
            del self._kept[0]

    def reuse(self, row: Row) -> int:
        """Take what another text's cache holds of the prompt's beginning; to be called before anything is read.

        Returns the number of tokens that need not be read.
        """
        best, source = 0, None
        for other in (*self._kept, *self.rows):
            if other is not row and (shared := _shared(row, other)) > best:
                best, source = shared, other
        if source is not None:
            cache = source.cache.branch(np.arange(1))  # of its one text
            cache.truncate(best)  # to nothing, if it is of a kind that cannot go back
            row.cache = cache
        return int(row.cache.length)

    def read_prompt(self, row: Row) -> Tensor:
        """Read the next chunk of a prompt, and return its hidden states. Shapes: -> (1, T, C), T at most CHUNK"""
        start = row.cache.length
        stop = min(start + CHUNK, row.prompt_length - 1)
        with without_dropout(self._modules), no_grad():
            return self.model.hidden(np.array([row.ids[start:stop]]), row.cache)

    def logits(self, rows: Sequence[Row]) -> Array:
        """Read the last token of each of these texts; the logits of the tokens after them. Shapes: -> (N, V)"""
        ids = np.array([row.ids[-1:] for row in rows])
        positions = np.array([[row.cache.length] for row in rows])
        cache = rows[0].cache.of_rows([row.cache for row in rows])
        with without_dropout(self._modules), no_grad():
            logits: Array = self.model.head(self.model.hidden(ids, cache, positions=positions)).data
        return logits[:, -1]


def _shared(row: Row, other: Row) -> int:
    """How many of a prompt's first tokens `other` has read as prompt: whole chunks, or all that must be read."""
    length, read = row.prompt_length - 1, min(other.prompt_length - 1, other.cache.length)
    same = _same(row.ids[:length], other.ids[:read])
    return same if same == length == other.prompt_length - 1 else same - same % CHUNK


def _same(ids: Sequence[int], others: Sequence[int]) -> int:
    """The length of the common beginning."""
    length = min(len(ids), len(others))
    different = np.flatnonzero(np.array(ids[:length], np.int64) != np.array(others[:length], np.int64))
    return int(different[0]) if different.size else length
