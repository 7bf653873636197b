"""Open a run folder for a command that wants a model of one kind, and say what else was there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.finetune import Classifier
from tinygrad_llm.models import GPT, Bert, EncoderDecoder, LanguageModel, Llama
from tinygrad_llm.nn import Module
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import load

# What a kind of model is called, and the command that makes one.
KINDS: dict[type[Module], tuple[str, str]] = {
    GPT: ("a GPT", "train"),
    Llama: ("a Llama", "train --architecture llama"),
    Bert: ("a BERT", "bert train"),
    EncoderDecoder: ("an encoder-decoder", "translate train"),
    Classifier: ("a classifier", "classify train"),
}
LANGUAGE_MODELS = (GPT, Llama)


def open_language_model(path: str | Path) -> tuple[LanguageModel, Tokenizer]:
    """The GPT or Llama of a run folder and its tokenizer. Raises ConfigError for another kind, and as `train.load`."""
    return open_model(path, *LANGUAGE_MODELS)


def open_model(path: str | Path, *kinds: type[Module]) -> tuple[Any, Tokenizer]:
    """The model of a run folder and its tokenizer. Raises ConfigError for another kind, and as `train.load`."""
    model, tokenizer = load(path)
    if not isinstance(model, kinds):
        wanted = " or ".join(KINDS[kind][0] for kind in kinds)
        raise ConfigError(
            f"--model must be {wanted}; {path} holds {KINDS[type(model)][0]}: `tinygrad-llm {KINDS[kinds[0]][1]}` "
            f"makes {KINDS[kinds[0]][0]}"
        )
    return model, tokenizer
