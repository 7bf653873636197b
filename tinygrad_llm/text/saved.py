"""Saving a tokenizer in a folder, and loading it again, whatever its kind."""

import os
from pathlib import Path

from tinygrad_llm.errors import FormatError, TokenizerError
from tinygrad_llm.formats import read_json_object, write_json
from tinygrad_llm.formats.atomic import cannot_write, expect_file_name
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text.bpe import BPETokenizer
from tinygrad_llm.text.characters import CharTokenizer
from tinygrad_llm.text.gpt2 import GPT2Tokenizer
from tinygrad_llm.text.pipeline.tokenizer import PipelineTokenizer
from tinygrad_llm.text.tokenizer import TOKENIZER_FILE, Tokenizer
from tinygrad_llm.text.wordpiece import WordPieceTokenizer
from tinygrad_llm.text.words import SimpleTokenizerV1, SimpleTokenizerV2

FILE_VERSION = 1

KINDS: dict[str, type[Tokenizer]] = {
    tokenizer.kind: tokenizer
    for tokenizer in (
        CharTokenizer,
        SimpleTokenizerV1,
        SimpleTokenizerV2,
        BPETokenizer,
        GPT2Tokenizer,
        WordPieceTokenizer,
        PipelineTokenizer,
    )
}


def save_tokenizer(tokenizer: Tokenizer, folder: str | os.PathLike[str]) -> Path:
    """Write a tokenizer into `folder` (made if missing) as one JSON file, atomically; returns the path.

    Raises: CheckpointError if the folder cannot be written
    """
    expect_file_name(folder)
    path = Path(folder) / TOKENIZER_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise cannot_write(path, problem) from problem
    write_json(path, {"version": FILE_VERSION, "kind": tokenizer.kind, **tokenizer.state()}, indent=None)
    return path


def load_tokenizer(folder: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer that `save` wrote into `folder`.

    Raises: FormatError if the folder holds none, or a file that `save` did not write
    """
    path = Path(folder) / TOKENIZER_FILE
    manifest = read_json_object(path)
    version, kind = manifest.get("version"), manifest.get("kind")
    if type(version) is not int or version < 1:
        raise FormatError(f"{path}: 'version' must be a positive integer; got {shown(version)}")
    if version > FILE_VERSION:
        raise FormatError(
            f"{path}: written by a newer version of this package (file version {version}, known up to "
            f"{FILE_VERSION}): update the package"
        )
    if not isinstance(kind, str) or kind not in KINDS:
        raise FormatError(f"{path}: 'kind' must be one of {', '.join(KINDS)}; got {shown(kind)}")
    try:
        return KINDS[kind].from_state(manifest)
    except TokenizerError as error:
        raise FormatError(f"{path}: {error}") from error
