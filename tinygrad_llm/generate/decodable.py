"""Protocols of models that can be decoded: generation depends on them, and on no model class.

Every `LanguageModel`, such as a GPT, is decodable, and so is an encoder-decoder together with its source texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

from tinygrad_llm.arrays import Array
from tinygrad_llm.tensor import Tensor


class Cache(Protocol):
    """Keys and values of the tokens that were read, such as `nn.KVCache`."""

    @property
    def length(self) -> int:
        """The number of tokens held."""

    def truncate(self, length: int) -> None:
        """Drop all tokens after the first `length`."""

    def select(self, rows: Array) -> None:
        """Keep row rows[i] of the batch as row i."""


class DecodableConfig(Protocol):
    """Sizes that decoding needs, both in tokens."""

    @property
    def context_length(self) -> int: ...

    @property
    def vocab_size(self) -> int: ...


class Decodable(Protocol):
    """A model that predicts the next token. Its logits are `head(hidden(ids))`.

    The two halves are separate because the head is wide, one row for each token of the vocabulary, and decoding needs
    its output only at the last positions.
    """

    @property
    def config(self) -> Any:  # a DecodableConfig: mypy cannot match a dataclass's field with a property of a protocol
        """See `DecodableConfig`."""

    def new_cache(self) -> Any:  # a Cache
        """An empty cache with room for one context."""

    def hidden(self, ids: Any, cache: Any = None, mask: Any = None, positions: Any = None) -> Tensor:
        """Hidden states after the last block. With a `cache`, `ids` follow the tokens it holds.

        Shapes: ids (B, T), mask broadcastable to (B, H, T, S), positions (T,) or (B, T) -> (B, T, C)
        """

    @property
    def head(self) -> Any:
        """Hidden states to logits. Shapes: (B, T, C) -> (B, T, V)"""

    def modules(self) -> Iterator[Any]:
        """The model and all its layers; their `training` is set to False while decoding reads."""


@runtime_checkable
class RowSelectable(Protocol):
    """A decodable whose rows have further inputs besides their ids, such as the source texts of a translation."""

    def select(self, rows: Array) -> Decodable:
        """The same with row rows[i] as row i. Shapes: rows (N,)"""
