"""Base class of models with a Hugging Face form, which `interop/` reads and writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Self

from tinygrad_llm import models
from tinygrad_llm.nn.module import Module
from tinygrad_llm.settings import Settings

if TYPE_CHECKING:
    from tinygrad_llm.text.tokenizer import Tokenizer


class Pretrained(Module):
    """A model that is built from its `config` and has a form on Hugging Face. No file format is imported before one of
    the methods is called."""

    config: Any
    config_class: type[Settings]

    def __init__(self, config: Any) -> None:
        raise NotImplementedError(f"{type(self).__name__} must define __init__")

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], dropout: float | None = None) -> Self:
        """The model in a Hugging Face folder (config.json, model.safetensors) or a GGUF file, in evaluation mode.

        Weights of 64 bits make a float64 model, all others a float32 one, without rounding. `dropout` replaces the
        rates in config.json, which has several where this package has one.

        Raises: FormatError, naming the file, for one that is missing or damaged, or for a setting that this model
                does not support
        """
        return models.load_pretrained(cls, folder, dropout)

    def save_pretrained(self, folder: str | os.PathLike[str], tokenizer: Tokenizer | None = None) -> None:
        """Write config.json, model.safetensors and the tokenizer's files as transformers opens them.

        Raises: StateDictError if layers were added or replaced (merge LoRA first), TokenizerError for a tokenizer
                that Hugging Face's files cannot hold, ConfigError for a tokenizer with more tokens than the model or a
                config that no Hugging Face model has, CheckpointError if the folder holds another model or cannot
                be written
        """
        models.save_pretrained(self, folder, tokenizer)
