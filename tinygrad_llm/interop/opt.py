"""OPT's names and settings in a Hugging Face folder of model type "opt".

    ours                                      theirs
    token_embedding.weight                    model.decoder.embed_tokens.weight
    position_embedding.weight                 model.decoder.embed_positions.weight       context_length + 2 rows in both
    blocks.0.norm1                            model.decoder.layers.0.self_attn_layer_norm
    blocks.0.attention.query, key, value      model.decoder.layers.0.self_attn.q_proj, k_proj, v_proj
    blocks.0.attention.output                 model.decoder.layers.0.self_attn.out_proj
    blocks.0.norm2                            model.decoder.layers.0.final_layer_norm
    blocks.0.feed_forward.up, down            model.decoder.layers.0.fc1, fc2
    final_norm                                model.decoder.final_layer_norm
    head.weight                               lm_head.weight                             absent if tied

A model that was saved without its head has these names without `model.`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinygrad_llm.interop.forms import HuggingFaceForm
from tinygrad_llm.interop.huggingface_weights import (
    CONFIG,
    HEAD,
    Arrays,
    HuggingFaceConfig,
    Place,
    head_is_tied,
    read_without_prefix,
    state_from,
    tensors_from,
    write_folder,
)
from tinygrad_llm.models.opt import POSITION_OFFSET
from tinygrad_llm.text import Tokenizer

PREFIX = "model."
TABLE = "decoder.embed_tokens.weight"
VERSION_BUFFER = re.compile(r"decoder\.version")  # which old versions saved
# Options that change the output or the training and are not supported. OPT-350M has the norm after each part.
MUST_BE_TRUE = ("do_layer_norm_before", "enable_bias", "layer_norm_elementwise_affine")
MUST_BE_UNSET = ("_remove_final_layer_norm", "layerdrop", "quantization_config")
OPT_VOCAB_SIZE, OPT_END_OF_TEXT = 50272, 2


def places(settings: Mapping[str, Any]) -> Iterator[Place]:
    """The places of all weights of an OPT with these settings, layer by layer."""
    width, vocab_size = settings["embedding_dim"], settings["vocab_size"]
    inner = _inner_dim(settings)
    parts = [
        ("self_attn_layer_norm", "norm1", (width,)),
        ("self_attn.q_proj", "attention.query", (width, width)),
        ("self_attn.k_proj", "attention.key", (width, width)),
        ("self_attn.v_proj", "attention.value", (width, width)),
        ("self_attn.out_proj", "attention.output", (width, width)),
        ("final_layer_norm", "norm2", (width,)),
        ("fc1", "feed_forward.up", (inner, width)),
        ("fc2", "feed_forward.down", (width, inner)),
    ]
    yield Place(TABLE, (vocab_size, width), ("token_embedding.weight",))
    rows = settings["context_length"] + POSITION_OFFSET
    yield Place("decoder.embed_positions.weight", (rows, width), ("position_embedding.weight",))
    for layer in range(settings["num_layers"]):
        for theirs, ours, shape in parts:
            theirs, ours = f"decoder.layers.{layer}.{theirs}", f"blocks.{layer}.{ours}"
            yield Place(f"{theirs}.weight", shape, (f"{ours}.weight",))
            yield Place(f"{theirs}.bias", shape[:1], (f"{ours}.bias",))
    for part in ("weight", "bias"):
        yield Place(f"decoder.final_layer_norm.{part}", (width,), (f"final_norm.{part}",))
    if not settings["tie_weights"]:
        yield Place(HEAD, (vocab_size, width), ("head.weight",))


def _inner_dim(settings: Mapping[str, Any]) -> int:
    inner: int | None = settings["feed_forward_dim"]
    return 4 * settings["embedding_dim"] if inner is None else inner


# Reading.


def read_opt(folder: str | os.PathLike[str], dropout: float | None = None) -> tuple[dict[str, Any], Arrays]:
    """The settings of the OPTConfig and the state dict of the OPT in a folder.

    The arrays are views of the file, copied when they are written; BF16 and F16 become float32 copies.

    Raises: FormatError, naming the file, for one that is missing, damaged or of another model
    """
    folder = Path(folder)
    settings = read_settings(folder / CONFIG, dropout)
    tensors = read_without_prefix(folder, PREFIX, VERSION_BUFFER)
    settings["tie_weights"] = head_is_tied(tensors, TABLE, settings["tie_weights"])
    return settings, state_from(tensors, places(settings), folder, f"an OPT of {settings['num_layers']} layers")


def read_settings(path: Path, dropout: float | None = None) -> dict[str, Any]:
    """The settings of an OPTConfig in an OPT's config.json. The defaults are those of OPT-125M.

    `dropout`, if given, replaces the two rates of the file.

    Raises: FormatError, naming an option that is not supported
    """
    config = HuggingFaceConfig(path)
    if config.model_type != "opt":
        raise config.refusal("model_type", "must be 'opt'")
    config.expect_unset(*MUST_BE_UNSET)
    for name in MUST_BE_TRUE:
        if config.get(name, True) is not True:
            raise config.refusal(name, "must be true: an OPT without it is not supported")
    width = config.size("hidden_size", 768)
    if config.get("word_embed_proj_dim") not in (None, width):
        raise config.refusal(
            "word_embed_proj_dim", f"must be hidden_size, {width}: projected embeddings are not supported"
        )
    config.choice("activation_function", "relu", {"relu": "relu"})
    return {
        "vocab_size": config.size("vocab_size", OPT_VOCAB_SIZE),
        "context_length": config.size("max_position_embeddings", 2048),
        "embedding_dim": width,
        "num_heads": config.size("num_attention_heads", 12),
        "num_layers": config.size("num_hidden_layers", 12),
        "dropout": config.get("dropout", 0.1) if dropout is None else dropout,
        "attention_dropout": config.get("attention_dropout", 0.0) if dropout is None else dropout,
        "tie_weights": config.flag("tie_word_embeddings", True),
        "feed_forward_dim": config.size("ffn_dim", 3072),
    }


# Writing.


def write_opt(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    tokenizer: Tokenizer | None = None,
) -> None:
    """Write an OPT of these settings and weights, and its tokenizer, as transformers opens them.

    Raises: StateDictError, TokenizerError, ConfigError, CheckpointError
    """
    tensors = {
        name if name == HEAD else PREFIX + name: array
        for name, array in tensors_from(state, places(settings), "OPT").items()
    }
    write_folder(Path(folder), _config_json(settings, tokenizer), tensors, tokenizer, settings)


def _config_json(settings: Mapping[str, Any], tokenizer: Tokenizer | None) -> dict[str, Any]:
    end_of_text = tokenizer.end_of_text if tokenizer is not None else None
    if tokenizer is None and settings["vocab_size"] == OPT_VOCAB_SIZE:
        end_of_text = OPT_END_OF_TEXT  # a vocabulary of this size is that of OPT
    return {
        "architectures": ["OPTForCausalLM"],
        "model_type": "opt",
        "vocab_size": settings["vocab_size"],
        "max_position_embeddings": settings["context_length"],
        "hidden_size": settings["embedding_dim"],
        "word_embed_proj_dim": settings["embedding_dim"],
        "num_attention_heads": settings["num_heads"],
        "num_hidden_layers": settings["num_layers"],
        "ffn_dim": _inner_dim(settings),
        "activation_function": "relu",
        "dropout": settings["dropout"],
        "attention_dropout": settings["attention_dropout"],
        "layerdrop": 0.0,
        **dict.fromkeys(MUST_BE_TRUE, True),
        "_remove_final_layer_norm": False,
        "init_std": 0.02,
        "tie_word_embeddings": settings["tie_weights"],
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": None,
    }


FORM = HuggingFaceForm(("opt",), read_opt, write_opt)
