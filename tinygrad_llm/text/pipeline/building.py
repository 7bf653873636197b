"""Tokenizers from their parts, for files that hold no `tokenizer.json`.

Byte-level BPE from merges, and SentencePiece BPE from scores. Each function writes a definition, so that such a
tokenizer can be saved and exported as any other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text.pipeline.pre_tokenizers import METASPACE
from tinygrad_llm.text.pipeline.tokenizer import PipelineTokenizer


def byte_level_bpe(
    tokens: Sequence[str],
    merges: Sequence[str],
    pattern: str | Sequence[str] | None = None,
    special_tokens: Collection[int] = (),
    added_tokens: Collection[int] = (),
    normalizer: dict[str, Any] | None = None,
    digits: str | None = None,
    ignore_merges: bool = False,
    add_prefix_space: bool = False,
    before: Sequence[int] = (),
    after: Sequence[int] = (),
    bos_token: str | None = None,
    eos_token: str | None = None,
) -> PipelineTokenizer:
    """A byte-level BPE from its tokens in the order of ids and its merges, "left right", in the order of learning.

    Tokens and merges are written in GPT-2's printable characters. `pattern` splits the text, or several patterns one
    after the other; None is GPT-2's own. `special_tokens` are the ids of control tokens, `added_tokens` those of others
    that are found in the text as a whole. `digits` is None, "each" (every digit is a piece) or "runs". `before` and
    `after` are the ids that begin and end every text.

    >>> tokenizer = byte_level_bpe(["a", "b", "ab", "<|endoftext|>"], ["a b"], special_tokens=[3])
    >>> tokenizer.encode("abb<|endoftext|>", allowed_special="all")
    [2, 1, 3]

    Raises: TokenizerError for parts that make no tokenizer
    """
    steps: list[dict[str, Any]] = []
    if digits is not None:
        if digits not in ("each", "runs"):
            raise TokenizerError(f'byte_level_bpe: digits must be None, "each" or "runs"; got {digits!r}')
        steps.append({"type": "Digits", "individual_digits": digits == "each"})
    for source in [pattern] if isinstance(pattern, str) else pattern or ():
        steps.append({"type": "Split", "pattern": {"Regex": source}, "behavior": "Isolated", "invert": False})
    settings = {"trim_offsets": True, "use_regex": pattern is None}
    steps.append({"type": "ByteLevel", "add_prefix_space": add_prefix_space, **settings})
    byte_level = {"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": True, "use_regex": True}
    ids = _ids_of(tokens)
    added = _added_tokens(tokens, special_tokens, added_tokens)
    definition = _definition(
        added,
        normalizer,
        steps[0] if len(steps) == 1 else {"type": "Sequence", "pretokenizers": steps},
        [byte_level, *_template(before, after, tokens)],
        byte_level,
        {"type": "BPE", "ignore_merges": ignore_merges, "vocab": ids, "merges": list(merges)},
    )
    return PipelineTokenizer(definition, bos_token, eos_token)


def sentencepiece_bpe(
    tokens: Sequence[str],
    scores: Sequence[float],
    special_tokens: Collection[int] = (),
    added_tokens: Collection[int] = (),
    not_merged: Collection[int] = (),
    unknown: int | None = None,
    byte_fallback: bool = True,
    add_space_prefix: bool = True,
    before: Sequence[int] = (),
    after: Sequence[int] = (),
    bos_token: str | None = None,
    eos_token: str | None = None,
) -> PipelineTokenizer:
    """A SentencePiece BPE, which merges by score (Kudo and Richardson 2018, arXiv:1808.06226).

    Of all pairs that make a token, the one whose token has the highest score is merged, the leftmost of ties.

    `tokens` and `scores` are in the order of ids; "▁" is a space. `special_tokens` are the ids of control tokens,
    `added_tokens` those of user-defined ones, both found in the text as a whole; `not_merged` are ids of byte tokens
    and others that merging must not make. `unknown` is the id of the unknown token. With `add_space_prefix`, a text
    begins with a space, which decoding takes away. `before` and `after` are the ids that begin and end every
    text.

    >>> tokens = ["<unk>", "▁", "a", "b", "ab", "▁a"]
    >>> tokenizer = sentencepiece_bpe(tokens, [0, -3, -4, -5, -1, -2], [0], unknown=0, byte_fallback=False)
    >>> tokenizer.encode("ab a"), tokenizer.decode(tokenizer.encode("ab a"))
    ([1, 4, 5], 'ab a')

    Raises: TokenizerError for parts that make no tokenizer
    """
    if len(scores) != len(tokens):
        raise TokenizerError(f"sentencepiece_bpe: each token needs a score; got {len(tokens)} and {len(scores)}")
    left_out = {*special_tokens, *not_merged} | (set() if unknown is None else {unknown})
    to_mark = {"type": "Replace", "pattern": {"String": " "}, "content": METASPACE}
    normalizers = [{"type": "Prepend", "prepend": METASPACE}, to_mark] if add_space_prefix else [to_mark]
    decoders: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"String": METASPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if add_space_prefix:
        decoders.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    model = {
        "type": "BPE",
        "unk_token": None if unknown is None else tokens[unknown],
        "fuse_unk": True,
        "byte_fallback": byte_fallback,
        "vocab": _ids_of(tokens),
        "scores": [None if number in left_out else float(score) for number, score in enumerate(scores)],
    }
    definition = _definition(
        _added_tokens(tokens, special_tokens, added_tokens),
        {"type": "Sequence", "normalizers": normalizers},
        None,
        _template(before, after, tokens),
        {"type": "Sequence", "decoders": decoders},
        model,
    )
    return PipelineTokenizer(definition, bos_token, eos_token)


def _ids_of(tokens: Sequence[str]) -> dict[str, int]:
    ids = {token: number for number, token in enumerate(tokens)}
    if len(ids) != len(tokens):
        twice = next(token for number, token in enumerate(tokens) if ids[token] != number)
        raise TokenizerError(f"tokens must differ from each other; {twice!r:.60} occurs twice")
    return ids


def _added_tokens(tokens: Sequence[str], special: Collection[int], others: Collection[int]) -> list[dict[str, Any]]:
    wrong = [number for number in {*special, *others} if not 0 <= number < len(tokens)]
    if wrong:
        raise TokenizerError(f"ids of added tokens must be in 0..{len(tokens) - 1}; got {wrong[0]}")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return [
        {"id": number, "content": tokens[number], **flags, "special": number in special}
        for number in sorted({*special, *others})
    ]


def _template(before: Sequence[int], after: Sequence[int], tokens: Sequence[str]) -> list[dict[str, Any]]:
    if not before and not after:
        return []
    named = {
        tokens[number]: {"id": tokens[number], "ids": [number], "tokens": [tokens[number]]}
        for number in (*before, *after)
    }
    first, second = (
        [
            *({"SpecialToken": {"id": tokens[number], "type_id": type_id}} for number in before),
            {"Sequence": {"id": name, "type_id": type_id}},
            *({"SpecialToken": {"id": tokens[number], "type_id": type_id}} for number in after),
        ]
        for type_id, name in enumerate("AB")
    )
    return [{"type": "TemplateProcessing", "single": first, "pair": first + second, "special_tokens": named}]


def _definition(
    added: list[dict[str, Any]],
    normalizer: Mapping[str, Any] | None,
    pre_tokenizer: Mapping[str, Any] | None,
    post_processors: list[dict[str, Any]],
    decoder: Mapping[str, Any],
    model: Mapping[str, Any],
) -> dict[str, Any]:
    several = {"type": "Sequence", "processors": post_processors}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": several if len(post_processors) > 1 else next(iter(post_processors), None),
        "decoder": decoder,
        "model": model,
    }
