"""Reading and writing the tokenizer of a Hugging Face folder.

tokenizer.json, tokenizer_config.json      byte-level BPE, or WordPiece (read only), or
vocab.txt, tokenizer_config.json           WordPiece, or
vocab.json, merges.txt                     byte-level BPE in GPT-2's older files (read only), or
tinygrad_tokenizer.json                    tokenizers that Hugging Face's files cannot hold: characters, words
"""

import os
from pathlib import Path

from tinygrad_llm.errors import FormatError, TokenizerError
from tinygrad_llm.formats import read_json_object
from tinygrad_llm.interop.tokenizer_json import expect_merges, read_tokenizer_json, write_tokenizer_json
from tinygrad_llm.interop.wordpiece_files import (
    VOCABULARY,
    expect_lines,
    read_vocab_txt,
    read_wordpiece_json,
    write_vocab_txt,
)
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.saved import load_tokenizer
from tinygrad_llm.text.tokenizer import TOKENIZER_FILE, Tokenizer
from tinygrad_llm.text.vocabulary_files import read_encoder_and_merges
from tinygrad_llm.text.wordpiece import WordPieceTokenizer


def read_huggingface_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a folder.

    Raises: FormatError for a folder without a tokenizer, or with one that is neither byte-level BPE nor WordPiece
    """
    folder = Path(folder)
    if os.path.lexists(folder / TOKENIZER_FILE):
        return load_tokenizer(folder)
    path = folder / "tokenizer.json"
    if os.path.lexists(path):
        model = read_json_object(path).get("model")
        is_wordpiece = isinstance(model, dict) and model.get("type") == "WordPiece"
        return read_wordpiece_json(path) if is_wordpiece else read_tokenizer_json(path)
    if os.path.lexists(folder / VOCABULARY):
        return read_vocab_txt(folder / VOCABULARY)
    if os.path.lexists(folder / "vocab.json"):
        return read_encoder_and_merges(folder / "vocab.json", folder / "merges.txt")
    raise FormatError(
        f"{folder}: must hold a tokenizer: {TOKENIZER_FILE}, tokenizer.json, {VOCABULARY}, or vocab.json with "
        "merges.txt; add the files of the tokenizer that the model was trained with"
    )


def expect_huggingface_tokenizer(tokenizer: Tokenizer) -> BPETokenizer | WordPieceTokenizer:
    """The tokenizer itself. Raises: TokenizerError for one that `write_huggingface_tokenizer` cannot write"""
    if isinstance(tokenizer, WordPieceTokenizer):
        expect_lines(tokenizer)
        return tokenizer
    if isinstance(tokenizer, BPETokenizer):
        expect_merges(tokenizer)
        return tokenizer
    raise TokenizerError(
        f"Hugging Face's files hold byte-level BPE or WordPiece; save a {type(tokenizer).__name__} with its own save()"
    )


def write_huggingface_tokenizer(
    tokenizer: Tokenizer, folder: str | os.PathLike[str], model_max_length: int | None = None
) -> list[Path]:
    """Write the files with which transformers encodes to the same ids; returns their paths.

    Units: model_max_length in tokens, the model's context length
    Raises: TokenizerError for a tokenizer that these files cannot hold, CheckpointError if one cannot be written
    """
    tokenizer = expect_huggingface_tokenizer(tokenizer)
    if isinstance(tokenizer, WordPieceTokenizer):
        return write_vocab_txt(tokenizer, folder, model_max_length)
    return write_tokenizer_json(tokenizer, folder, model_max_length)
