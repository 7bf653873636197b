"""The last stage of a tokenizer: decoders, which turn tokens into text.

A Decoder is a function from a list of strings to a list of strings; the joined result of the last one is the text.
Their fields and effects are those of Hugging Face's `tokenizers.decoders`. `Decoding` holds all decoders of a
definition.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import groupby

from tinygrad_llm.text.pipeline.aligned import substitute
from tinygrad_llm.text.pipeline.byte_alphabet import bytes_of
from tinygrad_llm.text.pipeline.fields import Fields, read_stage, read_stages
from tinygrad_llm.text.pipeline.patterns import read_pattern
from tinygrad_llm.text.utf8 import ends_within_character

Decoder = Callable[[list[str]], list[str]]

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")
# English contractions and marks that a word-level vocabulary writes with a space before.
_CLEANED = [
    *((f" {mark}", mark) for mark in ".?!,"),
    (" ' ", "'"),
    *((f" {ending}", ending) for ending in ("n't", "'m")),
    (" do not", " don't"),
    *((f" {ending}", ending) for ending in ("'s", "'ve", "'re")),
]


class Decoding:
    """All decoders of a definition: `text` of tokens, and what `StreamDecoder` and `token_bytes` need to know.

    Raises: TokenizerError, naming what is not supported
    """

    def __init__(self, value: object) -> None:
        """`value` is the definition's field `decoder`; without one, tokens are joined with spaces."""
        self._decoders = [] if value is None else _flat(read_stage(value, "decoder", _KINDS))
        self.is_byte_level = byte_level in self._decoders
        self.has_byte_tokens = byte_fallback in self._decoders

    def text(self, tokens: list[str]) -> str:
        """The text of a row of tokens."""
        if not self._decoders:
            return " ".join(tokens)
        return "".join(_Sequence(self._decoders)(tokens))

    def bytes_of(self, token: str) -> bytes:
        """The UTF-8 bytes of one token within a text; they may be a part of a character."""
        if self.is_byte_level:
            return bytes_of(token)
        if self.has_byte_tokens and (found := _BYTE_TOKEN.fullmatch(token)):
            return bytes([int(found.group(1), 16)])
        return self.text(["a", token]).removeprefix("a").encode() if self._decoders else token.encode()

    def is_incomplete(self, tokens: list[str]) -> bool:
        """Whether the text of the last token depends on the tokens that follow: it may end within a character."""
        if self.is_byte_level:
            return ends_within_character(b"".join(map(bytes_of, tokens)))
        return self.has_byte_tokens and bool(tokens) and _BYTE_TOKEN.fullmatch(tokens[-1]) is not None


class _Sequence(list[Decoder]):
    """Several decoders, one after the other."""

    def __call__(self, tokens: list[str]) -> list[str]:
        for decoder in self:
            tokens = decoder(tokens)
        return tokens


def _flat(decoder: Decoder) -> list[Decoder]:
    return list(decoder) if isinstance(decoder, _Sequence) else [decoder]


def byte_level(tokens: list[str]) -> list[str]:
    """The bytes of all tokens as UTF-8; what is not valid becomes U+FFFD."""
    return [b"".join(map(bytes_of, tokens)).decode("utf-8", "replace")]


def byte_fallback(tokens: list[str]) -> list[str]:
    """Each row of byte tokens such as <0xE2> as UTF-8; if it is not valid, one U+FFFD for each byte."""
    decoded: list[str] = []
    for is_byte, run in groupby(tokens, lambda token: _BYTE_TOKEN.fullmatch(token) is not None):
        if not is_byte:
            decoded += run
            continue
        content = bytes(int(token[3:5], 16) for token in run)
        try:
            decoded.append(content.decode())
        except UnicodeDecodeError:
            decoded += ["\ufffd"] * len(content)
    return decoded


def fuse(tokens: list[str]) -> list[str]:
    """All tokens as one."""
    return ["".join(tokens)]


def _read_byte_level(fields: Fields) -> Decoder:
    fields.ignore("add_prefix_space", "trim_offsets", "use_regex")
    return byte_level


def _read_replace(fields: Fields) -> Decoder:
    pattern, content = read_pattern(fields), fields.text("content")
    literal = pattern.literal
    if literal:
        return lambda tokens: [token.replace(literal, content) for token in tokens]
    return lambda tokens: [substitute(token, pattern.spans(token), content) for token in tokens]


def _read_strip(fields: Fields) -> Decoder:
    content, left, right = fields.character("content"), fields.count("start"), fields.count("stop")

    def stripped(token: str) -> str:
        start, stop = 0, len(token)
        while start < min(left, stop) and token[start] == content:
            start += 1
        while stop > max(len(token) - right, start) and token[stop - 1] == content:
            stop -= 1
        return token[start:stop]

    return lambda tokens: [stripped(token) for token in tokens]


def _read_metaspace(fields: Fields) -> Decoder:
    mark = fields.character("replacement")
    old = fields.flag("add_prefix_space", None)
    fields.ignore("str_rep", "split")
    scheme = fields.text("prepend_scheme", "never" if old is False else "always")
    if scheme not in ("always", "first", "never") or (old is False and scheme != "never"):
        raise fields.refusal("prepend_scheme", "always, first or never, as add_prefix_space says", scheme)
    first = " " if scheme == "never" else ""
    return lambda tokens: [token.replace(mark, " " if index else first) for index, token in enumerate(tokens)]


def _cleaned(text: str) -> str:
    for written, meant in _CLEANED:
        text = text.replace(written, meant)
    return text


def _read_wordpiece(fields: Fields) -> Decoder:
    prefix, cleans = fields.text("prefix"), fields.flag("cleanup")

    def decode(tokens: list[str]) -> list[str]:
        words = [
            token if not index else token[len(prefix) :] if token.startswith(prefix) else f" {token}"
            for index, token in enumerate(tokens)
        ]
        return list(map(_cleaned, words)) if cleans else words

    return decode


def _read_suffix(fields: Fields) -> Decoder:
    suffix = fields.text("suffix")
    return lambda tokens: [
        token.replace(suffix, " " if index < len(tokens) - 1 else "") for index, token in enumerate(tokens)
    ]


def _read_ctc(fields: Fields) -> Decoder:
    pad, delimiter, cleans = fields.text("pad_token"), fields.text("word_delimiter_token"), fields.flag("cleanup")

    def words(tokens: list[str]) -> Iterator[str]:
        for token, _ in groupby(tokens):
            word = token.replace(pad, "")
            if cleans:
                word = _cleaned(word).replace(delimiter, " ")
            if word:
                yield word

    return lambda tokens: list(words(tokens))


_KINDS: dict[str, Callable[[Fields], Decoder]] = {
    "Sequence": lambda fields: _Sequence(read_stages(fields, "decoders", _KINDS, _flat)),
    "ByteLevel": _read_byte_level,
    "ByteFallback": lambda fields: byte_fallback,
    "Fuse": lambda fields: fuse,
    "Replace": _read_replace,
    "Strip": _read_strip,
    "Metaspace": _read_metaspace,
    "WordPiece": _read_wordpiece,
    "BPEDecoder": _read_suffix,
    "CTC": _read_ctc,
}
