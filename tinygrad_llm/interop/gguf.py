"""Models in GGUF files, with their tokenizers.

A file is read as the Hugging Face folder of the same model would be: settings and weights in gguf_settings.py, the
tokenizer and what else the file says of texts in gguf_tokenizer.py, the rest in the file of the model's family.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import GGUF, read_gguf
from tinygrad_llm.interop.chat_template import ChatTemplate
from tinygrad_llm.interop.conventions import Conventions
from tinygrad_llm.interop.gguf_settings import huggingface_config, huggingface_tensors
from tinygrad_llm.interop.gguf_tokenizer import end_ids, named_tokens, read_gguf_tokenizer, template_source
from tinygrad_llm.interop.huggingface_folder import expect_row_for_each_token, model_of
from tinygrad_llm.interop.llama import read_settings, with_state
from tinygrad_llm.models import Llama
from tinygrad_llm.models.pretrained import Pretrained
from tinygrad_llm.text import Tokenizer

SUFFIX = ".gguf"
M = TypeVar("M", bound=Pretrained)


def is_gguf(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a file, or would be one, that is named as a GGUF file or begins as one."""
    path = Path(path)
    if path.suffix.lower() == SUFFIX:
        return not path.is_dir()
    try:
        with path.open("rb") as file:
            return file.read(4) == b"GGUF"
    except (OSError, ValueError):
        return False


def load_gguf(path: str | os.PathLike[str], dropout: float | None = None) -> tuple[Llama, Tokenizer]:
    """The model in a GGUF file, in evaluation mode, and its tokenizer; `dropout` as in `Pretrained.from_pretrained`.

    Weights of fewer bits become float32; float32 ones are used where they are in the file, which is never written.

    Raises: FormatError for a file that is damaged, or needs something that is not supported
    """
    file = read_gguf(path)
    tokenizer = read_gguf_tokenizer(file)  # first, because weights may take long to read
    model = _model(file, Llama, dropout)
    expect_row_for_each_token(model, tokenizer, path)
    return model, tokenizer


def gguf_model(model_class: type[M], path: str | os.PathLike[str], dropout: float | None = None) -> M:
    """The model in a GGUF file, which may hold no tokenizer; otherwise as `load_gguf`.

    Raises: FormatError, also if the file holds a model of another class
    """
    if not issubclass(model_class, Llama):
        raise FormatError(
            f"{os.fspath(path)}: GGUF files hold a Llama or one of its relatives, not a {model_class.__name__}"
        )
    return _model(read_gguf(path), model_class, dropout)


def _model(file: GGUF, model_class: type[M], dropout: float | None) -> M:
    path = Path(file.path)
    settings, member = read_settings(path, dropout, huggingface_config(file))
    return model_of(model_class, *with_state(settings, member, huggingface_tensors(file, member), path), path)


def gguf_conventions(path: str | os.PathLike[str]) -> Conventions:
    """Which ids end the texts of the model in a GGUF file, and its chat template. Raises: FormatError"""
    file = read_gguf(path)
    return Conventions(end_ids(file), _template(file))


def gguf_template(path: str | os.PathLike[str]) -> ChatTemplate | None:
    """The chat template in a GGUF file, if it has one. Raises: FormatError"""
    return _template(read_gguf(path))


def _template(file: GGUF) -> ChatTemplate | None:
    source = template_source(file)
    return None if source is None else ChatTemplate(source, named_tokens(file))
