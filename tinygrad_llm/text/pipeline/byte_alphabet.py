"""Bytes as printable characters, the alphabet of byte-level vocabularies (Radford et al. 2019)."""

from __future__ import annotations

from tinygrad_llm.text.pipeline.aligned import AlignedText
from tinygrad_llm.text.vocabulary_files import byte_of_character, character_of_byte

SPACE = character_of_byte()[ord(" ")]
_LATIN_1 = dict(enumerate(character_of_byte()))


def as_bytes(text: str) -> str:
    """The text's UTF-8 bytes, each as its printable character.

    >>> as_bytes(" né")
    'ĠnÃ©'
    """
    printed = text.encode().decode("latin-1").translate(_LATIN_1)
    if not isinstance(text, AlignedText):
        return printed
    return AlignedText(printed, [span for one, span in zip(str(text), text.spans, strict=True) for _ in one.encode()])


def bytes_of(token: str) -> bytes:
    """The bytes that a token's characters stand for; of a token with another character, its own UTF-8."""
    table = byte_of_character()
    try:
        return bytes([table[character] for character in token])
    except KeyError:
        return token.encode()
