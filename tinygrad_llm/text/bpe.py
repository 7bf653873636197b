"""The byte pair encoding tokenizer: trained by bpe_training.py, encoded by tiktoken.

Start with plain_bpe.py, which is the whole idea in two functions. The tokens start as the 256 bytes of UTF-8, so every
text can be encoded, and decoding gives it back unchanged (on bytes: Radford et al. 2019, GPT-2).
"""

from __future__ import annotations

import base64
import binascii
import functools
import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.checks import expect_count
from tinygrad_llm.errors import ConfigError, TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.bpe_encoding import SPLIT_PATTERN, encode_piece, parts_for_tiktoken, split_pieces
from tinygrad_llm.text.bpe_training import count_pieces, train_ranks
from tinygrad_llm.text.special_tokens import (
    END_OF_TEXT,
    AllowedSpecial,
    expect_allowed,
    expect_special_tokens,
    expect_text,
    split_at_special_tokens,
)
from tinygrad_llm.text.tokenizer import Tokenizer

if TYPE_CHECKING:
    import tiktoken


class BPETokenizer(Tokenizer):
    """Byte-level BPE with GPT-2's split pattern, trained on a text or built from ranks.

    >>> tokenizer = BPETokenizer.train("low low lower slow slower slow", vocab_size=261)
    >>> tokenizer.encode("slower")
    [115, 257, 101, 114]
    >>> [tokenizer.token_bytes(token_id) for token_id in tokenizer.encode(" slower low")]
    [b' slow', b'e', b'r', b' ', b'low']
    """

    kind = "bpe"

    def __init__(self, ranks: dict[bytes, int], special_tokens: dict[str, int] | None = None) -> None:
        """`ranks` maps each token to its rank, which is its id; `special_tokens` maps each special token to its id.

        Ranks and special ids together must be 0..n-1, each once, and all 256 single bytes must be tokens.

        Raises: TokenizerError otherwise
        """
        special_tokens = {} if special_tokens is None else special_tokens
        _expect_vocabulary(ranks, special_tokens)
        tokens = [b""] * (len(ranks) + len(special_tokens))
        for token, rank in ranks.items():
            tokens[rank] = token
        for name, number in special_tokens.items():
            tokens[number] = name.encode()
        super().__init__(tokens, dict(special_tokens))
        self.ranks = dict(ranks)

    @classmethod
    def train(
        cls,
        text: str | Iterable[str] | Counter[bytes],
        vocab_size: int,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        min_pair_count: int = 2,
        progress: Callable[[int, int], None] | None = None,
    ) -> BPETokenizer:
        """Train on a text or several, or on their pieces as `count_pieces` counts them (see bpe_training.py).

        Special tokens get the last ids; in the text they are not counted. `progress(merges_done, merges_total)` is
        called after each merge. Training ends early if no pair of adjacent tokens occurs `min_pair_count` times:
        `vocab_size` of the tokenizer is smaller then.

        Units: vocab_size in tokens, with the 256 bytes and the special tokens
        Raises: ConfigError if `vocab_size` is too small for those or `min_pair_count` is below 1, TokenizerError if a
                text is not valid Unicode
        """
        if not isinstance(text, Iterable):
            raise TokenizerError(f"BPE is trained on a str or several; got {type(text).__name__}")
        expect_count("BPETokenizer.train", "min_pair_count", min_pair_count)
        names = expect_special_tokens(special_tokens)
        smallest = 256 + len(names)
        if isinstance(vocab_size, bool) or not isinstance(vocab_size, int | np.integer) or vocab_size < smallest:
            raise ConfigError(
                f"vocab_size must be an integer of at least {smallest} (256 bytes and {len(names)} special tokens); "
                f"got {vocab_size!r}"
            )
        counts = text if isinstance(text, Counter) else count_pieces([text] if isinstance(text, str) else text, names)
        ranks = train_ranks(counts, int(vocab_size) - smallest, min_pair_count, progress)
        return BPETokenizer(ranks, {name: len(ranks) + index for index, name in enumerate(names)})

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text`, computed by tiktoken; the text of a special token is encoded as ordinary text.

        Raises: TokenizerError if the text is not valid Unicode
        """
        ids: list[int] = []
        for part in parts_for_tiktoken(expect_text(text)):
            ids.extend(self.tiktoken_encoding.encode_ordinary(part))
        return ids

    def encode_readable(self, text: str) -> list[int]:
        """The ids of `encode_ordinary`, computed in Python: split into pieces, merge pairs by rank.

        Raises: TokenizerError if the text is not valid Unicode
        """
        ids: list[int] = []
        for piece in split_pieces(expect_text(text)):
            content = piece.encode()
            whole = self.ranks.get(content)  # most pieces are one token, found without merging
            ids.extend([whole] if whole is not None else encode_piece(content, self.ranks))
        return ids

    def encode_to_array(self, text: str, allowed_special: AllowedSpecial = ()) -> NDArray[Any]:
        """The ids of `encode` as an array of `id_dtype`, without creating Python integers.

        Shapes: -> (T,)
        Raises: TokenizerError as `encode`
        """
        allowed = expect_allowed(text, self._special_tokens, allowed_special)
        if len(allowed) < 2 and len(parts_for_tiktoken(text)) == 1:
            # The common case: tiktoken finds a single special token itself. Of several it may not take the longest.
            ids = self.tiktoken_encoding.encode_to_numpy(text, allowed_special=allowed, disallowed_special=())
            return ids.astype(self.id_dtype)
        rows = []
        for index, part in enumerate(split_at_special_tokens(text, allowed)):
            if index % 2:
                rows.append(np.array([self._special_tokens[part]], dtype=self.id_dtype))
            else:
                for short_part in parts_for_tiktoken(part):
                    ids = self.tiktoken_encoding.encode_to_numpy(short_part, disallowed_special=())
                    rows.append(ids.astype(self.id_dtype))
        return np.concatenate(rows) if rows else np.empty(0, dtype=self.id_dtype)

    @property
    def encoding_threads(self) -> int:
        """One per core: tiktoken releases the GIL."""
        _ = self.tiktoken_encoding  # created once, before several threads use it
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @functools.cached_property
    def tiktoken_encoding(self) -> tiktoken.Encoding:
        """The same vocabulary as a `tiktoken.Encoding`, created on first use."""
        import tiktoken

        return tiktoken.Encoding(
            f"tinygrad_llm-{self.kind}",
            pat_str=SPLIT_PATTERN,
            mergeable_ranks=self.ranks,
            special_tokens=self._special_tokens,
        )

    def with_special_tokens(self, names: Iterable[str]) -> Self:
        """A copy with more special tokens, whose ids follow the existing ones; no existing id changes.

        A model needs one more row per new token in its embedding and its head.

        Raises: TokenizerError for names that are not new
        """
        new = expect_special_tokens(names)
        known = [name for name in new if name in self._special_tokens]
        if known:
            raise TokenizerError(f"new special tokens must be new; this vocabulary has {known}")
        added = {name: self.vocab_size + index for index, name in enumerate(new)}
        return type(self)(self.ranks, self._special_tokens | added)

    def state(self) -> dict[str, Any]:
        """The tokens' bytes in base64 by rank, and the special tokens with their ids."""
        by_rank = sorted(self.ranks, key=self.ranks.__getitem__)
        return {
            "tokens": [base64.b64encode(token).decode("ascii") for token in by_rank],
            "special_tokens": self.special_tokens,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The tokenizer that `state` describes.

        Raises: TokenizerError
        """
        encoded, special_tokens = state.get("tokens"), state.get("special_tokens")
        if not isinstance(encoded, list) or not isinstance(special_tokens, dict):
            raise TokenizerError("a BPE tokenizer's file needs the list 'tokens' and the object 'special_tokens'")
        try:
            tokens = [base64.b64decode(token, validate=True) for token in encoded]
        except (TypeError, ValueError, binascii.Error) as error:
            raise TokenizerError(f"a BPE tokenizer's 'tokens' must be base64 text; {error}") from None
        if len(set(tokens)) != len(tokens):
            raise TokenizerError("a BPE tokenizer's tokens must differ from each other")
        taken = {number for number in special_tokens.values() if type(number) is int}
        free = (number for number in range(len(tokens) + len(special_tokens)) if number not in taken)
        return cls(dict(zip(tokens, free, strict=False)), special_tokens)


def _expect_vocabulary(ranks: dict[bytes, int], special_tokens: dict[str, int]) -> None:
    """Check everything that tiktoken assumes; it panics otherwise.

    Raises: TokenizerError
    """
    if not isinstance(ranks, dict) or not all(isinstance(token, bytes) and token for token in ranks):
        raise TokenizerError("BPE ranks must be a dict from non-empty bytes to integers")
    if not isinstance(special_tokens, dict):
        raise TokenizerError(f"special tokens must be a dict from names to ids; got {type(special_tokens).__name__}")
    names = expect_special_tokens(special_tokens)
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise TokenizerError(
            f"a byte-level vocabulary must hold all 256 single bytes; {len(missing)} are missing, "
            f"such as 0x{missing[0]:02x}"
        )
    clash = next((name for name in names if name.encode() in ranks), None)
    if clash is not None:
        raise TokenizerError(f"special tokens must not be ordinary tokens too; {shown(clash)} is both")
    numbers = [*ranks.values(), *special_tokens.values()]
    wrong = [number for number in numbers if type(number) is not int or not 0 <= number < len(numbers)]
    if not wrong and len(set(numbers)) < len(numbers):
        wrong = [number for number, times in Counter(numbers).items() if times > 1]
    if wrong:
        raise TokenizerError(
            f"the ids of {len(ranks)} tokens and {len(names)} special tokens must be 0..{len(numbers) - 1}, each once; "
            f"{wrong[0]!r:.60} is not, or not only once"
        )
