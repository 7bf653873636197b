"""Open a tokenizer alone, without the model's weights: of a run, or of other people's files."""

from __future__ import annotations

import os
from pathlib import Path

from tinygrad_llm.errors import DataError
from tinygrad_llm.formats.gguf import read_gguf
from tinygrad_llm.interop import tokenizer_from_json
from tinygrad_llm.interop.gguf import is_gguf
from tinygrad_llm.interop.gguf_tokenizer import read_gguf_tokenizer
from tinygrad_llm.interop.huggingface_tokenizer import read_huggingface_tokenizer
from tinygrad_llm.runs.checkpoints import run_of
from tinygrad_llm.text import Tokenizer


def open_tokenizer(path: str | os.PathLike[str]) -> Tokenizer:
    """The tokenizer of a run folder, a checkpoint, a Hugging Face folder, a GGUF file or a tokenizer.json.

    Raises: DataError if there is no such file or folder; FormatError or TokenizerError if it holds no tokenizer, or a
            damaged one
    """
    if not os.path.lexists(path):
        raise DataError(f"{os.fspath(path)}: there is no such run folder, model or tokenizer.json: check the spelling")
    if is_gguf(path):
        return read_gguf_tokenizer(read_gguf(path))
    return tokenizer_from_json(path) if os.path.isfile(path) else read_huggingface_tokenizer(run_of(Path(path)))
