"""Reading and writing config.json and the weights of a Hugging Face folder, for all models.

Hugging Face names the weights differently. Each model has a list of Places, one for each array in the file; reading and
writing use the same list. "Theirs" is a name in the folder, "ours" a name in this package.
"""

from __future__ import annotations

import copy
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.checks import is_number
from tinygrad_llm.errors import CheckpointError, ConfigError, FormatError, StateDictError
from tinygrad_llm.formats import read_json_object, read_sharded_safetensors, write_json, write_safetensors
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.huggingface_tokenizer import expect_huggingface_tokenizer, write_huggingface_tokenizer
from tinygrad_llm.text import Tokenizer

CONFIG, WEIGHTS = "config.json", "model.safetensors"
HEAD = "lm_head.weight"

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Place:
    """One array of a file: its name and shape, and the names of our arrays that it holds, joined along its first axis.

    With `transposed`, the file holds the transpose of the joined arrays.
    """

    theirs: str
    shape: tuple[int, ...]
    ours: tuple[str, ...]
    transposed: bool = False


# Reading.


def read_without_prefix(folder: Path, prefix: str, buffers: re.Pattern[str]) -> Arrays:
    """The weights of a folder under their names without `prefix`, apart from `buffers`, which old files hold.

    Raises: FormatError for a tensor that is there both with and without the prefix, and as `read_sharded_safetensors`
    """
    plain: Arrays = {}
    for name, array in read_sharded_safetensors(folder, as_float32=True, copy=True).items():
        short = name.removeprefix(prefix)
        if short in plain:
            raise FormatError(f"{folder}: holds {shown(short)} twice, with and without {prefix!r}; remove one")
        if not buffers.fullmatch(short):
            plain[short] = array
    return plain


def head_is_tied(tensors: Arrays, table: str, promised: bool) -> bool:
    """Whether the head's weight is tied to the embedding's `table`. If so, `tensors` afterwards holds the table only.

    `promised` is what config.json says. As in transformers, a head in the file that differs from the table is used
    even if config.json promises a tie; and the only copy of tied weights may have the head's name, as
    `safetensors.torch.save_model` may write it.
    """
    if HEAD not in tensors or not promised:
        return promised
    if table not in tensors:
        tensors[table] = tensors.pop(HEAD)
        return True
    head = tensors[HEAD]
    tied = np.array_equal(head, tensors[table], equal_nan=head.dtype.kind == "f")
    if tied:
        del tensors[HEAD]
    return tied


def state_from(tensors: Arrays, places: Iterable[Place], folder: Path, model: str) -> Arrays:
    """Our state dict, made of the arrays in `tensors`, which are removed there.

    Raises: FormatError for an array that is missing, left over or of another shape
    """
    state: Arrays = {}
    for place in places:  # `places` is not exhausted: config.json may promise any number of layers
        state.update(_pop_arrays(tensors, place, folder))
    if tensors:
        names = ", ".join(shown(name) for name in sorted(tensors)[:5])
        raise FormatError(
            f"{folder}: must hold the weights of {model} and nothing else; also holds {len(tensors)} more: {names}"
        )
    return state


def _pop_arrays(tensors: Arrays, place: Place, folder: Path) -> Arrays:
    """The array of `place`, removed from `tensors`, as our arrays."""
    array = tensors.pop(place.theirs, None)
    if array is None:
        why = f", which {CONFIG} needs with tie_word_embeddings false" if place.theirs == HEAD else ""
        raise FormatError(f"{folder}: the weights must hold {place.theirs!r} {place.shape}{why}; there is none")
    if array.shape != place.shape or array.dtype.kind != "f":
        raise FormatError(
            f"{folder}: {place.theirs!r} must be {place.shape} floating-point numbers, as {CONFIG} says; "
            f"got {array.dtype} {array.shape}"
        )
    whole = array.T if place.transposed else array
    return dict(zip(place.ours, np.split(whole, len(place.ours)), strict=True))


class HuggingFaceConfig:
    """A config.json, read one setting at a time. Every error is a FormatError that names the file and the setting.

    `other_names` maps a setting to a second name under which transformers accepts it. With `content`, `path` only names
    the file that the settings came from.
    """

    def __init__(
        self, path: Path, other_names: Mapping[str, str] | None = None, content: dict[str, Any] | None = None
    ) -> None:
        self.path, self.settings = str(path), read_json_object(path) if content is None else content
        self.model_type: Any = self.settings.get("model_type")
        self.defaults: Mapping[str, Any] = {}  # of this model, before those of the family
        self._other_names = other_names or {}

    def section(self, name: str, model_type: str) -> Self:
        """The config inside this one under `name`; `model_type` is its type if it does not say it."""
        part = copy.copy(self)
        inner = self.settings.get(name)
        if not isinstance(inner, dict):
            raise self.refusal(name, "must be an object")
        part.path, part.settings = f"{self.path}: {name}", inner
        part.model_type = part.settings.get("model_type", model_type)
        return part

    def get(self, name: str, default: Any = None) -> Any:
        """The setting as it is in the file, under either of its names."""
        default = self.defaults.get(name, default)
        other = self._other_names.get(name)
        found = [self.settings[known] for known in (name, other) if known in self.settings]
        if len(found) == 2 and found[0] != found[1]:
            raise FormatError(
                f"{self.path}: {name} and {other} are two names of one setting and must be equal; got {shown(found)}"
            )
        return found[0] if found else default

    def dropout(self, names: Sequence[str], model: str) -> Any:
        """The dropout rate, by default 0.1, of a model that has one rate for all these settings.

        Raises: FormatError if the rates differ
        """
        rates = {name: self.get(name, 0.1) for name in names}
        dropout = rates[names[0]]
        if any(rate != dropout for rate in rates.values()):
            raise FormatError(
                f"{self.path}: {', '.join(names)} must be equal, because a {model} has one dropout rate; "
                f"got {shown(rates)}: choose one with dropout= (it is used in training only)"
            )
        return dropout

    def size(self, name: str, default: int | None = None, least: int = 1) -> int:
        """A setting that is an integer of at least `least`."""
        value = self.get(name, default)
        if type(value) is not int or value < least:
            raise FormatError(f"{self.path}: {name} must be an integer of at least {least}; got {shown(value)}")
        return value

    def positive(self, name: str) -> float | None:
        """A setting that is a number above 0, or null."""
        value = self.get(name)
        if value is not None and not (is_number(value) and 0 < value < math.inf):
            raise FormatError(f"{self.path}: {name} must be a finite number above 0, or null; got {shown(value)}")
        return value

    def flag(self, name: str, default: bool) -> bool:
        """A setting that is true or false."""
        value = self.get(name, default)
        if not isinstance(value, bool):
            raise self.refusal(name, "must be true or false")
        return value

    def choice(self, name: str, default: str, known: Mapping[str, str]) -> str:
        """Our name, in `known`, of a setting that is one of several words."""
        value = self.get(name, default)
        if not isinstance(value, str) or value not in known:
            raise self.refusal(name, f"must be one of {', '.join(known)}: others are not supported")
        return known[value]

    def refusal(self, name: str, what: str) -> FormatError:
        """The error for a setting that is not supported; `what` says what it must be."""
        return FormatError(f"{self.path}: {name} {what}; got {shown(self.settings.get(name))}")

    def expect_unset(self, *names: str) -> None:
        """Raises: FormatError unless these settings are missing, null, false, 0 or empty"""
        for name in names:
            if self.settings.get(name):
                raise self.refusal(name, "must be unset or false: it is not supported")


# Writing.


def tensors_from(state: Mapping[str, NDArray[Any]], places: Iterable[Place], model: str) -> Arrays:
    """The arrays of the file, made of our state dict.

    Raises: StateDictError for a weight that is missing, left over or of another shape
    """
    left = dict(state)
    tensors = {}
    for place in places:
        missing = [name for name in place.ours if name not in left]
        if missing:
            raise StateDictError(f"save_pretrained: a {model} must have the weights {', '.join(missing)}; got others")
        parts = [left.pop(name) for name in place.ours]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        whole = whole.T if place.transposed else whole
        if whole.shape != place.shape:
            raise StateDictError(
                f"save_pretrained: {', '.join(place.ours)} must have the shape {place.shape}, as the config says; "
                f"got {whole.shape}"
            )
        tensors[place.theirs] = whole
    if left:
        raise StateDictError(
            f"save_pretrained: the Hugging Face form of a {model} has no place for {', '.join(sorted(left)[:5])}; "
            "merge or remove what was added"
        )
    return tensors


def write_folder(
    folder: Path,
    config: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
    tokenizer: Tokenizer | None,
    settings: Mapping[str, Any],
) -> None:
    """Write `config`, weights and tokenizer as transformers opens them; `settings` are those of our config.

    Everything is checked before the first file is written. config.json is written last, so that a folder with one is
    complete.

    Raises: TokenizerError, ConfigError, CheckpointError
    """
    if tokenizer is not None:
        expect_huggingface_tokenizer(tokenizer)
        if tokenizer.vocab_size > settings["vocab_size"]:
            raise ConfigError(
                f"save_pretrained: the model must have a row for each of the tokenizer's {tokenizer.vocab_size} "
                f"tokens; it has {settings['vocab_size']}: see resize_token_embeddings"
            )
    _expect_no_other_model(folder / CONFIG, config["model_type"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{folder}: cannot be made a folder: {reason}") from None
    write_safetensors(folder / WEIGHTS, tensors, {"format": "pt"})
    if tokenizer is not None:
        write_huggingface_tokenizer(tokenizer, folder, settings["context_length"])
    dtype = str(np.result_type(*tensors.values()))
    write_json(folder / CONFIG, {**config, "dtype": dtype, "torch_dtype": dtype})  # torch_dtype: the older name


def _expect_no_other_model(path: Path, own_type: str) -> None:
    if not os.path.lexists(path):
        return
    try:
        model_type = read_json_object(path).get("model_type")
    except FormatError:
        model_type = None
    if model_type != own_type:
        raise CheckpointError(
            f"{path}: must be the config of a {own_type}, since it would be overwritten; its model_type is "
            f"{shown(model_type)}: choose a new folder"
        )
