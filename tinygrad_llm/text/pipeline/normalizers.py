"""The first stage of a tokenizer: normalizers, which change the text before it is split.

A Normalizer is a function from text to text. It works on str and on AlignedText alike, with the functions of
aligned.py. Their fields and effects are those of Hugging Face's `tokenizers.normalizers`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable

from tinygrad_llm.text.pipeline.aligned import Form, normalize, prepend, strip, substitute, translate
from tinygrad_llm.text.pipeline.byte_alphabet import as_bytes
from tinygrad_llm.text.pipeline.fields import Fields, read_stage, read_stages
from tinygrad_llm.text.pipeline.patterns import read_pattern
from tinygrad_llm.text.pipeline.precompiled import read_precompiled
from tinygrad_llm.text.pipeline.unicode_tables import (
    BERT_CONTROLS,
    COMBINING_MARKS,
    IDEOGRAPHS,
    NEW_LOWER_CASE,
    NMT_CONTROLS,
    NMT_SPACES,
    NONSPACING_MARKS,
    NOT_NORMALIZED,
    CharacterTable,
)

Normalizer = Callable[[str], str]

_NOT_NORMALIZED = re.compile(f"[{NOT_NORMALIZED}]+")
_WITHOUT_MARKS = CharacterTable({COMBINING_MARKS: ""})
_NMT = CharacterTable({NMT_CONTROLS: "", NMT_SPACES: " "})
_BERT_CLEAN = CharacterTable({BERT_CONTROLS: "", r"\s": " "})
_BERT_CHINESE = CharacterTable({IDEOGRAPHS: " {} "})
_BERT_ACCENTS = CharacterTable({NONSPACING_MARKS: ""})


class _LowerCase(dict[int, str]):
    """The lower case of each character, whatever its neighbours (which decide on a Greek sigma in str.lower)."""

    def __missing__(self, code: int) -> str:
        self[code] = lower = NEW_LOWER_CASE.get(code) or chr(code).lower()
        return lower


_LOWER_CASE = _LowerCase()


def read_normalizer(value: object) -> list[Normalizer]:
    """The normalizers of a definition's field, in their order; none for null.

    Raises: TokenizerError, naming what is not supported
    """
    return [] if value is None else _flat(read_stage(value, "normalizer", _KINDS))


class _Sequence(list[Normalizer]):
    """Several normalizers, one after the other."""

    def __call__(self, text: str) -> str:
        return functools.reduce(lambda changed, normalizer: normalizer(changed), self, text)


def _flat(normalizer: Normalizer) -> list[Normalizer]:
    return list(normalizer) if isinstance(normalizer, _Sequence) else [normalizer]


def _unicode_form(form: Form) -> Callable[[Fields], Normalizer]:
    return lambda fields: lambda text: normalize(text, form, _NOT_NORMALIZED)


def _read_replace(fields: Fields) -> Normalizer:
    pattern, content = read_pattern(fields), fields.text("content")
    if pattern.literal is not None and pattern.literal:
        literal = pattern.literal

        def replace(text: str) -> str:
            return (
                text.replace(literal, content) if type(text) is str else substitute(text, pattern.spans(text), content)
            )

        return replace
    return lambda text: substitute(text, pattern.spans(text), content)


def _read_prepend(fields: Fields) -> Normalizer:
    prefix = fields.text("prepend")
    return lambda text: prepend(prefix, text)


def _read_strip(fields: Fields) -> Normalizer:
    left, right = fields.flag("strip_left"), fields.flag("strip_right")
    return lambda text: strip(text, left, right)


def _read_bert(fields: Fields) -> Normalizer:
    clean, chinese = fields.flag("clean_text"), fields.flag("handle_chinese_chars")
    lower, accents = fields.flag("lowercase"), fields.flag("strip_accents", None)
    accents = lower if accents is None else accents
    stages: list[Normalizer] = []
    if clean:
        stages.append(lambda text: translate(text, _BERT_CLEAN))
    if chinese:
        stages.append(lambda text: translate(text, _BERT_CHINESE))
    if accents:
        stages.append(lambda text: translate(normalize(text, "NFD", _NOT_NORMALIZED), _BERT_ACCENTS))
    if lower:
        stages.append(_lower)
    return _Sequence(stages)


def _lower(text: str) -> str:
    return translate(text, _LOWER_CASE)


_KINDS: dict[str, Callable[[Fields], Normalizer]] = {
    "Sequence": lambda fields: _Sequence(read_stages(fields, "normalizers", _KINDS, _flat)),
    "NFC": _unicode_form("NFC"),
    "NFD": _unicode_form("NFD"),
    "NFKC": _unicode_form("NFKC"),
    "NFKD": _unicode_form("NFKD"),
    "Replace": _read_replace,
    "Prepend": _read_prepend,
    "Strip": _read_strip,
    "Lowercase": lambda fields: _lower,
    "StripAccents": lambda fields: lambda text: translate(text, _WITHOUT_MARKS),
    "BertNormalizer": _read_bert,
    "Nmt": lambda fields: lambda text: translate(text, _NMT),
    "Precompiled": read_precompiled,
    "ByteLevel": lambda fields: as_bytes,
}
