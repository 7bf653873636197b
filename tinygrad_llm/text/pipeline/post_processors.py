"""The stage after the model: post-processors, which name the tokens around a text and trim offsets.

A template such as `<s> $A` puts BOS before a text; `encode` leaves it out, as the library does with add_special_tokens
false, and `PipelineTokenizer.framed` puts it in. Their fields are those of Hugging Face's `tokenizers.processors`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import takewhile

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.pipeline.aligned import Span, is_whitespace
from tinygrad_llm.text.pipeline.byte_alphabet import SPACE
from tinygrad_llm.text.pipeline.fields import Fields, read_stage, read_stages

_OF_BYTE_LEVEL = ("add_prefix_space", "trim_offsets", "use_regex")


@dataclass
class PostProcessing:
    """What all post-processors of a definition do: ids before and after a text, and the trimming of offsets."""

    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    trims: list[bool] = field(default_factory=list)  # for each trimming, whether a first space is one that was added

    def trimmed(self, tokens: list[str], offsets: list[Span]) -> list[Span]:
        """The offsets without the whitespace at the ends of each token, if the definition says so."""
        for keeps_first_space in self.trims:
            offsets = [
                _trim(token, offset, keeps_first_space and (not index or not offset[0]))
                for index, (token, offset) in enumerate(zip(tokens, offsets, strict=True))
            ]
        return offsets


def _trim(token: str, offset: Span, may_keep_first: bool) -> Span:
    start, stop = offset
    leading, trailing = _spaces(token), _spaces(token[::-1])
    if leading and not (may_keep_first and leading == 1):
        start = min(start + leading, stop)
    if trailing and stop >= trailing:
        stop = max(stop - trailing, start)
    return start, stop


def _spaces(token: str) -> int:
    return sum(1 for _ in takewhile(lambda character: character == SPACE or is_whitespace(character), token))


def read_post_processor(value: object) -> PostProcessing:
    """The effects of a definition's field; none for null. Raises: TokenizerError, naming what is not supported"""
    result = PostProcessing()
    for part in [] if value is None else _flat(read_stage(value, "post_processor", _KINDS)):
        result.before = part.before + result.before
        result.after += part.after
        result.trims += part.trims
    return result


def _flat(part: PostProcessing | list[PostProcessing]) -> list[PostProcessing]:
    return part if isinstance(part, list) else [part]


def _read_sequence(fields: Fields) -> list[PostProcessing]:
    return read_stages(fields, "processors", _KINDS, _flat)  # type: ignore[arg-type]


def _read_byte_level(fields: Fields) -> PostProcessing:
    adds_space = fields.flag("add_prefix_space", True)
    fields.ignore("use_regex")
    return PostProcessing(trims=[adds_space] if fields.flag("trim_offsets", True) else [])


def _pair(fields: Fields, name: str) -> int:
    pair = fields.items(name)
    if len(pair) != 2 or not isinstance(pair[0], str) or type(pair[1]) is not int or pair[1] < 0:
        raise fields.refusal(name, "a token and its id", pair)
    return int(pair[1])


def _read_bert(fields: Fields) -> PostProcessing:
    return PostProcessing([_pair(fields, "cls")], [_pair(fields, "sep")])


def _read_roberta(fields: Fields) -> PostProcessing:
    adds_space = fields.flag("add_prefix_space", True)
    trims = [adds_space] if fields.flag("trim_offsets", True) else []
    return PostProcessing([_pair(fields, "cls")], [_pair(fields, "sep")], trims)


def _read_template(fields: Fields) -> PostProcessing:
    single = fields.items("single")
    fields.ignore("pair", *_OF_BYTE_LEVEL)  # files converted from older ones keep settings that have no effect
    ids_of: dict[str, list[int]] = {}
    special_tokens = fields.raw("special_tokens", {})
    if not isinstance(special_tokens, dict):
        raise fields.refusal("special_tokens", "an object of tokens by name", special_tokens)
    for name, value in special_tokens.items():
        token = Fields(value, f"{fields.where}.special_tokens[{shown(name)}]")
        ids = token.items("ids")
        if not all(type(number) is int and number >= 0 for number in ids):
            raise token.refusal("ids", "a list of ids", ids)
        token.ignore("id", "tokens")
        token.expect_all_read()
        ids_of[name] = ids
    before: list[int] = []
    after: list[int] | None = None
    for index, piece in enumerate(single):
        part = Fields(piece, f"{fields.where}.single[{index}]")
        sequence, special = part.raw("Sequence", None), part.raw("SpecialToken", None)
        part.expect_all_read()
        inner = Fields(special if sequence is None else sequence, part.where)
        name = inner.text("id")
        inner.ignore("type_id")
        if sequence is not None:
            if name != "A" or after is not None:
                raise TokenizerError(f"{fields.where}: 'single' must have the text A once; got {shown(single)}")
            after = []
        elif name not in ids_of:
            raise TokenizerError(f"{part.where}: {shown(name)} must be one of 'special_tokens'")
        else:
            (before if after is None else after).extend(ids_of[name])
    if after is None:
        raise TokenizerError(f"{fields.where}: 'single' must have the text A once; got {shown(single)}")
    return PostProcessing(before, after)


_KINDS: dict[str, Callable[[Fields], PostProcessing | list[PostProcessing]]] = {
    "Sequence": _read_sequence,
    "ByteLevel": _read_byte_level,
    "TemplateProcessing": _read_template,
    "BertProcessing": _read_bert,
    "RobertaProcessing": _read_roberta,
}
