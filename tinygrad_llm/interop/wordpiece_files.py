"""Hugging Face's files of a WordPiece vocabulary.

- `vocab.txt`, BERT's own: one piece per line; the line number, from 0, is its id;
- `tokenizer_config.json` in the same folder: whether text becomes lower case, and the names of special tokens.

tokenizer_json.py reads all of this from one JSON object.

A setting that would change ids and is not supported is refused by name, as FormatError.
"""

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import FormatError, TokenizerError
from tinygrad_llm.formats import read_optional_json_object, read_utf8
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.named_token import token_text
from tinygrad_llm.text.vocabulary_files import write_file
from tinygrad_llm.text.wordpiece import SPECIAL_TOKENS, WordPieceTokenizer

PathLike = str | os.PathLike[str]

VOCABULARY, SETTINGS = "vocab.txt", "tokenizer_config.json"
NAMES = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL_TOKENS, strict=True))
FLAGS = {  # our name, the names in the two files, and the default
    "lowercase": ("do_lower_case", "lowercase", True),
    "strip_accents": ("strip_accents", "strip_accents", None),
    "split_chinese": ("tokenize_chinese_chars", "handle_chinese_chars", True),
}


def read_vocab_txt(path: PathLike) -> WordPieceTokenizer:
    """The tokenizer of a `vocab.txt` and the `tokenizer_config.json` in its folder; without the latter it is uncased.

    Raises: FormatError
    """
    path = Path(path)
    pieces = read_utf8(path).replace("\r\n", "\n").removesuffix("\n").split("\n")
    settings_path = path.parent / SETTINGS
    settings = read_optional_json_object(settings_path)
    for name, expected in NAMES.items():
        value = settings.get(name, expected)
        if token_text(value, f"{settings_path}: {name}") != expected:
            raise FormatError(f"{settings_path}: {name} must be {expected!r}, as BERT's; got {shown(value)}")
    if settings.get("do_basic_tokenize", True) is not True or settings.get("never_split"):
        raise FormatError(
            f"{settings_path}: do_basic_tokenize must be true, and never_split empty; otherwise ids would differ"
        )
    added = settings.get("added_tokens_decoder") or {}
    if not isinstance(added, dict) or not {str(number) for number in range(len(pieces))}.issuperset(added):
        raise FormatError(f"{settings_path}: added_tokens_decoder must add nothing to the {len(pieces)} pieces")
    flags = {name: settings.get(theirs, default) for name, (theirs, _, default) in FLAGS.items()}
    return _tokenizer_of(pieces, flags, SPECIAL_TOKENS, path)


def _tokenizer_of(
    pieces: Sequence[str], flags: dict[str, Any], special_tokens: Collection[str], path: Path
) -> WordPieceTokenizer:
    """Raises: FormatError"""
    for name, value in flags.items():
        if not isinstance(value, bool) and (value, name) != (None, "strip_accents"):
            raise FormatError(f"{path}: {' or '.join(FLAGS[name][:2])} must be true or false; got {shown(value)}")
    try:
        return WordPieceTokenizer(pieces, special_tokens=special_tokens, **flags)
    except TokenizerError as error:
        raise FormatError(f"{path}: {error}") from None


def write_vocab_txt(tokenizer: WordPieceTokenizer, folder: PathLike, model_max_length: int | None = None) -> list[Path]:
    """Write `vocab.txt` and `tokenizer_config.json`, from which transformers gets the same ids; returns their paths.

    Units: model_max_length in tokens, the model's context length
    Raises: TokenizerError for pieces that lines of text cannot hold or special tokens that are not BERT's,
            CheckpointError if a file cannot be written
    """
    expect_lines(tokenizer)
    settings: dict[str, Any] = {
        "tokenizer_class": "BertTokenizer",
        **{theirs: getattr(tokenizer, name) for name, (theirs, _, _) in FLAGS.items()},
        **NAMES,
    }
    if model_max_length is not None:
        settings["model_max_length"] = model_max_length
    return [
        write_file(Path(folder) / VOCABULARY, "".join(f"{piece}\n" for piece in tokenizer.pieces)),
        write_file(Path(folder) / SETTINGS, json.dumps(settings, indent=2)),
    ]


def expect_lines(tokenizer: WordPieceTokenizer) -> None:
    """Raises: TokenizerError unless `write_vocab_txt` can write the tokenizer"""
    broken = next((piece for piece in tokenizer.pieces if "\n" in piece or "\r" in piece), None)
    if broken is not None:
        raise TokenizerError(f"{VOCABULARY} has a piece on each line, so none may hold a line end; got {broken!r}")
    missing = [name for name in SPECIAL_TOKENS if name not in tokenizer.special_tokens]
    if missing:  # transformers would add them, but the model has no embedding rows for them
        raise TokenizerError(f"{VOCABULARY} must have BERT's special tokens; {', '.join(missing)} is missing")
