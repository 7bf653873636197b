"""Show how tokenizers cut a text: ids, bytes and characters of each token, and the merges that made them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.terminal import columns, for_terminal, is_terminal

if TYPE_CHECKING:
    from tinygrad_llm.text import Tokenizer

OWN_VOCABULARY = 2_048  # tokens of the encoding that is learned where there is no run
MOST_MERGED = 400  # characters whose merges are shown


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", metavar="TEXT", help="the text to cut (default: standard input)")
    parser.add_argument(
        "--model",
        action="append",
        type=Path,
        default=[],
        metavar="PATH",
        help="run folder, Hugging Face folder, GGUF file or tokenizer.json; repeat it to compare several "
        "(default: the newest run in runs/, or a small encoding learned from Python's documentation)",
    )
    parser.add_argument("--merges", action="store_true", help="show the merges of byte pair encoding, one per line")


def run(arguments: argparse.Namespace) -> int:
    text = arguments.text if arguments.text is not None else _standard_input()
    if not text:
        raise ConfigError("TEXT must have at least one character; got none")
    tokenizers = {str(path): _open(path) for path in arguments.model} or dict([_default()])
    for line in comparison(text, tokenizers):
        print(for_terminal(line))
    for name, tokenizer in tokenizers.items():
        print(for_terminal(f"\n{name}"))
        for line in token_table(text, tokenizer):
            print(for_terminal(line))
        if arguments.merges:
            for line in merge_steps(text, tokenizer):
                print(for_terminal(line))
    return 0


def _standard_input() -> str:
    if sys.stdin is None:
        raise DataError("standard input must be open where no TEXT is given; it is closed: give the text in quotes")
    try:
        return sys.stdin.read().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"standard input must be UTF-8; {error.reason} at byte {error.start}") from None


def _open(path: Path) -> Tokenizer:
    from tinygrad_llm.runs.open_tokenizer import open_tokenizer

    return open_tokenizer(path)


def _default() -> tuple[str, Tokenizer]:
    """The tokenizer of the newest run; without a run, an encoding learned from the packaged text."""
    from tinygrad_llm.runs.summary import runs_in
    from tinygrad_llm.text import BPETokenizer, corpora

    for found in runs_in():
        if not found.problem:
            return str(found.path), _open(found.path)
    tokenizer = BPETokenizer.train(corpora.load_text(corpora.PYTHON_DOCS), OWN_VOCABULARY)
    return f"{OWN_VOCABULARY:,} tokens learned from {corpora.PYTHON_DOCS}", tokenizer


def comparison(text: str, tokenizers: dict[str, Tokenizer]) -> Iterator[str]:
    """Per tokenizer the number of tokens, and the text with a bar between them."""
    counts = f"{len(text):,} characters, {len(text.encode('utf-8', 'surrogatepass')):,} bytes"
    yield counts
    width = max(map(len, tokenizers))
    for name, tokenizer in tokenizers.items():
        ids = tokenizer.encode(text, allowed_special="all")
        cut = "|".join(_shown(tokenizer.token_bytes(one)) for one in ids)
        room = max(20, (columns() if is_terminal() else sys.maxsize) - width - 17)
        yield f"{name:<{width}}  {len(ids):>6,} tokens  {cut if len(cut) <= room else cut[: room - 1] + '…'}"


def token_table(text: str, tokenizer: Tokenizer) -> Iterator[str]:
    """A row for each token: its place, id, bytes in hexadecimal, and text."""
    ids = tokenizer.encode(text, allowed_special="all")
    yield f"{'token':>5} {'id':>7}  {'text':<20} bytes"
    for place, one in enumerate(ids):
        raw = tokenizer.token_bytes(one)
        yield f"{place:>5} {one:>7}  {_shown(raw):<20} {raw.hex(' ')}"


def merge_steps(text: str, tokenizer: Tokenizer) -> Iterator[str]:
    """The merges of each piece of the text in the order in which they happen, with the rank of each.

    Raises: ConfigError for a tokenizer without merges of bytes, or a long text
    """
    from tinygrad_llm.lab.merges import Merging

    merging = Merging.of(tokenizer)
    if merging is None:
        raise ConfigError(
            f"--merges needs byte pair encoding; a {type(tokenizer).__name__} here has no merges of bytes to show"
        )
    if len(text) > MOST_MERGED:
        raise ConfigError(f"--merges shows at most {MOST_MERGED} characters; got {len(text):,}")
    for piece, merges in merging.pieces(text):
        parts = [bytes([byte]) for byte in piece]
        yield f"\n{_shown(piece)}"
        yield f"{'bytes':>12}  {_joined(parts)}"
        for rank, place in merges:
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
            yield f"  rank {rank:>6}  {_joined(parts)}"


def _joined(parts: Sequence[bytes]) -> str:
    return " ".join(map(_shown, parts))


def _shown(raw: bytes) -> str:
    """Bytes as text, with a dot for each space and escapes for the rest that cannot be seen.

    >>> _shown(b" low"), _shown("é".encode()[:1])
    ('·low', '\\\\xc3')
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("ascii", "backslashreplace")
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text).replace(" ", "·")
