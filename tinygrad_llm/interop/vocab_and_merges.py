"""Hugging Face's older files of a byte-level BPE, such as those of GPT-2 and OPT.

vocab.json, merges.txt                           ids of the tokens, in any order; merges, a line each
added_tokens.json                                ids of more tokens, if there are any
tokenizer_config.json, special_tokens_map.json   which tokens are special; whether BOS begins every text

A text is split as GPT-2 splits it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import FormatError, TokenizerError
from tinygrad_llm.formats import read_json_object, read_optional_json_object, read_utf8
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.named_token import token_text
from tinygrad_llm.text.pipeline import PipelineTokenizer, byte_level_bpe
from tinygrad_llm.text.special_tokens import END_OF_TEXT

VOCAB_JSON, MERGES_TXT, ADDED = "vocab.json", "merges.txt", "added_tokens.json"
SETTINGS = ("special_tokens_map.json", "tokenizer_config.json")  # the second wins


def read_vocab_and_merges(folder: str | os.PathLike[str]) -> PipelineTokenizer:
    """The tokenizer of the older files in a folder. Without settings, `<|endoftext|>` is its special token, as GPT-2's.

    Raises: FormatError, naming the file, for one that is missing or damaged
    """
    folder = Path(folder)
    vocabulary = read_json_object(folder / VOCAB_JSON)
    added = read_optional_json_object(folder / ADDED)
    settings: dict[str, Any] = {}
    for name in SETTINGS:
        settings |= read_optional_json_object(folder / name)
    named = {name: token_text(settings[name], f"{folder}: {name}") for name in settings if name.endswith("_token")}
    special = {token for token in named.values() if token is not None}
    special |= set(map(str, settings.get("additional_special_tokens") or ()))
    if not special and END_OF_TEXT in vocabulary:
        special = {END_OF_TEXT}
    ids = vocabulary | added
    missing = next((token for token in sorted(special) if token not in ids), None)
    if missing is not None:
        raise FormatError(f"{folder}: the special token {shown(missing)} must be in {VOCAB_JSON} or {ADDED}")
    bos_token, eos_token = named.get("bos_token"), named.get("eos_token")
    if eos_token is None and special == {END_OF_TEXT}:
        bos_token = eos_token = END_OF_TEXT
    before = [] if bos_token is None or settings.get("add_bos_token") is not True else [ids[bos_token]]
    try:
        return byte_level_bpe(
            _tokens_by_id(ids),
            _merges(folder / MERGES_TXT),
            special_tokens=[ids[token] for token in special],
            added_tokens=[ids[token] for token in added],
            add_prefix_space=settings.get("add_prefix_space") is True,
            before=before,
            bos_token=bos_token,
            eos_token=eos_token,
        )
    except TokenizerError as error:
        raise FormatError(f"{folder / VOCAB_JSON} with {MERGES_TXT}: {error}") from None


def _tokens_by_id(ids: dict[str, Any]) -> list[str]:
    """The tokens in the order of their ids. Raises: TokenizerError unless these are 0..n-1, each once"""
    if any(type(number) is not int for number in ids.values()) or sorted(ids.values()) != list(range(len(ids))):
        raise TokenizerError(f"the ids of {len(ids)} tokens must be 0..{len(ids) - 1}, each once")
    return sorted(ids, key=ids.__getitem__)


def _merges(path: Path) -> list[str]:
    """The lines of a merges.txt, apart from its `#version`."""
    lines = read_utf8(path).replace("\r\n", "\n").removesuffix("\n").split("\n")
    return [line for line in lines[lines[0].startswith("#version") :] if line]
