"""Open a model for a command: that of a run, or one of other people, in a Hugging Face folder or a GGUF file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import ARCHITECTURES, architecture_of, load_huggingface, taken_by
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import CheckpointError, ConfigError, StateDictError
from tinygrad_llm.formats import check_published, read_json, read_safetensors
from tinygrad_llm.interop.chat_template import ChatTemplate
from tinygrad_llm.interop.conventions import (
    Conventions,
    huggingface_conventions,
    huggingface_template,
    read_conventions,
)
from tinygrad_llm.interop.gguf import gguf_conventions, gguf_template, is_gguf, load_gguf
from tinygrad_llm.nn import Module
from tinygrad_llm.nn.init import no_initial_values
from tinygrad_llm.nn.loading import adopt_state_dict
from tinygrad_llm.runs.checkpoint_files import WEIGHTS
from tinygrad_llm.runs.checkpoints import CHECKPOINTS, CONFIG, run_of
from tinygrad_llm.runs.hints import command as command_line
from tinygrad_llm.runs.not_a_run import is_huggingface
from tinygrad_llm.runs.run_folder import read_config
from tinygrad_llm.text import Tokenizer, load_tokenizer


def load(path: str | os.PathLike[str]) -> tuple[Any, Tokenizer]:
    """The model of a run folder (its newest), a checkpoint, a Hugging Face folder or a GGUF file, and its tokenizer.

    The model is in evaluation mode.

    Raises: DataError if `path` is none of them; CheckpointError or FormatError, naming the file, if one is missing or
            damaged, or does not fit the others
    """
    return load_foreign(path) if is_foreign(path) else load_run(path)


def load_foreign(path: str | os.PathLike[str], dropout: float | None = None) -> tuple[Any, Tokenizer]:
    """The model of a Hugging Face folder or a GGUF file; `dropout` as in `Pretrained.from_pretrained`.

    Raises: FormatError
    """
    return load_gguf(path, dropout) if is_gguf(path) else load_huggingface(path, dropout)


def load_run(path: str | os.PathLike[str]) -> tuple[Module, Tokenizer]:
    """The newest model of a run folder, or that of a checkpoint, in evaluation mode, and its tokenizer.

    Raises: DataError if `path` is neither; CheckpointError or FormatError, naming the file, if one is
            missing or damaged, or does not fit the others
    """
    folder = run_of(path)
    config = read_config(folder)
    architecture = ARCHITECTURES[config["model_type"]]
    weights = Path(path) / WEIGHTS
    if not weights.exists():
        raise CheckpointError(f"{weights}: is missing; the run has not saved a checkpoint yet, or it was deleted")
    check_published(weights, folder / CHECKPOINTS)
    arrays = read_safetensors(weights, copy=True)
    try:
        sizes = architecture.config_from(config["model"])
        _expect_sizes_of_file(sizes, arrays, weights)
        with no_initial_values():
            model: Module = architecture.begin(sizes)
    except (ConfigError, TypeError, ValueError, MemoryError) as error:  # ValueError: too large for an array
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    try:
        adopt_state_dict(model, arrays)
    except StateDictError as error:
        raise CheckpointError(f"{weights}: does not fit {CONFIG}: {str(error)[:500]}") from error
    tokenizer = load_tokenizer(folder)
    return model.eval(), tokenizer


def _expect_sizes_of_file(sizes: Any, arrays: Mapping[str, Array], file: Path) -> None:
    """A damaged number must not take memory without end. Raises: CheckpointError for one that the file cannot hold"""
    bounds = dict.fromkeys(("num_layers", "num_experts"), (len(arrays), "tensors"))
    numbers = sum(array.size for array in arrays.values())
    bounds |= dict.fromkeys(("vocab_size", "embedding_dim", "feed_forward_dim", "expert_dim"), (numbers, "numbers"))
    for name, (most, of) in bounds.items():
        if (getattr(sizes, name, 0) or 0) > most:
            raise CheckpointError(f"{file}: does not fit {CONFIG}: {name} {getattr(sizes, name)}, {most} {of}")


def open_model(path: str | Path, command: str) -> tuple[Any, Tokenizer]:
    """As `load`, for a command that accepts only some architectures.

    Raises: ConfigError for a model that `command` does not take, and as `load`
    """
    model, tokenizer = load(path)
    expect_taken(model, command, path)
    return model, tokenizer


def conventions_of(path: str | os.PathLike[str], tokenizer: Tokenizer) -> Conventions:
    """Which ids end the texts of the model in `path`, and its chat template, if it has one. Raises: FormatError"""
    if is_gguf(path):
        return gguf_conventions(path)
    if is_huggingface_folder(path):
        return huggingface_conventions(path, tokenizer)
    return read_conventions(run_of(path)) or Conventions.of_tokenizer(tokenizer)


def chat_template_of(path: str | os.PathLike[str]) -> ChatTemplate | None:
    """The chat template of the model in `path`, if it has one. Raises: FormatError"""
    if is_gguf(path):
        return gguf_template(path)
    if is_huggingface_folder(path):
        return huggingface_template(path)
    recorded = read_conventions(run_of(path))
    return None if recorded is None else recorded.template


def recorded_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The config of the run in `path`; an empty one for a model that no run made. Raises: as `read_config`"""
    return {} if is_foreign(path) else read_config(Path(path))


def is_foreign(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a GGUF file or a Hugging Face folder. Raises: FormatError for a damaged config.json"""
    return is_gguf(path) or is_huggingface_folder(path)


def is_huggingface_folder(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a folder with the config.json of a Hugging Face model. Raises: FormatError for a damaged one"""
    config = Path(path) / CONFIG
    return os.path.isfile(config) and is_huggingface(read_json(config))


def weight_files(path: str | os.PathLike[str]) -> list[Path]:
    """The files with the weights of a model: one, or the parts of a large Hugging Face model."""
    if is_gguf(path):
        return [Path(path)]
    whole = Path(path) / WEIGHTS
    parts = sorted(Path(path).glob("*.safetensors")) if is_huggingface_folder(path) else []
    return [whole] if whole.exists() or not parts else parts


def expect_taken(model: Any, command: str, path: str | Path) -> None:
    """Raises ConfigError for a model that `command` does not take."""
    held, takes = architecture_of(model), taken_by(command)
    if held not in takes:
        raise ConfigError(
            f"--model must be {' or '.join(one.words for one in takes)}; {path} holds {held.words}: "
            f"`{command_line(*takes[0].command.split())}` makes {takes[0].words}"
        )
