"""Reading and writing the tokenizer of a Hugging Face folder.

tokenizer.json, tokenizer_config.json      any kind, or
vocab.txt, tokenizer_config.json           WordPiece, or
vocab.json, merges.txt                     byte-level BPE in GPT-2's older files (read only), or
tinygrad_tokenizer.json                    tokenizers that Hugging Face's files cannot hold: characters, words
"""

import os
from pathlib import Path

from tinygrad_llm.errors import FormatError, TokenizerError
from tinygrad_llm.interop.tokenizer_json import (
    TOKENIZER_JSON,
    definition_of,
    read_folder_tokenizer,
    write_tokenizer_json,
)
from tinygrad_llm.interop.vocab_and_merges import VOCAB_JSON, read_vocab_and_merges
from tinygrad_llm.interop.wordpiece_files import VOCABULARY, expect_lines, read_vocab_txt, write_vocab_txt
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.pipeline import PipelineTokenizer
from tinygrad_llm.text.saved import load_tokenizer
from tinygrad_llm.text.tokenizer import TOKENIZER_FILE, Tokenizer
from tinygrad_llm.text.wordpiece import WordPieceTokenizer


def read_huggingface_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer in a folder.

    Raises: FormatError for a folder without a tokenizer, or with one that is not supported
    """
    folder = Path(folder)
    if os.path.lexists(folder / TOKENIZER_FILE):
        return load_tokenizer(folder)
    if os.path.lexists(folder / TOKENIZER_JSON):
        return read_folder_tokenizer(folder / TOKENIZER_JSON)
    if os.path.lexists(folder / VOCABULARY):
        return read_vocab_txt(folder / VOCABULARY)
    if os.path.lexists(folder / VOCAB_JSON):
        return read_vocab_and_merges(folder)
    raise FormatError(
        f"{folder}: must hold a tokenizer: {TOKENIZER_FILE}, tokenizer.json, {VOCABULARY}, or vocab.json with "
        "merges.txt; add the files of the tokenizer that the model was trained with"
    )


def expect_huggingface_tokenizer(tokenizer: Tokenizer) -> BPETokenizer | PipelineTokenizer | WordPieceTokenizer:
    """The tokenizer itself. Raises: TokenizerError for one that `write_huggingface_tokenizer` cannot write"""
    if isinstance(tokenizer, WordPieceTokenizer):
        expect_lines(tokenizer)
        return tokenizer
    if isinstance(tokenizer, BPETokenizer | PipelineTokenizer):
        definition_of(tokenizer)
        return tokenizer
    raise TokenizerError(
        f"Hugging Face's files hold BPE, Unigram or WordPiece; save a {type(tokenizer).__name__} with its own save()"
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
