"""Models in Hugging Face folders, with and without their tokenizers.

config.json, model.safetensors      see the file of each model, such as gpt2.py
the tokenizer's files               see huggingface_tokenizer.py
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from tinygrad_llm.errors import CheckpointError, ConfigError, FormatError, TokenizerError
from tinygrad_llm.formats import read_json_object
from tinygrad_llm.formats.atomic import short_path
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.forms import HuggingFaceForm
from tinygrad_llm.interop.huggingface_tokenizer import expect_huggingface_tokenizer, read_huggingface_tokenizer
from tinygrad_llm.interop.huggingface_weights import CONFIG
from tinygrad_llm.models.pretrained import Pretrained
from tinygrad_llm.nn.init import no_initial_values
from tinygrad_llm.nn.loading import adopt_state_dict
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.tokenizer import TOKENIZER_FILE

M = TypeVar("M", bound=Pretrained)


def read_model(
    form: HuggingFaceForm, model_class: type[M], folder: str | os.PathLike[str], dropout: float | None = None
) -> M:
    """The model in a Hugging Face folder of this form; see `Pretrained.from_pretrained`. Raises: FormatError"""
    return model_of(model_class, *form.read(folder, dropout), folder)


def model_of(
    model_class: type[M], settings: Mapping[str, Any], state: dict[str, Any], source: str | os.PathLike[str]
) -> M:
    """The model of these settings with the arrays of `state` as its weights, in evaluation mode; `source` is named in
    errors. Raises: FormatError for settings that no such model has
    """
    try:
        with no_initial_values():
            model = model_class(model_class.config_class.from_dict(settings))
    except ConfigError as error:
        raise FormatError(f"{os.fspath(source)}: the config does not fit a {model_class.__name__}: {error}") from None
    adopt_state_dict(model, state, np.result_type(*state.values()))
    return model.eval()


def expect_row_for_each_token(model: Any, tokenizer: Tokenizer, source: str | os.PathLike[str]) -> None:
    """Raises: FormatError if the tokenizer has more tokens than the model"""
    if tokenizer.vocab_size > model.config.vocab_size:
        raise FormatError(
            f"{os.fspath(source)}: the model must have a row for each token; its vocab_size is "
            f"{model.config.vocab_size}, and the tokenizer has {tokenizer.vocab_size} tokens"
        )


def write_model(
    form: HuggingFaceForm, model: Pretrained, folder: str | os.PathLike[str], tokenizer: Tokenizer | None = None
) -> None:
    """Write a model and its tokenizer in this form; see `Pretrained.save_pretrained`.

    Raises: StateDictError, TokenizerError, ConfigError, CheckpointError
    """
    settings, parts = model.config.to_dict(), vars(model)
    if "tie_weights" in settings:
        settings["tie_weights"] = parts["head"].weight is parts["token_embedding"].weight
    form.write(folder, settings, model.state_dict(), tokenizer)


def read_folder(
    folder: str | os.PathLike[str],
    forms: Mapping[str, tuple[HuggingFaceForm, type[Any]]],
    dropout: float | None = None,
) -> tuple[Any, Tokenizer]:
    """The model in a Hugging Face folder, in evaluation mode, and its tokenizer; `forms` by `model_type`, each with the
    class of the model. `dropout` as in `Pretrained.from_pretrained`.

    Raises: FormatError for a file that is missing or damaged, or needs something that is not supported, or if the
            tokenizer has more tokens than the model
    """
    if not os.path.isdir(folder):
        found = "it is a file" if os.path.lexists(folder) else "there is none of that name"
        raise FormatError(f"{short_path(folder)}: must be a Hugging Face folder; {found}: check the spelling")
    tokenizer = read_huggingface_tokenizer(folder)  # first, because weights may take long to read
    model_type = read_json_object(Path(folder) / CONFIG).get("model_type")
    if not isinstance(model_type, str) or model_type not in forms:
        raise FormatError(
            f"{Path(folder) / CONFIG}: model_type must be one of {', '.join(forms)}; got {shown(model_type)}"
        )
    form, model_class = forms[model_type]
    model: Any = read_model(form, model_class, folder, dropout)
    expect_row_for_each_token(model, tokenizer, folder)
    return model, tokenizer


def save_huggingface(folder: str | os.PathLike[str], model: Pretrained, tokenizer: Tokenizer) -> str | None:
    """Write model and tokenizer into a new or empty folder; returns a warning if transformers cannot open all of it,
    else None.

    A tokenizer that Hugging Face's files cannot hold is saved in this package's own file.

    Raises: CheckpointError if the folder is not empty or cannot be written, and the errors of
            `Pretrained.save_pretrained`
    """
    folder = Path(folder)
    try:
        if os.path.lexists(folder) and os.listdir(folder):
            raise CheckpointError(f"{folder}: must be a new or empty folder, for its files would mix; choose another")
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        if isinstance(error, CheckpointError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{folder}: must be a folder that can be written; {reason}") from None
    try:
        expect_huggingface_tokenizer(tokenizer)
    except TokenizerError as error:
        model.save_pretrained(folder)
        tokenizer.save(folder)
        return f"transformers opens the model without its tokenizer, which is in {TOKENIZER_FILE}: {error}"
    model.save_pretrained(folder, tokenizer)
    return None
