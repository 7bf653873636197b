"""Near-duplicates in a list of texts, by the n-grams of characters that they share.

Two texts are as similar as the sets of n-grams of their normal forms overlap (Broder 1997, "On the resemblance and
containment of documents"):

    similarity(a, b) = |A ∩ B| / |A ∪ B|

From the first text to the last, a text is a near-duplicate if an earlier one that was kept has at least the threshold's
similarity; the others are kept. `near_duplicates_plain` compares all pairs. `near_duplicates` finds the same by
comparing few: with the n-grams of each set ordered from rare to frequent, two sets of a similarity of at least t share
one of the first |A| - ⌈t |A|⌉ + 1 of A and of the first |B| - ⌈t |B|⌉ + 1 of B (Bayardo et al. 2007, "Scaling up all
pairs similarity search"). Nothing is missed, and no random number is drawn.
"""

from __future__ import annotations

import math
import unicodedata
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.checks import expect_count, expect_number
from tinygrad_llm.errors import ConfigError

OPERATORS = set("*/%&@#\\-_")  # punctuation that changes what a text says, as in 3 * 4 and 3 / 4
ROUNDING = 1e-9  # of threshold times size, which must not be rounded up
COUNTED_TOGETHER = 4096  # texts


class _Letters(dict[int, int]):
    """For `str.translate`: a letter as it is, punctuation as a space; filled as letters are met."""

    def __missing__(self, code: int) -> int:
        letter = chr(code)
        is_punctuation = unicodedata.category(letter).startswith("P") and letter not in OPERATORS
        self[code] = ord(" ") if is_punctuation else code
        return self[code]


WITHOUT_PUNCTUATION = _Letters()


class NearDuplicate(NamedTuple):
    """The number of a text, from 0, and that of the earlier text that is kept in its place."""

    number: int
    kept: int
    similarity: float


def normal_form(text: str) -> str:
    """The text without case, punctuation and repeated spaces; a text of nothing else stays as it is.

    >>> normal_form("  What's 3 * 4, please?")
    'what s 3 * 4 please'
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.translate(WITHOUT_PUNCTUATION).split()) or " ".join(folded.split())


def grams(text: str, size: int) -> set[str]:
    """The n-grams of characters of a normal form; a text shorter than one is its own."""
    return {text[start : start + size] for start in range(max(len(text) - size + 1, 1))}


def similarity(a: str, b: str, ngram: int = 3) -> float:
    """The share of n-grams that two texts have in common, from 0 to 1.

    >>> similarity("Convert 45 km to meters.", "convert 45 km to meters")
    1.0
    """
    first, second = (grams(normal_form(text), ngram) for text in (a, b))
    return len(first & second) / len(first | second)


def near_duplicates_plain(texts: Sequence[str], threshold: float = 0.95, ngram: int = 3) -> list[NearDuplicate]:
    """The definition: every text compared with every earlier one that is kept; the most similar counts."""
    kept: list[int] = []
    found = []
    for index, text in enumerate(texts):
        closest = max(kept, key=lambda one: (similarity(text, texts[one], ngram), -one), default=None)
        if closest is not None and similarity(text, texts[closest], ngram) >= threshold:
            found.append(NearDuplicate(index, closest, similarity(text, texts[closest], ngram)))
        else:
            kept.append(index)
    return found


def near_duplicates(
    texts: Sequence[str],
    threshold: float = 0.95,
    ngram: int = 3,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[NearDuplicate]:
    """The near-duplicates of earlier texts, in order; see above. `progress(done, total)` is called at each text.

    Its memory is proportional to the length of the texts. The lower the threshold, the more pairs are compared.

    >>> near_duplicates(["Name a bird.", "Name a fish.", "name a bird"])
    [NearDuplicate(number=2, kept=0, similarity=1.0)]

    Raises: ConfigError unless 0 < threshold <= 1, and for an `ngram` that is not an integer of at least 1, or too large
            for the number of different characters
    """
    expect_number("near_duplicates", "threshold", threshold)
    if not 0 < threshold <= 1:
        raise ConfigError(f"near_duplicates: threshold must be above 0 and at most 1; got {threshold!r}")
    expect_count("near_duplicates", "ngram", ngram)
    sets = _sets_by_rarity(list(map(normal_form, texts)), ngram)
    index: dict[int, array[int]] = defaultdict(lambda: array("i"))  # the kept texts that have a gram in their prefix
    shared = np.zeros(1 + max((int(one[-1]) for one in sets), default=0), bool)
    sizes = np.array([len(one) for one in sets])
    found = []
    for number, current in enumerate(sets):
        progress(number, len(sets))
        size = len(current)
        prefix = current[: size - math.ceil(threshold * size - ROUNDING) + 1].tolist()
        lists = [np.frombuffer(index[gram], np.int32) for gram in prefix if gram in index]
        closest = _closest(current, sets, sizes, np.unique(np.concatenate(lists)), threshold, shared) if lists else None
        if closest is not None:
            found.append(NearDuplicate(number, *closest))
            continue
        lists.clear()  # an array with a view cannot grow
        for gram in prefix:
            index[gram].append(number)
    return found


def _closest(
    current: NDArray[np.int32],
    sets: Sequence[NDArray[np.int32]],
    sizes: NDArray[np.int64],
    candidates: NDArray[np.int32],
    threshold: float,
    shared: NDArray[np.bool_],
) -> tuple[int, float] | None:
    """The most similar of the candidates, the first of equal ones, and its similarity; None below the threshold.

    Shapes: `shared` is False for each gram, and is so again afterwards
    """
    least, most = threshold * len(current) - ROUNDING, len(current) / threshold + ROUNDING
    candidates = candidates[(least <= sizes[candidates]) & (sizes[candidates] <= most)]
    if not candidates.size:
        return None
    others = sizes[candidates]
    shared[current] = True
    members = shared[np.concatenate([sets[one] for one in candidates.tolist()])]
    shared[current] = False
    common = np.add.reduceat(members, np.cumsum(others) - others, dtype=int)
    similarities = common / (len(current) + others - common)
    best = int(similarities.argmax())
    return (int(candidates[best]), float(similarities[best])) if similarities[best] >= threshold else None


def _sets_by_rarity(texts: Sequence[str], ngram: int) -> list[NDArray[Any]]:
    """The set of n-grams of each text, as numbers that count from the rarest n-gram on, in increasing order.

    Raises: ConfigError if an n-gram of so many different characters has no number of 63 bits
    """
    alphabet = sorted(set().union(*texts))
    bits = len(alphabet).bit_length()  # 0 is no character: it fills texts that are shorter than an n-gram
    if bits * ngram > 63:
        raise ConfigError(
            f"near_duplicates: ngram must be at most {63 // bits} for texts of {len(alphabet):,} different characters; "
            f"got {ngram}"
        )
    codes = np.zeros(1 + max(map(ord, alphabet), default=0), np.int64)
    codes[[ord(letter) for letter in alphabet]] = np.arange(1, len(alphabet) + 1)
    sets: list[NDArray[Any]] = [_codes_of(text, codes, bits, ngram) for text in texts]
    known, counts = np.empty(0, np.int64), np.empty(0, np.int64)  # each n-gram, and the texts that have it
    for start in range(0, len(sets), COUNTED_TOGETHER):
        values, times = np.unique(np.concatenate(sets[start : start + COUNTED_TOGETHER]), return_counts=True)
        known, where = np.unique(np.concatenate([known, values]), return_inverse=True)
        counts = np.bincount(where, np.concatenate([counts, times]))
    rank = np.empty(len(known), np.int32)
    rank[np.lexsort((known, counts))] = np.arange(len(known), dtype=np.int32)
    for number, one in enumerate(sets):
        sets[number] = np.sort(rank[np.searchsorted(known, one)])
    return sets


def _codes_of(text: str, codes: NDArray[np.int64], bits: int, ngram: int) -> NDArray[np.int64]:
    """The different n-grams of a text, each as one number. Shapes: -> (N,), in increasing order"""
    letters = codes[np.frombuffer(text.encode("utf-32-le"), np.uint32)]
    if len(letters) < ngram:
        letters = np.concatenate([letters, np.zeros(ngram - len(letters), np.int64)])
    count = len(letters) - ngram + 1
    packed = np.zeros(count, np.int64)
    for place in range(ngram):
        packed = packed << bits | letters[place : place + count]
    return np.unique(packed)
