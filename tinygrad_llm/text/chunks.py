"""Encoding a long text in chunks, to exactly the ids of the whole.

A text may be cut at a position that no piece of its tokenizer crosses or looks across. For all tokenizers of this
package, such a position is before a whitespace that follows a non-whitespace:

- characters: each is encoded alone;
- the book's words and WordPiece: a word has no whitespace inside;
- BPE: in its pattern, whitespace is the first character of a piece, or the whole piece is whitespace. So a piece that
  ends in the non-whitespace ends there, whatever follows; and the next piece begins with the whitespace, since the
  pattern has no lookbehind. Its two lookaheads, for the end of the text and for a non-whitespace, are in pieces of
  whitespace only, which do not end before such a position.

A run of spaces is never cut, and CR LF stays together. Only a special token with whitespace inside could cross such a
position; positions within one, or within text that may become one, are left out.
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

# Unicode's White_Space property, written out because Python's \s adds four control characters. WordPiece removes three
# of them as controls, which joins the characters around them: a text is not cut there.
_CUTTING = "\t\n\r \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
WHITESPACE = "\v\f\x85" + _CUTTING

_CUT = re.compile(f"(?<=[^{WHITESPACE}])[{_CUTTING}]")
_LOOK_BACK = 256  # characters kept of the text before, at least; more if a special token is longer


def encode_chunks(
    tokenizer: Tokenizer, blocks: Iterable[str], allowed_special: AllowedSpecial = ()
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Chunks of a text and their ids, together those of `encode` on the whole; `blocks` may be cut anywhere.

    Memory holds a few blocks and the text since the last possible cut, which grows while the text has no whitespace.
    Chunks are encoded in as many threads as the tokenizer can use.

    Shapes: -> per chunk (T,), of the tokenizer's `id_dtype`
    Raises: TokenizerError as `Tokenizer.encode`
    """
    chunks = chunks_of(tokenizer, blocks)
    threads = tokenizer.encoding_threads
    if threads == 1:
        for chunk in chunks:
            yield chunk, tokenizer.encode_to_array(chunk, allowed_special)
        return
    pool = ThreadPoolExecutor(threads)
    waiting: deque[tuple[str, Future[NDArray[Any]]]] = deque()
    try:
        for chunk in chunks:
            waiting.append((chunk, pool.submit(tokenizer.encode_to_array, chunk, allowed_special)))
            if len(waiting) > threads:  # one chunk more than threads is in the queue
                chunk, ids = waiting.popleft()
                yield chunk, ids.result()
        while waiting:
            chunk, ids = waiting.popleft()
            yield chunk, ids.result()
    finally:
        pool.shutdown(cancel_futures=True)


def chunks_of(tokenizer: Tokenizer, blocks: Iterable[str]) -> Iterator[str]:
    """The same text in chunks that `tokenizer` encodes one by one to the ids of the whole."""
    longest = max((len(token) for token in tokenizer.special_tokens), default=0)
    return cut_into_chunks(blocks, tokenizer.last_cut, max(longest, _LOOK_BACK))


def cut_into_chunks(
    blocks: Iterable[str], last_cut: Callable[[str, int], int], look_back: int = _LOOK_BACK
) -> Iterator[str]:
    """The same text in chunks, cut only where `last_cut(text, start)` allows it: the last position from `start`, or 0.

    It is called with each block and the last `look_back` characters before the block.
    """
    pending: list[str] = []  # joined only at a cut, so that a long text without one takes linear time
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
    """The last position from `start` on where `text` may be cut without changing any tokenizer's ids, or 0."""
    spaced = [token for token in special_tokens if any(character.isspace() for character in token)]
    window = 4096  # the last position is nearly always among the last words
    while True:
        left = max(start, len(text) - window)
        for match in reversed(list(_CUT.finditer(text, left))):
            if not any(may_lie_inside(text, match.start(), token) for token in spaced):
                return match.start()
        if left == start:
            return 0
        window *= 16


def may_lie_inside(text: str, cut: int, token: str) -> bool:
    """Whether `token` crosses the position `cut`, or may do so when the text continues."""
    return any(
        text.endswith(token[:before], 0, cut) and token.startswith(text[cut : cut + len(token) - before], before)
        for before in range(1, len(token))
    )
