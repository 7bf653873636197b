"""Hugging Face's `tokenizer.json` of a byte-level BPE: vocabulary, merges, special tokens and the split rule.

A setting that would change ids and is not supported is refused by name, as FormatError.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import read_json_object
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.vocabulary_files import merges_of, printable, tokenizer_of, vocabulary_by_id, write_file

PathLike = str | os.PathLike[str]


def read_tokenizer_json(path: PathLike) -> BPETokenizer:
    """The tokenizer of a Hugging Face `tokenizer.json`, if it is a byte-level BPE that splits as GPT-2 does.

    A setting that would change ids and is not supported is refused by name.

    Raises: FormatError
    """
    content = read_json_object(path)
    model = content.get("model")
    if not isinstance(model, dict) or model.get("type", "BPE") != "BPE":
        kind = model.get("type") if isinstance(model, dict) else model
        raise FormatError(f"{path}: 'model' must be of type BPE; got {shown(kind)}")
    for key, plain in {
        "dropout": (None, 0, 0.0),
        "continuing_subword_prefix": (None, ""),
        "end_of_word_suffix": (None, ""),
        "byte_fallback": (None, False),
    }.items():
        if model.get(key) not in plain:
            raise FormatError(f"{path}: the model's {key!r} must be unset, as in GPT-2; got {shown(model[key])}")
    if content.get("normalizer") is not None:
        raise FormatError(
            f"{path}: 'normalizer' must be null: text is not normalised; got {shown(content['normalizer'])}"
        )
    pre_tokenizer = content.get("pre_tokenizer")
    if not isinstance(pre_tokenizer, dict) or pre_tokenizer.get("type") != "ByteLevel":
        raise FormatError(f"{path}: 'pre_tokenizer' must be ByteLevel, as GPT-2 splits; got {shown(pre_tokenizer)}")
    if pre_tokenizer.get("add_prefix_space") is not False or pre_tokenizer.get("use_regex", True) is not True:
        raise FormatError(f"{path}: the pre_tokenizer must have add_prefix_space false and use_regex true")
    post_processor = content.get("post_processor")
    if not _adds_no_tokens(post_processor):
        raise FormatError(f"{path}: 'post_processor' must add no tokens to a text; got {shown(post_processor)}")
    vocabulary, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocabulary, dict) or not isinstance(merges, list):
        raise FormatError(f"{path}: the model needs an object 'vocab' and a list 'merges'")
    special = special_tokens_of(content.get("added_tokens", []), path)
    for name, number in special.items():
        if vocabulary.get(name, number) != number:
            raise FormatError(
                f"{path}: {shown(name)} has id {number} among added_tokens and {vocabulary[name]} in vocab"
            )
    ordinary = {token: number for token, number in vocabulary.items() if token not in special}
    return tokenizer_of(ordinary, [_pair(merge, path) for merge in merges], special, str(path))


def _adds_no_tokens(post_processor: object) -> bool:
    if not isinstance(post_processor, dict):
        return post_processor is None
    if post_processor.get("type") == "TemplateProcessing":  # as transformers writes it: the text is left unchanged
        single = post_processor.get("single")
        return isinstance(single, list) and len(single) == 1 and isinstance(single[0], dict) and "Sequence" in single[0]
    return post_processor.get("type") == "ByteLevel"


def special_tokens_of(added_tokens: object, path: PathLike) -> dict[str, int]:
    """The ids of the tokens that a `tokenizer.json` has added, all of which must be special. Raises: FormatError"""
    special: dict[str, int] = {}
    if not isinstance(added_tokens, list):
        raise FormatError(f"{path}: 'added_tokens' must be a list of objects; got {shown(added_tokens)}")
    for added in added_tokens:
        if not isinstance(added, dict):
            raise FormatError(f"{path}: 'added_tokens' must be a list of objects; got {shown(added)}")
        name, number = added.get("content"), added.get("id")
        if not isinstance(name, str) or type(number) is not int:
            raise FormatError(f"{path}: an added token needs a 'content' and an integer 'id'; got {shown(added)}")
        for option in ("lstrip", "rstrip", "single_word"):
            if added.get(option, False) is not False:
                raise FormatError(f"{path}: the added token {shown(name)} has {option!r} set, which is not supported")
        if added.get("special") is not True:
            raise FormatError(f"{path}: the added token {shown(name)} is not special; only special ones are supported")
        if name in special:
            raise FormatError(f"{path}: the added token {shown(name)} occurs twice")
        special[name] = number
    return special


def _pair(merge: object, path: PathLike) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge  # older files write "a b", newer ["a", "b"]
    if isinstance(parts, list) and len(parts) == 2 and all(isinstance(part, str) and part for part in parts):
        return parts[0], parts[1]
    raise FormatError(f"{path}: a merge must be two tokens; got {shown(merge)}")


def expect_merges(tokenizer: BPETokenizer) -> None:
    """Raises: TokenizerError unless `write_tokenizer_json` can write the tokenizer"""
    merges_of(tokenizer)
    vocabulary_by_id(tokenizer)


def write_tokenizer_json(tokenizer: BPETokenizer, folder: PathLike, model_max_length: int | None = None) -> list[Path]:
    """Write `tokenizer.json` and `tokenizer_config.json`, from which transformers gets the same ids; returns the paths.

    Units: model_max_length in tokens, the model's context length
    Raises: TokenizerError if a token is made by no merge, CheckpointError if a file cannot be written
    """
    expect_merges(tokenizer)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": name,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for name, number in sorted(tokenizer.special_tokens.items(), key=lambda item: item[1])
        ],
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": byte_level,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "",
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": vocabulary_by_id(tokenizer),
            "merges": [f"{printable(first)} {printable(second)}" for first, second in merges_of(tokenizer)],
        },
    }
    config: dict[str, Any] = {
        # Not GPT2Tokenizer, which would add an <|endoftext|> to a vocabulary that has none.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    if tokenizer.end_of_text is not None:
        end_of_text = tokenizer.token_bytes(tokenizer.end_of_text).decode()
        config |= {"bos_token": end_of_text, "eos_token": end_of_text, "unk_token": end_of_text}
    return [
        write_file(Path(folder) / "tokenizer.json", json.dumps(content)),
        write_file(Path(folder) / "tokenizer_config.json", json.dumps(config, indent=2)),
    ]
