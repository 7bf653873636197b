"""GPT's names and settings in a Hugging Face folder of model type "gpt2".

    here                                      there
    token_embedding.weight                    transformer.wte.weight
    position_embedding.weight                 transformer.wpe.weight
    blocks.0.norm1                            transformer.h.0.ln_1
    blocks.0.attention.query, key, value      transformer.h.0.attn.c_attn       side by side, transposed
    blocks.0.attention.output                 transformer.h.0.attn.c_proj       transposed
    blocks.0.norm2                            transformer.h.0.ln_2
    blocks.0.feed_forward.up, down            transformer.h.0.mlp.c_fc, c_proj  transposed
    final_norm                                transformer.ln_f
    head.weight                               lm_head.weight                    absent where tied to wte

A Linear's weight is (out, in) here; there it is (in, out), for OpenAI's code wrote a linear layer as a convolution of
width 1. `transformer.` is left out in OpenAI's own uploads.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import CheckpointError, ConfigError, FormatError, StateDictError
from tinygrad_llm.formats import read_json_object, read_sharded_safetensors, write_json, write_safetensors
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.vocabulary_files import expect_huggingface_tokenizer, write_huggingface_tokenizer

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PREFIX = "transformer."
HEAD = "lm_head.weight"
MASK_BUFFER = re.compile(r"h\.[0-9]+\.attn\.(bias|masked_bias)")  # the causal mask, which old versions saved as well
OTHER_NAMES = {  # under which transformers takes the same setting
    "n_embd": "hidden_size",
    "n_positions": "max_position_embeddings",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
}
GELU_FORMS = {"gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu": "none", "gelu_python": "none"}
ACTIVATIONS = {"tanh": "gelu_new", "none": "gelu"}
DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
# What would change the numbers, and is not computed here. (`reorder_and_upcast_attn` only rounds otherwise.)
MUST_BE_UNSET = (
    "scale_attn_by_inverse_layer_idx", "add_cross_attention", "is_encoder_decoder", "pruned_heads",
    "quantization_config",
)  # fmt: skip
GPT2_VOCAB_SIZE, GPT2_END_OF_TEXT = 50257, 50256


@dataclass(frozen=True)
class Place:
    """One array there, with its shape there, and the arrays here that it holds one after the other."""

    theirs: str
    shape: tuple[int, ...]
    ours: tuple[str, ...]
    transposed: bool = False


def places(settings: Mapping[str, Any]) -> Iterator[Place]:
    """Where each weight of a GPT with these settings lies, in the order of its layers."""
    width, vocab_size = settings["embedding_dim"], settings["vocab_size"]
    inner = 4 * width if settings["feed_forward_dim"] is None else settings["feed_forward_dim"]
    linears = [
        ("attn.c_attn", ("attention.query", "attention.key", "attention.value"), width, 3 * width),
        ("attn.c_proj", ("attention.output",), width, width),
        ("mlp.c_fc", ("feed_forward.up",), width, inner),
        ("mlp.c_proj", ("feed_forward.down",), inner, width),
    ]
    yield Place("wte.weight", (vocab_size, width), ("token_embedding.weight",))
    yield Place("wpe.weight", (settings["context_length"], width), ("position_embedding.weight",))
    for layer in range(settings["num_layers"]):
        here, there = f"blocks.{layer}.", f"h.{layer}."
        for part in ("weight", "bias"):
            for ours, theirs in (("norm1", "ln_1"), ("norm2", "ln_2")):
                yield Place(f"{there}{theirs}.{part}", (width,), (f"{here}{ours}.{part}",))
            for name, parts, size_in, size_out in linears:
                shape = (size_in, size_out) if part == "weight" else (size_out,)
                yield Place(f"{there}{name}.{part}", shape, tuple(f"{here}{o}.{part}" for o in parts), part == "weight")
    for part in ("weight", "bias"):
        yield Place(f"ln_f.{part}", (width,), (f"final_norm.{part}",))
    if not settings["tie_weights"]:
        yield Place(HEAD, (vocab_size, width), ("head.weight",))


# Reading.


def read_gpt2(
    folder: str | os.PathLike[str], dropout: float | None = None
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """The settings of the GPTConfig and the state dict of the GPT that a folder holds.

    Arrays are read-only views of the file where they can be. The head is tied where the file leaves it out, or holds
    the embedding's very numbers and the config does not deny it; as in transformers, other numbers are honoured even
    where the config promises a tie.

    Raises: FormatError
    """
    folder = Path(folder)
    settings = read_settings(folder / CONFIG, dropout)
    tensors = _plain_names(read_sharded_safetensors(folder, as_float32=True), folder)
    tied = settings["tie_weights"]
    if HEAD in tensors and tied:
        head, table = tensors[HEAD], tensors.get("wte.weight")
        tied = table is not None and np.array_equal(head, table, equal_nan=head.dtype.kind == "f")
        settings["tie_weights"] = tied
        if tied:
            del tensors[HEAD]
    state = {}
    for place in places(settings):  # which stops at the first array that is missing, however many layers are promised
        state.update(_taken(tensors, place, folder))
    if tensors:
        names = ", ".join(shown(name) for name in sorted(tensors)[:5])
        raise FormatError(
            f"{folder}: must hold the weights of a GPT-2 of {settings['num_layers']} layers and nothing else; also "
            f"holds {len(tensors)} more: {names}"
        )
    return settings, state


def _plain_names(tensors: Mapping[str, NDArray[Any]], folder: Path) -> dict[str, NDArray[Any]]:
    plain: dict[str, NDArray[Any]] = {}
    for name, array in tensors.items():
        short = name.removeprefix(PREFIX)
        if short in plain:
            raise FormatError(f"{folder}: holds {shown(short)} twice, with and without {PREFIX!r}; remove one")
        if not MASK_BUFFER.fullmatch(short):
            plain[short] = array
    return plain


def _taken(tensors: dict[str, NDArray[Any]], place: Place, folder: Path) -> dict[str, NDArray[Any]]:
    """What `place` holds, removed from `tensors` and put into our shapes."""
    array = tensors.pop(place.theirs, None)
    if array is None:
        why = f", which {CONFIG} needs with tie_word_embeddings false" if place.theirs == HEAD else ""
        raise FormatError(f"{folder}: the weights must hold {place.theirs!r} {place.shape}{why}; there is none")
    if array.shape != place.shape or array.dtype.kind != "f":
        raise FormatError(
            f"{folder}: {place.theirs!r} must be {place.shape} numbers with a fraction, as {CONFIG} says; "
            f"got {array.dtype} {array.shape}"
        )
    whole = array.T if place.transposed else array
    return dict(zip(place.ours, np.split(whole, len(place.ours)), strict=True))


def read_settings(path: Path, dropout: float | None = None) -> dict[str, Any]:
    """The settings of a GPTConfig that a GPT-2's config.json asks for; what it leaves out is as in GPT-2's smallest.

    `dropout`, where given, stands for the config's three.

    Raises: FormatError, naming an option that is not computed here
    """
    config = read_json_object(path)
    if config.get("model_type") != "gpt2":
        raise FormatError(f"{path}: model_type must be 'gpt2'; got {shown(config.get('model_type'))}")

    def setting(name: str, default: Any) -> Any:
        found = [config[known] for known in (name, OTHER_NAMES.get(name)) if known in config]
        if len(found) == 2 and found[0] != found[1]:
            raise FormatError(f"{path}: {name} and {OTHER_NAMES[name]} mean the same; got {shown(found)}")
        return found[0] if found else default

    def size(name: str, default: int) -> int:
        value = setting(name, default)
        if type(value) is not int or value < 1:
            raise FormatError(f"{path}: {name} must be an integer of at least 1; got {shown(value)}")
        return value

    def refuse(name: str, what: str) -> FormatError:
        return FormatError(f"{path}: {name} {what}; got {shown(config.get(name))}")

    for name in MUST_BE_UNSET:
        if config.get(name):
            raise refuse(name, "must be unset or false: it is not computed here")
    if config.get("scale_attn_weights", True) is not True:
        raise refuse("scale_attn_weights", "must be true: attention is always scaled here")
    activation = config.get("activation_function", "gelu_new")
    if not isinstance(activation, str) or activation not in GELU_FORMS:
        raise refuse("activation_function", f"must be one of {', '.join(GELU_FORMS)}: others are not computed here")
    tied = config.get("tie_word_embeddings", True)
    if not isinstance(tied, bool):
        raise refuse("tie_word_embeddings", "must be true or false")
    if dropout is None:
        rates = {name: config.get(name, 0.1) for name in DROPOUTS}
        dropout = rates["embd_pdrop"]
        if any(rate != dropout for rate in rates.values()):
            raise FormatError(
                f"{path}: {', '.join(DROPOUTS)} must be equal, for a GPT has one dropout here; got {shown(rates)}: "
                f"choose one with dropout= (it matters to training only)"
            )
    return {
        "vocab_size": size("vocab_size", GPT2_VOCAB_SIZE),
        "context_length": size("n_positions", 1024),
        "embedding_dim": size("n_embd", 768),
        "num_heads": size("n_head", 12),
        "num_layers": size("n_layer", 12),
        "dropout": dropout,
        "qkv_bias": True,
        "tie_weights": tied,
        "feed_forward_dim": None if config.get("n_inner") is None else size("n_inner", 0),
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "gelu": GELU_FORMS[activation],
    }


# Writing.


def write_gpt2(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    tokenizer: Tokenizer | None = None,
) -> None:
    """Write a GPT of these settings and weights, and its tokenizer, as transformers opens them.

    Everything is checked before the first file is written; config.json, which makes the folder a model, comes last.

    Raises: StateDictError, TokenizerError, ConfigError, CheckpointError
    """
    folder = Path(folder)
    tensors = _their_tensors(settings, state)
    if tokenizer is not None:
        expect_huggingface_tokenizer(tokenizer)
        if tokenizer.vocab_size > settings["vocab_size"]:
            raise ConfigError(
                f"save_pretrained: the model must have a row for each of the tokenizer's {tokenizer.vocab_size} "
                f"tokens; it has {settings['vocab_size']}: see resize_token_embeddings"
            )
    _expect_no_other_model(folder / CONFIG)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise CheckpointError(f"{folder}: cannot be made a folder: {error}") from None
    write_safetensors(folder / WEIGHTS, tensors, {"format": "pt"})
    if tokenizer is not None:
        write_huggingface_tokenizer(tokenizer, folder, settings["context_length"])
    dtype = str(np.result_type(*tensors.values()))
    write_json(folder / CONFIG, _their_config(settings, tokenizer, dtype))


def _expect_no_other_model(path: Path) -> None:
    if not os.path.lexists(path):
        return
    try:
        model_type = read_json_object(path).get("model_type")
    except FormatError:
        model_type = None
    if model_type != "gpt2":
        raise CheckpointError(
            f"{path}: belongs to something else than a Hugging Face GPT-2 (model_type {shown(model_type)}), and would "
            f"be overwritten; choose a new folder"
        )


def _their_tensors(settings: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    left = dict(state)
    dtype = np.result_type(*state.values())
    tensors = {}
    for place in places(settings):
        if not settings["qkv_bias"] and place.theirs.endswith("attn.c_attn.bias"):
            tensors[PREFIX + place.theirs] = np.zeros(place.shape, dtype)
            continue
        missing = [name for name in place.ours if name not in left]
        if missing:
            raise StateDictError(f"save_pretrained: a GPT must have the weights {', '.join(missing)}; got others")
        parts = [left.pop(name) for name in place.ours]
        whole = parts[0] if len(parts) == 1 else np.concatenate(parts)
        whole = whole.T if place.transposed else whole
        if whole.shape != place.shape:
            raise StateDictError(
                f"save_pretrained: {', '.join(place.ours)} must come to {place.shape}, as the config says; "
                f"got {whole.shape}"
            )
        tensors[place.theirs if place.theirs == HEAD else PREFIX + place.theirs] = whole
    if left:
        raise StateDictError(
            f"save_pretrained: GPT-2 has no place for {', '.join(sorted(left)[:5])}; merge or remove what was added"
        )
    return tensors


def _their_config(settings: Mapping[str, Any], tokenizer: Tokenizer | None, dtype: str) -> dict[str, Any]:
    end_of_text = tokenizer.end_of_text if tokenizer is not None else None
    if tokenizer is None and settings["vocab_size"] == GPT2_VOCAB_SIZE:
        end_of_text = GPT2_END_OF_TEXT  # a vocabulary of this size is GPT-2's own
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": settings["vocab_size"],
        "n_positions": settings["context_length"],
        "n_ctx": settings["context_length"],  # the older name, which some readers still ask for
        "n_embd": settings["embedding_dim"],
        "n_head": settings["num_heads"],
        "n_layer": settings["num_layers"],
        "n_inner": settings["feed_forward_dim"],
        "activation_function": ACTIVATIONS[settings["gelu"]],
        **dict.fromkeys(DROPOUTS, settings["dropout"]),
        "layer_norm_epsilon": settings["norm_eps"],
        "initializer_range": 0.02,
        "tie_word_embeddings": settings["tie_weights"],
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "dtype": dtype,
        "torch_dtype": dtype,  # the older name
    }
