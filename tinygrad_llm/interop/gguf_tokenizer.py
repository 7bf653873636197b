"""The tokenizer in a GGUF file's metadata, and what the file says of texts: the ids that end one, the chat template.

tokenizer.ggml.model        gpt2: byte-level BPE by merges; llama: SentencePiece's BPE by scores
tokenizer.ggml.tokens       the tokens in the order of their ids
tokenizer.ggml.token_type   a number for each: NORMAL, UNKNOWN, ...
tokenizer.ggml.merges       gpt2: two tokens with a space between, in the order of merging
tokenizer.ggml.pre          gpt2: how a text is split before merging, a name of gguf_splits.py
tokenizer.ggml.scores       llama: of two pairs, the one that makes the token with the higher score is merged first
tokenizer.ggml.add_space_prefix                llama: a text begins with a space
tokenizer.ggml.add_bos_token, add_eos_token    whether a text begins with bos_token_id and ends with eos_token_id
tokenizer.chat_template
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.errors import FormatError, TokenizerError
from tinygrad_llm.formats import GGUF
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.gguf_splits import SPLITS
from tinygrad_llm.text.pipeline import PipelineTokenizer, byte_level_bpe, sentencepiece_bpe

PREFIX = "tokenizer.ggml."
TEMPLATE = "tokenizer.chat_template"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)
NOT_SUPPORTED = ("remove_extra_whitespaces", "precompiled_charsmap", "add_sep_token")
# Control tokens that end a turn or a text. Older files do not say it in eot_token_id.
ENDS = (
    *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>", "<|endoftext|>", "<|end_of_text|>", "<|eom_id|>"),
    *("<EOT>", "_<EOT>", "<｜end▁of▁sentence｜>", "<end_of_utterance>"),
)


def read_gguf_tokenizer(file: GGUF) -> PipelineTokenizer:
    """The tokenizer in a file. Raises: FormatError, naming what is missing or not supported"""
    kind, tokens = _get(file, "model", str), _tokens(file)
    for name in NOT_SUPPORTED:
        if np.any(file.metadata.get(PREFIX + name, False)):
            raise _error(file, name, "must be unset: it is not supported")
    types = _types(file, len(tokens))
    groups = {name: np.flatnonzero(types == name).tolist() for name in range(NORMAL, BYTE + 1)}
    if sum(map(len, groups.values())) < len(tokens):
        raise _error(file, "token_type", f"must be numbers from {NORMAL} to {BYTE}")
    bos, eos = _token_id(file, "bos", len(tokens)), _token_id(file, "eos", len(tokens))

    def frame(begins: bool) -> dict[str, Any]:
        """What begins and ends a text; `begins` is the default for the former."""
        return {
            "before": [bos] if _get(file, "add_bos_token", bool, begins) and bos is not None else [],
            "after": [eos] if _get(file, "add_eos_token", bool, False) and eos is not None else [],
            "bos_token": None if bos is None else tokens[bos],
            "eos_token": None if eos is None else tokens[eos],
            "special_tokens": groups[CONTROL],
            "added_tokens": groups[USER_DEFINED],
        }

    try:
        if kind == "llama":
            return sentencepiece_bpe(
                tokens,
                _numbers(file, "scores", "f", len(tokens)).tolist(),
                not_merged=sorted(groups[BYTE] + groups[UNUSED]),
                unknown=groups[UNKNOWN][0] if groups[UNKNOWN] else None,
                byte_fallback=bool(groups[BYTE]),
                add_space_prefix=_get(file, "add_space_prefix", bool, True),
                **frame(begins=True),
            )
        if kind == "gpt2":
            name = _get(file, "pre", str)
            if name not in SPLITS:
                raise _error(
                    file,
                    "pre",
                    f"must be one of {', '.join(SPLITS)}; got {shown(name)}, whose way to split is not known",
                )
            split = SPLITS[name]
            return byte_level_bpe(
                tokens,
                _get(file, "merges", list),
                pattern=list(split.patterns),
                normalizer={"type": "NFC"} if split.composed else None,
                ignore_merges=split.whole_words,
                **frame(split.begins),
            )
    except TokenizerError as error:
        raise FormatError(f"{file.path}: {error}") from None
    raise _error(file, "model", f"must be gpt2 or llama: others are not supported; got {shown(kind)}")


def end_ids(file: GGUF) -> tuple[int, ...]:
    """The ids that end a text or a turn of a conversation, the usual one first. Raises: FormatError"""
    tokens = _tokens(file)
    named = [_token_id(file, name, len(tokens)) for name in ("eos", "eot", "eom")]
    control = np.flatnonzero(_types(file, len(tokens)) == CONTROL).tolist()
    known = [number for number in control if tokens[number] in ENDS]
    return tuple(dict.fromkeys(number for number in [*named, *known] if number is not None))


def template_source(file: GGUF) -> str | None:
    """The source of the chat template, if the file has one. Raises: FormatError"""
    template = file.metadata.get(TEMPLATE)
    if template is not None and not isinstance(template, str):
        raise FormatError(f"{file.path}: {TEMPLATE} must be a string; got {shown(template)}")
    return template


def named_tokens(file: GGUF) -> dict[str, str]:
    """The tokens that a chat template may name, such as bos_token. Raises: FormatError"""
    tokens = _tokens(file)
    names = {"bos_token": "bos", "eos_token": "eos", "unk_token": "unknown", "pad_token": "padding"}
    ids = {name: _token_id(file, theirs, len(tokens)) for name, theirs in names.items()}
    return {name: tokens[number] for name, number in ids.items() if number is not None}


def _tokens(file: GGUF) -> list[str]:
    tokens: list[str] = _get(file, "tokens", list)
    if not tokens or len(set(tokens)) < len(tokens):
        raise _error(file, "tokens", "must be at least one string, none twice")
    return tokens


def _types(file: GGUF, count: int) -> Any:
    """The type of each token; a file without types has only normal tokens."""
    if PREFIX + "token_type" not in file.metadata:
        return np.full(count, NORMAL)
    return _numbers(file, "token_type", "iu", count)


def _token_id(file: GGUF, name: str, count: int) -> int | None:
    number = _get(file, f"{name}_token_id", int, None)
    if number is not None and not 0 <= number < count:
        raise _error(file, f"{name}_token_id", f"must be below the number of tokens, {count}; got {number}")
    return number


def _get(file: GGUF, name: str, kind: type, *default: Any) -> Any:
    """A value of this type, or the default if there is one."""
    value = file.metadata.get(PREFIX + name, *default)
    if type(value) is not kind and not (default and value is default[0]):
        words = {str: "a string", list: "an array of strings", int: "an integer", bool: "true or false"}
        raise _error(file, name, f"must be {words[kind]}; got {shown(value)}")
    return value


def _numbers(file: GGUF, name: str, kinds: str, count: int) -> Any:
    """An array with a number for each token, of one of NumPy's kinds."""
    value = file.metadata.get(PREFIX + name)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in kinds or value.shape != (count,):
        raise _error(file, name, f"must have a number for each of the {count} tokens; got {shown(value)}")
    return value


def _error(file: GGUF, name: str, what: str) -> FormatError:
    return FormatError(f"{file.path}: {PREFIX}{name} {what}")
