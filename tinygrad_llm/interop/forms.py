"""The Hugging Face form of a model: one record that says how its folders are read and written."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from tinygrad_llm.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class HuggingFaceForm:
    """How the Hugging Face folders of one of our models are read and written.

    `model_types` are the values of model_type in the config.json of such folders. `read(folder, dropout)` returns the
    settings of our config and our state dict; `write(folder, settings, state, tokenizer)` writes them.
    """

    model_types: tuple[str, ...]
    read: Callable[[str | os.PathLike[str], float | None], tuple[dict[str, Any], dict[str, NDArray[Any]]]]
    write: Callable[[str | os.PathLike[str], Mapping[str, Any], Mapping[str, NDArray[Any]], Tokenizer | None], None]
