"""Byte pair encoding: the commonest neighbours become one token, again and again.

The tokens start as the 256 bytes of UTF-8, so every text can be written in them and comes back unchanged. Training
joins the commonest pair of neighbours into a new token until the vocabulary is full; the order in which tokens were
made is their *rank*. Encoding does the same to a new text: of all neighbours whose bytes together are a token, the
lowest rank is joined first, the leftmost of equals. (Sennrich et al. 2016, arXiv:1508.07909; on bytes: Radford et al.
2019, GPT-2.)

Text is first split into pieces, and no token reaches from one piece into the next: `SPLIT_PATTERN` keeps words,
numbers, punctuation and whitespace apart, a single space going with the word after it.

Which ids are *the* ids. The pattern asks which characters are letters and numbers, and two Unicode tables answer:
tiktoken's (Rust) and that of Python's `regex`. They are of different years and disagree on some 17,000 code points,
letters and numbers to the newer table and not yet assigned in the older. tiktoken's answer is the one that counts:
`encode` asks it for every text, as does everybody who uses GPT-2's vocabulary through tiktoken. `encode_readable` asks
`regex`, and gives the same ids for every text whose characters both tables classify alike. Where they differ its tokens
may differ, but both decode to the text. Training splits by `regex`: that decides what the ranks become, not how a text
is cut later.
"""

import base64
import binascii
import functools
import heapq
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import ConfigError, TokenizerError
from tinygrad_llm.text.chunks import WHITESPACE
from tinygrad_llm.text.tokenizer import (
    END_OF_TEXT,
    AllowedSpecial,
    Tokenizer,
    check_special_tokens,
    check_text,
    refuse_special_tokens,
    split_at_special_tokens,
)

if TYPE_CHECKING:
    import tiktoken

# GPT-2's pattern, written without backtracking (`++` never gives back what it took), which is faster and splits alike.
SPLIT_PATTERN = "|".join(
    [
        r"'(?:[sdmt]|ll|ve|re)",  # English endings: it's, I'll, we've
        r" ?\p{L}++",  # letters, with the space before them
        r" ?\p{N}++",  # numbers
        r" ?[^\s\p{L}\p{N}]++",  # punctuation and all the rest
        r"\s++$",  # whitespace at the end of the text
        r"\s+(?!\S)",  # whitespace but for its last character, which may be the space of the next word
        r"\s",  # that last character where the next word does not take it: a line break
    ]
)

# A run this long is handed to tiktoken in two parts: its stack overflows on some hundred thousand spaces before a word.
_LONG_RUN = 5000
_LONG_WHITESPACE = re.compile(f"(?<![{WHITESPACE}])[{WHITESPACE}]{{{_LONG_RUN},}}+(?=.)", re.DOTALL)
_NINE_WHITESPACES = re.compile(f"[{WHITESPACE}]{{9}}")


class BPETokenizer(Tokenizer):
    """Byte-level BPE with GPT-2's split pattern, trained here or built from ranks.

    >>> tokenizer = BPETokenizer.train("low low lower slow slower slow", vocab_size=261)
    >>> tokenizer.encode("slower")
    [115, 257, 101, 114]
    >>> [tokenizer.token_bytes(token_id) for token_id in tokenizer.encode(" slower low")]
    [b' slow', b'e', b'r', b' ', b'low']
    """

    kind = "bpe"

    def __init__(self, ranks: dict[bytes, int], special_tokens: dict[str, int] | None = None) -> None:
        """From every token's rank, which is its id, and the special tokens' ids.

        Ranks and special ids together must be 0..n-1, each once, and all 256 single bytes must be there.

        Raises: TokenizerError otherwise
        """
        special_tokens = {} if special_tokens is None else special_tokens
        _check_vocabulary(ranks, special_tokens)
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
        text: str | Iterable[str],
        vocab_size: int,
        special_tokens: Iterable[str] = (END_OF_TEXT,),
        min_pair_count: int = 2,
        progress: Callable[[int, int], None] | None = None,
    ) -> "BPETokenizer":
        """The tokenizer that `train_ranks` learns from a text or several; special tokens take the last ids.

        Special tokens are left out of the text before it is counted. `progress(merges_done, merges_in_all)` is called
        after each merge. The vocabulary stays smaller than `vocab_size` where no pair of neighbours occurs
        `min_pair_count` times any more: read the size from the tokenizer.

        Units: vocab_size in tokens, the 256 bytes and the special tokens included
        Raises: ConfigError if `vocab_size` has no room for those or `min_pair_count` is below 1, TokenizerError if a
                text is not valid Unicode
        """
        if not isinstance(text, Iterable):
            raise TokenizerError(f"BPE is trained on a str or several; got {type(text).__name__}")
        if isinstance(min_pair_count, bool) or not isinstance(min_pair_count, int) or min_pair_count < 1:
            raise ConfigError(f"min_pair_count must be an integer of at least 1; got {min_pair_count!r}")
        names = check_special_tokens(special_tokens)
        smallest = 256 + len(names)
        if isinstance(vocab_size, bool) or not isinstance(vocab_size, int | np.integer) or vocab_size < smallest:
            raise ConfigError(
                f"vocab_size must be an integer of at least {smallest} (256 bytes and {len(names)} special tokens); "
                f"got {vocab_size!r}"
            )
        counts = count_pieces([text] if isinstance(text, str) else text, names)
        ranks = train_ranks(counts, int(vocab_size) - smallest, min_pair_count, progress)
        return BPETokenizer(ranks, {name: len(ranks) + place for place, name in enumerate(names)})

    def encode_ordinary(self, text: str) -> list[int]:
        """The ids of `text` at tiktoken's speed, special tokens' text taken like any other.

        Raises: TokenizerError if the text is not valid Unicode
        """
        ids: list[int] = []
        for part in _parts_for_tiktoken(check_text(text)):
            ids.extend(self.tiktoken_encoding.encode_ordinary(part))
        return ids

    def encode_readable(self, text: str) -> list[int]:
        """What `encode_ordinary` computes, in Python, to be read: split into pieces, join pairs by rank.

        Raises: TokenizerError if the text is not valid Unicode
        """
        ids: list[int] = []
        for piece in split_pieces(check_text(text)):
            content = piece.encode()
            whole = self.ranks.get(content)  # most pieces are one token, found without joining
            ids.extend([whole] if whole is not None else join_pairs(content, self.ranks))
        return ids

    def encode_to_array(self, text: str, allowed_special: AllowedSpecial = ()) -> NDArray[Any]:
        """The same ids as `encode`, as an array of `id_dtype`, without a Python integer in between.

        Shapes: -> (T,)
        Raises: TokenizerError as `encode`
        """
        allowed = refuse_special_tokens(text, self._special_tokens, allowed_special)
        if len(allowed) < 2 and len(_parts_for_tiktoken(text)) == 1:
            # The usual text: tiktoken finds the one special token itself. Of several it need not take the longest.
            ids = self.tiktoken_encoding.encode_to_numpy(text, allowed_special=allowed, disallowed_special=())
            return ids.astype(self.id_dtype)
        rows = []
        for place, part in enumerate(split_at_special_tokens(text, allowed)):
            if place % 2:
                rows.append(np.array([self._special_tokens[part]], dtype=self.id_dtype))
            else:
                for smaller in _parts_for_tiktoken(part):
                    ids = self.tiktoken_encoding.encode_to_numpy(smaller, disallowed_special=())
                    rows.append(ids.astype(self.id_dtype))
        return np.concatenate(rows) if rows else np.empty(0, dtype=self.id_dtype)

    @property
    def encoders_at_once(self) -> int:
        """One for each core: tiktoken lets other threads run while it works."""
        _ = self.tiktoken_encoding  # made once, before several threads ask for it
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @functools.cached_property
    def tiktoken_encoding(self) -> "tiktoken.Encoding":
        """The same vocabulary as a `tiktoken.Encoding`, made when first asked for."""
        import tiktoken

        return tiktoken.Encoding(
            f"tinygrad_llm-{self.kind}",
            pat_str=SPLIT_PATTERN,
            mergeable_ranks=self.ranks,
            special_tokens=self._special_tokens,
        )

    def with_special_tokens(self, names: Iterable[str]) -> Self:
        """A copy with more special tokens, whose ids follow the present ones: none of the old ids changes.

        A model for the copy needs as many more rows in its embedding and its head.

        Raises: TokenizerError for names that are not new
        """
        new = check_special_tokens(names)
        known = [name for name in new if name in self._special_tokens]
        if known:
            raise TokenizerError(f"new special tokens must be new; this vocabulary has {known}")
        added = {name: self.vocab_size + place for place, name in enumerate(new)}
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


def split_pieces(text: str) -> list[str]:
    """The pieces of `text` that no token may cross; joined they are the text.

    >>> split_pieces("It's 2 a.m.,  isn't it?")
    ['It', "'s", ' 2', ' a', '.', 'm', '.,', ' ', ' isn', "'t", ' it', '?']
    """
    import regex

    return regex.findall(SPLIT_PATTERN, text)


def join_pairs(piece: bytes, ranks: dict[bytes, int]) -> list[int]:
    """The ids of one piece: single bytes, joined pair by pair, the lowest rank first and the leftmost of equals.

    A heap holds the pairs that may be joined, so that a piece of a million bytes takes n log n steps. Parts are known
    by where they start; the end of one is the start of the next.

    >>> join_pairs(b"aaa", {b"a": 0, b"aa": 1})
    [1, 0]
    """
    size = len(piece)
    end = list(range(1, size + 1))  # end[start] of the part that starts there; 0 once it is joined to the one before
    before = list(range(-1, size))  # the start of the part that ends where this one starts

    def rank_of_pair(start: int) -> int | None:
        middle = end[start]
        return ranks.get(piece[start : end[middle]]) if middle < size else None

    waiting = [(rank, start) for start in range(size - 1) if (rank := rank_of_pair(start)) is not None]
    heapq.heapify(waiting)
    while waiting:
        rank, start = heapq.heappop(waiting)
        if not end[start] or rank_of_pair(start) != rank:
            continue  # one of the two was joined to another since
        middle = end[start]
        end[start], end[middle] = end[middle], 0
        if end[start] < size:
            before[end[start]] = start
        for neighbour in (before[start], start):
            if neighbour >= 0 and (rank_there := rank_of_pair(neighbour)) is not None:
                heapq.heappush(waiting, (rank_there, neighbour))

    ids, start = [], 0
    while start < size:
        ids.append(ranks[piece[start : end[start]]])
        start = end[start]
    return ids


def count_pieces(texts: Iterable[str], special_tokens: Iterable[str]) -> Counter[bytes]:
    """How often each piece occurs in all the texts, special tokens left out.

    Raises: TokenizerError if a text is not valid Unicode
    """
    counts: Counter[str] = Counter()
    special = list(special_tokens)
    for text in texts:
        for part in split_at_special_tokens(check_text(text), special)[::2]:
            counts.update(split_pieces(part))
    return Counter({piece.encode(): count for piece, count in counts.items()})


def train_ranks(
    pieces: dict[bytes, int],
    num_merges: int,
    min_pair_count: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> dict[bytes, int]:
    """Learn up to `num_merges` tokens beyond the 256 bytes; returns every token with its rank.

    Each merge joins the pair of neighbours with the highest count in all pieces (a piece that occurs five times counts
    five times; in `aaa` the pair `aa` counts twice). Of pairs with equal counts the one of the lowest ids is taken,
    first its left token's, then its right one's: the same pieces give the same tokens on every machine.

    All distinct pieces lie in one row of symbols, each of which knows its neighbours. A merge visits only the places
    where its pair stands and corrects the counts around them, so the whole training costs about as much as a few passes
    over the distinct pieces. The heap may hold counts that have fallen since; they are put right when they come up.
    """
    symbols: list[int] = []
    weight: list[int] = []  # of each place: how often its piece occurs
    left: list[int] = []  # of each place: the place before it in its piece, or -1
    right: list[int] = []
    for piece, count in pieces.items():
        start, stop = len(symbols), len(symbols) + len(piece)
        symbols.extend(piece)
        weight.extend([count] * len(piece))
        left.extend([-1, *range(start, stop - 1)])
        right.extend([*range(start + 1, stop), -1])

    pair_count: defaultdict[tuple[int, int], int] = defaultdict(int)
    places: defaultdict[tuple[int, int], list[int]] = defaultdict(list)  # where a pair stands, or once stood
    for place, (first, second) in enumerate(pairwise(symbols)):
        if right[place] >= 0:
            pair_count[first, second] += weight[place]
            places[first, second].append(place)

    heap = [(-count, pair) for pair, count in pair_count.items()]
    heapq.heapify(heap)
    tokens = [bytes([byte]) for byte in range(256)]
    while heap and len(tokens) < 256 + num_merges:
        negative_count, pair = heapq.heappop(heap)
        count = pair_count[pair]
        if count < min_pair_count:
            continue
        if count != -negative_count:
            heapq.heappush(heap, (-count, pair))
            continue
        first, second = pair
        merged = len(tokens)
        tokens.append(tokens[first] + tokens[second])
        grown = set()
        for place in sorted(places.pop(pair)):  # in order, so that of aaa the left two are joined
            neighbour = right[place]
            if symbols[place] != first or neighbour < 0 or symbols[neighbour] != second:
                continue  # another merge, or this one a step before, took one of the two
            before, after, times = left[place], right[neighbour], weight[place]
            if before >= 0:
                pair_count[symbols[before], first] -= times
                new = (symbols[before], merged)
                pair_count[new] += times
                places[new].append(before)
                grown.add(new)
            if after >= 0:
                pair_count[second, symbols[after]] -= times
                new = (merged, symbols[after])
                pair_count[new] += times
                places[new].append(place)
                grown.add(new)
                left[after] = place
            symbols[place], symbols[neighbour], right[place] = merged, -1, after
        del pair_count[pair]
        for new in grown:
            heapq.heappush(heap, (-pair_count[new], new))
        if progress is not None:
            progress(len(tokens) - 256, num_merges)
    return {token: rank for rank, token in enumerate(tokens)}


def _check_vocabulary(ranks: dict[bytes, int], special_tokens: dict[str, int]) -> None:
    """Everything that tiktoken takes for granted, and panics over when it is not so.

    Raises: TokenizerError
    """
    if not isinstance(ranks, dict) or not all(isinstance(token, bytes) and token for token in ranks):
        raise TokenizerError("BPE ranks must be a dict from non-empty bytes to integers")
    if not isinstance(special_tokens, dict):
        raise TokenizerError(f"special tokens must be a dict from names to ids; got {type(special_tokens).__name__}")
    names = check_special_tokens(special_tokens)
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise TokenizerError(
            f"a byte-level vocabulary must hold all 256 single bytes; {len(missing)} are missing, "
            f"such as 0x{missing[0]:02x}"
        )
    clash = next((name for name in names if name.encode() in ranks), None)
    if clash is not None:
        raise TokenizerError(f"special tokens must not be ordinary tokens too; {clash!r} is both")
    numbers = [*ranks.values(), *special_tokens.values()]
    wrong = [number for number in numbers if type(number) is not int or not 0 <= number < len(numbers)]
    if not wrong and len(set(numbers)) < len(numbers):
        wrong = [number for number, times in Counter(numbers).items() if times > 1]
    if wrong:
        raise TokenizerError(
            f"the ids of {len(ranks)} tokens and {len(names)} special tokens must be 0..{len(numbers) - 1}, each once; "
            f"{wrong[0]!r:.60} is not, or not only once"
        )


def _parts_for_tiktoken(text: str) -> list[str]:
    """The text, cut before the last whitespace of each very long run, where pieces end anyway."""
    # Of every 500th character a run of 5,000 holds nine in a row: a glance at those spares nearly every text the
    # search.
    if not _NINE_WHITESPACES.search(text[:: _LONG_RUN // 10]):
        return [text]
    cuts = [match.end() - 1 for match in _LONG_WHITESPACE.finditer(text)]
    return [text[start:stop] for start, stop in pairwise([0, *cuts, len(text)])]
