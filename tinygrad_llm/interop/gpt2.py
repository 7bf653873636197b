"""GPT's names and settings in a Hugging Face folder of model type "gpt2".

    ours                                      theirs
    token_embedding.weight                    transformer.wte.weight
    position_embedding.weight                 transformer.wpe.weight
    blocks.0.norm1                            transformer.h.0.ln_1
    blocks.0.attention.query, key, value      transformer.h.0.attn.c_attn       joined, transposed
    blocks.0.attention.output                 transformer.h.0.attn.c_proj       transposed
    blocks.0.norm2                            transformer.h.0.ln_2
    blocks.0.feed_forward.up, down            transformer.h.0.mlp.c_fc, c_proj  transposed
    final_norm                                transformer.ln_f
    head.weight                               lm_head.weight                    absent if tied to wte

Our weight of a Linear is (out, in), theirs is (in, out), because OpenAI's code wrote a linear layer as a convolution of
width 1. OpenAI's own uploads leave out `transformer.`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import ConfigError
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
from tinygrad_llm.text import Tokenizer

PREFIX = "transformer."
MASK_BUFFER = re.compile(r"h\.[0-9]+\.attn\.(bias|masked_bias)")  # the causal mask, which old versions saved
OTHER_NAMES = {  # second names under which transformers accepts these settings
    "n_embd": "hidden_size",
    "n_positions": "max_position_embeddings",
    "n_head": "num_attention_heads",
    "n_layer": "num_hidden_layers",
}
GELU_FORMS = {"gelu_new": "tanh", "gelu_pytorch_tanh": "tanh", "gelu": "none", "gelu_python": "none"}
ACTIVATIONS = {"tanh": "gelu_new", "none": "gelu"}
QKV = ("query", "key", "value")
DROPOUTS = ("resid_pdrop", "embd_pdrop", "attn_pdrop")
# Options that change the output and are not supported. (`reorder_and_upcast_attn` changes the rounding only.)
MUST_BE_UNSET = (
    "scale_attn_by_inverse_layer_idx",
    "add_cross_attention",
    "is_encoder_decoder",
    "pruned_heads",
    "quantization_config",
)
GPT2_VOCAB_SIZE, GPT2_END_OF_TEXT = 50257, 50256


def places(settings: Mapping[str, Any]) -> Iterator[Place]:
    """The places of all weights of a GPT with these settings, layer by layer."""
    width, vocab_size = settings["embedding_dim"], settings["vocab_size"]
    inner = 4 * width if settings["feed_forward_dim"] is None else settings["feed_forward_dim"]
    linears = [
        ("attn.c_attn", tuple(f"attention.{part}" for part in QKV), width, 3 * width),
        ("attn.c_proj", ("attention.output",), width, width),
        ("mlp.c_fc", ("feed_forward.up",), width, inner),
        ("mlp.c_proj", ("feed_forward.down",), inner, width),
    ]
    yield Place("wte.weight", (vocab_size, width), ("token_embedding.weight",))
    yield Place("wpe.weight", (settings["context_length"], width), ("position_embedding.weight",))
    for layer in range(settings["num_layers"]):
        block, theirs_block = f"blocks.{layer}.", f"h.{layer}."
        for part in ("weight", "bias"):
            for ours, theirs in (("norm1", "ln_1"), ("norm2", "ln_2")):
                yield Place(f"{theirs_block}{theirs}.{part}", (width,), (f"{block}{ours}.{part}",))
            for name, parts, size_in, size_out in linears:
                shape = (size_in, size_out) if part == "weight" else (size_out,)
                names = tuple(f"{block}{ours}.{part}" for ours in parts)
                yield Place(f"{theirs_block}{name}.{part}", shape, names, transposed=part == "weight")
    for part in ("weight", "bias"):
        yield Place(f"ln_f.{part}", (width,), (f"final_norm.{part}",))
    if not settings["tie_weights"]:
        yield Place(HEAD, (vocab_size, width), ("head.weight",))


# Reading.


def read_gpt2(folder: str | os.PathLike[str], dropout: float | None = None) -> tuple[dict[str, Any], Arrays]:
    """The settings of the GPTConfig and the state dict of the GPT in a folder.

    The arrays are views of the file, copied when they are written; BF16 and F16 become float32 copies.

    Raises: FormatError, naming the file, for one that is missing, damaged or of another model
    """
    folder = Path(folder)
    settings = read_settings(folder / CONFIG, dropout)
    tensors = read_without_prefix(folder, PREFIX, MASK_BUFFER)
    settings["tie_weights"] = head_is_tied(tensors, "wte.weight", settings["tie_weights"])
    return settings, state_from(tensors, places(settings), folder, f"a GPT-2 of {settings['num_layers']} layers")


def read_settings(path: Path, dropout: float | None = None) -> dict[str, Any]:
    """The settings of a GPTConfig in a GPT-2's config.json. The defaults are those of the smallest GPT-2.

    `dropout`, if given, replaces the three rates of the file.

    Raises: FormatError, naming an option that is not supported
    """
    config = HuggingFaceConfig(path, OTHER_NAMES)
    if config.model_type != "gpt2":
        raise config.refusal("model_type", "must be 'gpt2'")
    config.expect_unset(*MUST_BE_UNSET)
    if config.get("scale_attn_weights", True) is not True:
        raise config.refusal("scale_attn_weights", "must be true: attention is always scaled here")
    return {
        "vocab_size": config.size("vocab_size", GPT2_VOCAB_SIZE),
        "context_length": config.size("n_positions", 1024),
        "embedding_dim": config.size("n_embd", 768),
        "num_heads": config.size("n_head", 12),
        "num_layers": config.size("n_layer", 12),
        "dropout": config.dropout(DROPOUTS, "GPT") if dropout is None else dropout,
        "qkv_bias": True,
        "tie_weights": config.flag("tie_word_embeddings", True),
        "feed_forward_dim": None if config.get("n_inner") is None else config.size("n_inner", 0),
        "norm_eps": config.get("layer_norm_epsilon", 1e-5),
        "gelu": config.choice("activation_function", "gelu_new", GELU_FORMS),
    }


# Writing.


def write_gpt2(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    tokenizer: Tokenizer | None = None,
) -> None:
    """Write a GPT of these settings and weights, and its tokenizer, as transformers opens them.

    If the GPT has no bias of queries, keys and values, zeros are written, because GPT-2 always has one.

    Raises: StateDictError, TokenizerError, ConfigError, CheckpointError
    """
    if settings["window"] is not None:
        raise ConfigError(
            f"save_pretrained: a GPT-2 has no sliding window, and this GPT has one of {settings['window']} tokens; a "
            "Llama with a window has a Hugging Face form"
        )
    if not settings["qkv_bias"]:
        zeros = np.zeros(settings["embedding_dim"], np.result_type(*state.values()))
        names = (f"blocks.{i}.attention.{part}.bias" for i in range(settings["num_layers"]) for part in QKV)
        state = {**state, **dict.fromkeys(names, zeros)}
    tensors = {
        name if name == HEAD else PREFIX + name: array
        for name, array in tensors_from(state, places(settings), "GPT-2").items()
    }
    write_folder(Path(folder), _config_json(settings, tokenizer), tensors, tokenizer, settings)


def _config_json(settings: Mapping[str, Any], tokenizer: Tokenizer | None) -> dict[str, Any]:
    end_of_text = tokenizer.end_of_text if tokenizer is not None else None
    if tokenizer is None and settings["vocab_size"] == GPT2_VOCAB_SIZE:
        end_of_text = GPT2_END_OF_TEXT  # a vocabulary of this size is that of GPT-2
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": settings["vocab_size"],
        "n_positions": settings["context_length"],
        "n_ctx": settings["context_length"],  # an older name, which some readers need
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
    }


FORM = HuggingFaceForm(("gpt2",), read_gpt2, write_gpt2)
