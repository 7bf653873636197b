"""Files of byte-level BPE vocabularies: GPT-2's pair of files, and tiktoken's. `interop/` reads and writes Hugging
Face's `tokenizer.json`.

- `encoder.json` and `vocab.bpe` (Hugging Face calls them `vocab.json` and `merges.txt`): every token's id, and the
  merges in order. Both write a byte as one printable character, because JSON and text lines cannot hold bytes.
- `.tiktoken`: one line per token, its bytes in base64 and its rank. Special tokens are not in it.

Each reader returns a BPETokenizer that was checked as a whole, and raises FormatError, naming the fault, for any file
that is not a vocabulary.

Merges and ranks hold the same information: a token's rank is the index of its merge, and its merge is the two parts
that its bytes become when all merges of lower rank are applied. A vocabulary with a token of more parts can be encoded
by rank (tiktoken looks up whole pieces first), but no merge makes that token, so it is refused here.
"""

import base64
import binascii
import functools
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import CheckpointError, FormatError, TokenizerError
from tinygrad_llm.formats import atomic_write, open_regular, read_json_object, read_utf8
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.bpe_encoding import encode_piece

PathLike = str | os.PathLike[str]


# Bytes as printable characters (Radford et al. 2019).


@functools.cache
def character_of_byte() -> list[str]:
    """Printable Latin-1 characters encode themselves; the 68 other bytes use the characters from U+0100 on."""
    spare = iter(range(256, 512))
    return [chr(byte) if chr(byte).isprintable() and byte != 32 else chr(next(spare)) for byte in range(256)]


@functools.cache
def byte_of_character() -> dict[str, int]:
    """The byte that each of these characters stands for."""
    return {character: byte for byte, character in enumerate(character_of_byte())}


def printable(token: bytes) -> str:
    """A token as it is written in these files.

    >>> printable(" né".encode())
    'ĠnÃ©'
    """
    return "".join([character_of_byte()[byte] for byte in token])


def from_printable(token: str) -> bytes:
    """The bytes of a token as it is written in these files.

    Raises: FormatError for a character that encodes no byte
    """
    try:
        return bytes([byte_of_character()[character] for character in token])
    except KeyError as error:
        raise FormatError(f"a token is written in 256 characters, one per byte; {shown(token)} has {error}") from None


# Merges and ranks.


def merges_of(tokenizer: BPETokenizer) -> list[tuple[bytes, bytes]]:
    """The merge that makes each token of more than one byte, in the order of ranks.

    Raises: TokenizerError if a token cannot be made by merging two of lower rank
    """
    merges, lower = [], {}
    for token, rank in sorted(tokenizer.ranks.items(), key=lambda item: item[1]):
        if len(token) == 1:
            lower[token] = rank
    for token, rank in sorted(tokenizer.ranks.items(), key=lambda item: item[1]):
        if len(token) > 1:
            parts = [tokenizer.token_bytes(part) for part in encode_piece(token, lower)]
            if len(parts) != 2:
                raise TokenizerError(
                    f"to be written as a merge, a token must be two tokens of lower rank; token {rank}, "
                    f"{shown(token)}, has {len(parts)} parts: write this vocabulary as .tiktoken"
                )
            merges.append((parts[0], parts[1]))
            lower[token] = rank
    return merges


def tokenizer_of(
    vocabulary: dict[str, Any], merges: list[tuple[str, str]], special_tokens: dict[str, int], source: str
) -> BPETokenizer:
    """The tokenizer of a vocabulary, special tokens apart, whose merges must make every longer token in order of rank.

    Raises: FormatError
    """
    try:
        ranks = {from_printable(token): number for token, number in vocabulary.items()}
        pairs = [(from_printable(first), from_printable(second)) for first, second in merges]
    except FormatError as error:
        raise FormatError(f"{source}: {error}") from None
    for token, number in ranks.items():
        if type(number) is not int:
            raise FormatError(f"{source}: the id of {shown(printable(token))} must be an integer; got {shown(number)}")
    known = {token for token in ranks if len(token) == 1}
    last = -1
    for index, (left, right) in enumerate(pairs):
        rank = ranks.get(left + right)
        if left not in known or right not in known or rank is None or left + right in known:
            raise FormatError(
                f"{source}: merge {index} must join two known tokens to a new token of the vocabulary; "
                f"got {shown(printable(left))} and {shown(printable(right))}"
            )
        if rank <= last:
            raise FormatError(
                f"{source}: ids must rise with the order of merges; merge {index} makes id {rank} after id {last}"
            )
        last = rank
        known.add(left + right)
    unmade = next((token for token in ranks if token not in known), None)
    if unmade is not None:
        raise FormatError(
            f"{source}: no merge makes the token {shown(printable(unmade))}: if it is a special token, name it in "
            f"special_tokens; if not, the two files belong to different vocabularies"
        )
    try:
        return BPETokenizer(ranks, special_tokens)
    except TokenizerError as error:
        raise FormatError(f"{source}: {error}") from None


def write_file(path: Path, content: str | bytes) -> Path:
    """Write a file atomically, and create its folder if it is missing. Raises: CheckpointError"""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: cannot be written: {reason}") from error
    with atomic_write(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
    return path


# encoder.json and vocab.bpe


def read_encoder_and_merges(
    encoder_json: PathLike, vocab_bpe: PathLike, special_tokens: Iterable[str] = ()
) -> BPETokenizer:
    """The tokenizer of `encoder.json` and `vocab.bpe`.

    An entry that no merge makes is a special token if it is in `special_tokens` or written `<...>` or `[...]`.

    Raises: FormatError
    """
    vocabulary = read_json_object(encoder_json)
    lines = read_utf8(vocab_bpe).replace("\r\n", "\n").split("\n")
    if lines[0].startswith("#version"):
        lines = lines[1:]
    merges: list[tuple[str, str]] = []
    for number, line in enumerate(lines):
        if not line and number == len(lines) - 1:
            break
        first, _, second = line.partition(" ")
        if not first or not second or " " in second:
            raise FormatError(f"{vocab_bpe}: merge {number} must be two tokens with a space between; got {shown(line)}")
        merges.append((first, second))
    made = {first + second for first, second in merges}
    named = set(special_tokens)
    special = {
        token: number
        for token, number in vocabulary.items()
        if token in named or (token not in made and len(token) > 2 and token[0] + token[-1] in ("<>", "[]"))
    }
    ordinary = {token: number for token, number in vocabulary.items() if token not in special}
    return tokenizer_of(ordinary, merges, special, f"{encoder_json} with {vocab_bpe}")


def write_encoder_and_merges(tokenizer: BPETokenizer, encoder_json: PathLike, vocab_bpe: PathLike) -> None:
    """Write `encoder.json` (with special tokens, as in GPT-2's) and `vocab.bpe`.

    Raises: TokenizerError if a token is made by no merge, CheckpointError if a file cannot be written
    """
    lines = [f"{printable(first)} {printable(second)}" for first, second in merges_of(tokenizer)]
    write_file(Path(encoder_json), json.dumps(vocabulary_by_id(tokenizer)))
    write_file(Path(vocab_bpe), "\n".join(["#version: 0.2", *lines, ""]))


def vocabulary_by_id(tokenizer: BPETokenizer) -> dict[str, int]:
    """The id of every token, special ones included, by its printable form, in the order of ids.

    Raises: TokenizerError for a special token that is spelled like an ordinary one
    """
    vocabulary = {printable(token): rank for token, rank in tokenizer.ranks.items()}
    clash = next((name for name in tokenizer.special_tokens if name in vocabulary), None)
    if clash is not None:
        raise TokenizerError(f"the special token {shown(clash)} is written like an ordinary token in this file format")
    vocabulary |= tokenizer.special_tokens
    return dict(sorted(vocabulary.items(), key=lambda item: item[1]))


# .tiktoken


def read_tiktoken(path: PathLike, special_tokens: dict[str, int] | None = None) -> BPETokenizer:
    """The tokenizer of a `.tiktoken` file, which has no special tokens: pass them with their ids.

    Raises: FormatError
    """
    ranks: dict[bytes, int] = {}
    with open_regular(path) as file:
        lines = file.read().split(b"\n")
    for number, line in enumerate(lines, start=1):
        line = line.removesuffix(b"\r")
        if not line:
            continue
        encoded, _, rank = line.partition(b" ")
        try:
            token = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error):
            token = b""
        if not token or not rank.isdigit() or len(rank) > 9:
            raise FormatError(f"{path}: line {number} must be base64, a space and a rank; got {line[:60]!r}")
        if token in ranks:
            raise FormatError(f"{path}: line {number} repeats the token {shown(token)}")
        ranks[token] = int(rank)
    try:
        return BPETokenizer(ranks, special_tokens)
    except TokenizerError as error:
        raise FormatError(f"{path}: {error}") from None


def write_tiktoken(tokenizer: BPETokenizer, path: PathLike) -> None:
    """Write the ranks as a `.tiktoken` file, which cannot hold special tokens.

    Raises: CheckpointError if the file cannot be written
    """
    by_rank = sorted(tokenizer.ranks.items(), key=lambda item: item[1])
    write_file(Path(path), b"".join(base64.b64encode(token) + b" %d\n" % rank for token, rank in by_rank))
