"""A long text in chunks that are encoded one by one, to the very ids of the whole.

A text may be cut where no piece of its tokenizer reaches across, and none looks across. For all tokenizers of this
package such a place lies before a whitespace that follows a non-whitespace:

- characters: each stands for itself;
- the book's words and WordPiece: a word holds no whitespace;
- BPE: in its pattern whitespace is the first character of a piece, or the piece is nothing but whitespace. So the
  piece that ends in the non-whitespace ends there, whatever follows; and the one that begins with the whitespace
  begins there, for the pattern never looks back. Its two looks ahead, for the end of the text and for a
  non-whitespace, are for pieces of whitespace, which do not end before such a place.

A run of spaces is never cut, and CR LF stays together. Only a special token with whitespace inside could lie across; a
place within one, or within what may become one when the text goes on, is left out.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

if TYPE_CHECKING:
    from tinygrad_llm.text.special_tokens import AllowedSpecial
    from tinygrad_llm.text.tokenizer import Tokenizer

# Unicode's White_Space property, spelled out because Python's own \s adds four control characters. Three of its members
# are controls to WordPiece, which takes them out and joins what they stood between: no place to cut a text.
_CUTTING = "\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
WHITESPACE = "\v\f\x85" + _CUTTING

_CUT = re.compile(f"(?<=[^{WHITESPACE}])[{_CUTTING}]")
_LOOK_BACK = 256  # characters kept of what came before, at least; more where a special token is longer


def encode_chunks(
    tokenizer: Tokenizer, blocks: Iterable[str], allowed_special: AllowedSpecial = ()
) -> Iterator[tuple[str, NDArray[Any]]]:
    """A text that comes in blocks, cut anywhere, as chunks with their ids: together those of `encode` on the whole.

    Memory holds a few blocks, and the unfinished end of what has come: where a text goes on without a place to cut it,
    such as a single whitespace, that end grows until there is one. As many chunks are encoded at once as the tokenizer
    has use for.

    Shapes: -> per chunk (T,), of the tokenizer's `id_dtype`
    Raises: TokenizerError as `Tokenizer.encode`
    """
    longest = max((len(token) for token in tokenizer.special_tokens), default=0)
    chunks = cut_into_chunks(blocks, tokenizer.last_cut, max(longest, _LOOK_BACK))
    at_once = tokenizer.encoding_threads
    if at_once == 1:
        for chunk in chunks:
            yield chunk, tokenizer.encode_to_array(chunk, allowed_special)
        return
    pool = ThreadPoolExecutor(at_once)
    waiting: deque[tuple[str, Future[NDArray[Any]]]] = deque()
    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(tokenizer.encode_to_array, chunk, allowed_special)))
            if len(waiting) > at_once:  # one waits beside those at work, and no more
                chunk, ids = waiting.popleft()
                yield chunk, ids.result()
        while waiting:
            chunk, ids = waiting.popleft()
            yield chunk, ids.result()
    finally:
        pool.shutdown(cancel_futures=True)


def cut_into_chunks(
    blocks: Iterable[str], last_cut: Callable[[str, int], int], look_back: int = _LOOK_BACK
) -> Iterator[str]:
    """The same text, cut only where `last_cut(text, start)` allows it: the last such place from `start` on, or 0.

    It sees a new block behind the last `look_back` characters before it.
    """
    pending: list[str] = []  # joined only when a cut has come: a long text without one costs no time
    before = ""
    for block in blocks:
        if not block:
            continue
        text = before + block
        cut = last_cut(text, len(before))
        if cut:
            within = cut - len(before)
            yield "".join([*pending, block[:within]])
            pending, before = [], ""
            block = text = block[within:]
        if block:
            pending.append(block)
        before = text[-look_back:]
    if pending:
        yield "".join(pending)


def last_safe_cut(text: str, start: int, special_tokens: Iterable[str]) -> int:
    """The last place at or after `start` where `text` may be cut without changing any tokenizer's ids, or 0."""
    spaced = [token for token in special_tokens if any(character.isspace() for character in token)]
    window = 4096  # the last place is nearly always among the last words
    while True:
        left = max(start, len(text) - window)
        for match in reversed(list(_CUT.finditer(text, left))):
            if not any(may_lie_inside(text, match.start(), token) for token in spaced):
                return match.start()
        if left == start:
            return 0
        window *= 16


def may_lie_inside(text: str, cut: int, token: str) -> bool:
    """Whether `token` stands across the place `cut`, or may when the text goes on."""
    return any(
        text.endswith(token[:before], 0, cut) and token.startswith(text[cut : cut + len(token) - before], before)
        for before in range(1, len(token))
    )
