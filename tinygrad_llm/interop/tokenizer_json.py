"""Hugging Face's `tokenizer.json`: reading any that `text/pipeline` supports in full, and writing it.

Whatever would change ids, text or offsets and is not supported is refused by name, as FormatError.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import FormatError, TokenizerError
from tinygrad_llm.formats import read_json_object, read_optional_json_object
from tinygrad_llm.interop.named_token import token_text
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.pipeline import PipelineTokenizer
from tinygrad_llm.text.pipeline.merges_of_scores import with_merges
from tinygrad_llm.text.vocabulary_files import merges_of, printable, vocabulary_by_id, write_file

PathLike = str | os.PathLike[str]

TOKENIZER_JSON, SETTINGS = "tokenizer.json", "tokenizer_config.json"


def tokenizer_from_json(path: PathLike) -> PipelineTokenizer:
    """The tokenizer of a Hugging Face `tokenizer.json`: BPE, Unigram, WordPiece or WordLevel, with all its stages.

    `encode(text, allowed_special="all")` gives the ids of `tokenizers`' `encode(text, add_special_tokens=False)`,
    `offsets` the offsets, and `decode` the text of its `decode(ids, skip_special_tokens=False)`. Truncation and
    padding, settings of batches, are not applied.

    Raises: FormatError, naming the field, for a file that is not supported in full
    """
    return _tokenizer_of(path, None, None)


def read_folder_tokenizer(path: PathLike) -> PipelineTokenizer:
    """The tokenizer of a `tokenizer.json`, with the BOS and EOS that a `tokenizer_config.json` in its folder names.

    Raises: FormatError
    """
    settings_path = Path(path).parent / SETTINGS
    settings = read_optional_json_object(settings_path)
    bos_token, eos_token = (
        token_text(settings.get(key), f"{settings_path}: {key}") for key in ("bos_token", "eos_token")
    )
    return _tokenizer_of(path, bos_token, eos_token)


def _tokenizer_of(path: PathLike, bos_token: str | None, eos_token: str | None) -> PipelineTokenizer:
    try:
        return PipelineTokenizer(read_json_object(path), bos_token, eos_token)
    except TokenizerError as error:
        raise FormatError(f"{os.fspath(path)}: {error}") from None


def definition_of(tokenizer: BPETokenizer | PipelineTokenizer) -> dict[str, Any]:
    """The object of a `tokenizer.json` with which Hugging Face's `tokenizers` encodes to the same ids.

    Raises: TokenizerError if a token is made by no merge
    """
    if isinstance(tokenizer, PipelineTokenizer):
        return with_merges(tokenizer.definition)
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    special = sorted(tokenizer.special_tokens.items(), key=lambda item: item[1])
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": number, "content": name, **flags} for name, number in special],
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


def write_tokenizer_json(
    tokenizer: BPETokenizer | PipelineTokenizer, folder: PathLike, model_max_length: int | None = None
) -> list[Path]:
    """Write `tokenizer.json` and `tokenizer_config.json`, from which transformers gets the same ids; returns the paths.

    Units: model_max_length in tokens, the model's context length
    Raises: TokenizerError if a token is made by no merge, CheckpointError if a file cannot be written
    """
    config: dict[str, Any] = {
        # Not GPT2Tokenizer, which would add an <|endoftext|> to a vocabulary that has none.
        "tokenizer_class": "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces": False,
    }
    if model_max_length is not None:
        config["model_max_length"] = model_max_length
    if isinstance(tokenizer, PipelineTokenizer):
        named = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
        config |= {key: name for key, name in named.items() if name is not None}
    elif tokenizer.end_of_text is not None:
        end_of_text = tokenizer.token_bytes(tokenizer.end_of_text).decode()
        config |= {"bos_token": end_of_text, "eos_token": end_of_text}
    return [
        write_file(Path(folder) / TOKENIZER_JSON, json.dumps(definition_of(tokenizer), ensure_ascii=False)),
        write_file(Path(folder) / SETTINGS, json.dumps(config, indent=2)),
    ]
