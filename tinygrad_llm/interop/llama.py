"""The Llama family's names and settings in Hugging Face folders.

ours                                      theirs
token_embedding.weight                    model.embed_tokens.weight
blocks.0.norm1                            model.layers.0.input_layernorm
blocks.0.attention.query, key, value      model.layers.0.self_attn.q_proj, k_proj, v_proj
blocks.0.attention.query_norm, key_norm   model.layers.0.self_attn.q_norm, k_norm               Qwen3
blocks.0.attention.output                 model.layers.0.self_attn.o_proj
blocks.0.norm2                            model.layers.0.post_attention_layernorm
blocks.0.feed_forward.gate, up, down      model.layers.0.mlp.gate_proj, up_proj, down_proj
    or .router                            model.layers.0.block_sparse_moe.gate                  Mixtral
    and .experts.0.gate, up, down         model.layers.0.block_sparse_moe.experts.0.w1, w3, w2  Mixtral
final_norm                                model.norm
head.weight                               lm_head.weight              absent if tied to embed_tokens
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinygrad_llm.errors import ConfigError, FormatError
from tinygrad_llm.formats import read_sharded_safetensors
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.forms import HuggingFaceForm
from tinygrad_llm.interop.huggingface_weights import (
    CONFIG,
    HEAD,
    Arrays,
    HuggingFaceConfig,
    Place,
    head_is_tied,
    state_from,
    tensors_from,
    write_folder,
)
from tinygrad_llm.layers.rotary import LLAMA3_SCALING
from tinygrad_llm.nn.feed_forward import gated_hidden_dim
from tinygrad_llm.text import Tokenizer

FREQUENCY_BUFFER = re.compile(r"(.*\.)?rotary_emb\.inv_freq")  # saved by old versions, and ignored by transformers
FORMS = {"silu": "silu", "swish": "silu", "gelu": "gelu", "gelu_pytorch_tanh": "gelu_tanh", "gelu_new": "gelu_tanh"}
ACTIVATIONS = {"silu": "silu", "gelu": "gelu", "gelu_tanh": "gelu_pytorch_tanh"}
LLAMA3_NAMES = (*LLAMA3_SCALING[:3], "original_max_position_embeddings")
# Options that change the output and are not supported.
MUST_BE_UNSET = (
    "mlp_bias",
    "use_sliding_window",
    "use_bidirectional_attention",
    "router_jitter_noise",
    "partial_rotary_factor",
    "quantization_config",
)


@dataclass(frozen=True)
class Member:
    """One model of the family: the settings that it fixes, and the pairs of (qkv_bias, output_bias) that it allows.

    Settings of `PLAIN` that are not in `fixed` are free.
    """

    architecture: str
    fixed: Mapping[str, Any]
    biases: tuple[tuple[bool, bool], ...]


PLAIN = {"qk_norm": False, "norm_around_one": False, "scale_embeddings": False, "num_experts": None, "window": None}
NO_WINDOW_KNOWN = {name: value for name, value in PLAIN.items() if name != "window"}
NO_EXPERTS_KNOWN = {name: value for name, value in NO_WINDOW_KNOWN.items() if name != "num_experts"}
GEMMA = {"norm_around_one": True, "scale_embeddings": True, "activation": "gelu_tanh"}
NONE, QKV, ALL = (False, False), (True, False), (True, True)
MEMBERS = {  # a model is saved as the first member that its settings fit
    "llama": Member("LlamaForCausalLM", PLAIN, (NONE, ALL)),
    "qwen2": Member("Qwen2ForCausalLM", PLAIN, (QKV,)),
    "qwen3": Member("Qwen3ForCausalLM", PLAIN | {"qk_norm": True}, (NONE, ALL)),
    "gemma": Member("GemmaForCausalLM", PLAIN | GEMMA, (NONE, ALL)),
    "mistral": Member("MistralForCausalLM", NO_WINDOW_KNOWN, (NONE,)),
    "mixtral": Member("MixtralForCausalLM", NO_EXPERTS_KNOWN, (NONE,)),
}


def places(settings: Mapping[str, Any]) -> Iterator[Place]:
    """The places of all weights of a Llama with these settings, layer by layer."""
    width, heads = settings["embedding_dim"], settings["num_heads"]
    inner = settings["feed_forward_dim"] or gated_hidden_dim(width)
    head_dim = settings["head_dim"] or width // heads
    kv_heads = settings["num_kv_heads"] or heads
    gated = {"gate": (inner, width), "up": (inner, width), "down": (width, inner)}
    experts_names = {"gate": "w1", "up": "w3", "down": "w2"}
    yield Place("model.embed_tokens.weight", (settings["vocab_size"], width), ("token_embedding.weight",))
    for layer in range(settings["num_layers"]):
        block, layer_name = f"blocks.{layer}.", f"model.layers.{layer}."
        yield Place(f"{layer_name}input_layernorm.weight", (width,), (f"{block}norm1.weight",))
        for ours, theirs, rows, columns, bias in (
            ("query", "q_proj", heads * head_dim, width, settings["qkv_bias"]),
            ("key", "k_proj", kv_heads * head_dim, width, settings["qkv_bias"]),
            ("value", "v_proj", kv_heads * head_dim, width, settings["qkv_bias"]),
            ("output", "o_proj", width, heads * head_dim, settings["output_bias"]),
        ):
            ours, theirs = f"{block}attention.{ours}", f"{layer_name}self_attn.{theirs}"
            yield Place(f"{theirs}.weight", (rows, columns), (f"{ours}.weight",))
            if bias:
                yield Place(f"{theirs}.bias", (rows,), (f"{ours}.bias",))
        if settings["qk_norm"]:
            for ours, theirs in (("query_norm", "q_norm"), ("key_norm", "k_norm")):
                yield Place(f"{layer_name}self_attn.{theirs}.weight", (head_dim,), (f"{block}attention.{ours}.weight",))
        yield Place(f"{layer_name}post_attention_layernorm.weight", (width,), (f"{block}norm2.weight",))
        experts = settings["num_experts"]
        if experts is None:
            for part, shape in gated.items():
                yield Place(f"{layer_name}mlp.{part}_proj.weight", shape, (f"{block}feed_forward.{part}.weight",))
            continue
        layer_name += "block_sparse_moe."
        yield Place(f"{layer_name}gate.weight", (experts, width), (f"{block}feed_forward.router.weight",))
        for expert in range(experts):
            for part, shape in gated.items():
                theirs = f"{layer_name}experts.{expert}.{experts_names[part]}.weight"
                yield Place(theirs, shape, (f"{block}feed_forward.experts.{expert}.{part}.weight",))
    yield Place("model.norm.weight", (width,), ("final_norm.weight",))
    if not settings["tie_weights"]:
        yield Place(HEAD, (settings["vocab_size"], width), ("head.weight",))


# Reading.


def read_llama(folder: str | os.PathLike[str], dropout: float | None = None) -> tuple[dict[str, Any], Arrays]:
    """The settings of the LlamaConfig and the state dict of the Llama in a folder.

    The arrays are views of the file, copied when they are written; BF16 and F16 become float32 copies.

    Raises: FormatError, naming the file, for one that is missing, damaged or of another model
    """
    folder = Path(folder)
    settings = read_settings(folder / CONFIG, dropout)
    tensors = read_sharded_safetensors(folder, as_float32=True, copy=True)
    tensors = {name: array for name, array in tensors.items() if not FREQUENCY_BUFFER.fullmatch(name)}
    settings["tie_weights"] = head_is_tied(tensors, "model.embed_tokens.weight", settings["tie_weights"])
    return settings, state_from(tensors, places(settings), folder, f"a Llama of {settings['num_layers']} layers")


def read_settings(path: Path, dropout: float | None = None) -> dict[str, Any]:
    """The settings of a LlamaConfig in a config.json of the family.

    `dropout`, if given, replaces attention_dropout, which transformers applies to attention only.

    Raises: FormatError, naming an option that is not supported
    """
    config = HuggingFaceConfig(path, {"num_local_experts": "num_experts"})
    model_type = config.get("model_type")
    member = MEMBERS.get(model_type) if isinstance(model_type, str) else None
    if member is None:
        raise FormatError(f"{path}: model_type must be one of {', '.join(MEMBERS)}; got {shown(model_type)}")
    config.expect_unset(*MUST_BE_UNSET)
    kinds = config.get("layer_types") or []
    if not isinstance(kinds, list) or any(kind != "full_attention" for kind in kinds):
        raise config.refusal("layer_types", "must be 'full_attention' for each: others are not supported")
    qkv_bias, output_bias = member.biases[0]
    if ALL in member.biases:
        qkv_bias = output_bias = config.flag("attention_bias", False)
    width, heads = config.size("hidden_size", None), config.size("num_attention_heads", None)
    kv_heads = heads  # null means this number; if it is left out, each member of the family has another default
    if config.get("num_key_value_heads", 0) is not None:
        kv_heads = config.size("num_key_value_heads", heads if model_type == "llama" else None)
    head_dim = config.get("head_dim", 0 if model_type in ("gemma", "qwen3") else None)
    if head_dim is not None and config.size("head_dim", None) * heads == width:
        head_dim = None  # the default
    known_forms = FORMS | {"gelu": "gelu_tanh"} if model_type == "gemma" else FORMS  # as transformers reads it
    rope_base, rope_scaling = _rotation(config, 1e6 if model_type == "mixtral" else 1e4)
    settings = {
        **member.fixed,
        "vocab_size": config.size("vocab_size", None),
        "context_length": config.size("max_position_embeddings", None),
        "embedding_dim": width,
        "num_heads": heads,
        "num_layers": config.size("num_hidden_layers", None),
        "num_kv_heads": kv_heads,
        "head_dim": head_dim,
        "feed_forward_dim": config.size("intermediate_size", None),
        "dropout": config.get("attention_dropout", 0.0) if dropout is None else dropout,
        "norm_eps": config.get("rms_norm_eps", 1e-5 if model_type == "mixtral" else 1e-6),
        "rope_base": rope_base,
        "rope_scaling": rope_scaling,
        "activation": config.choice("hidden_act", ACTIVATIONS[member.fixed.get("activation", "silu")], known_forms),
        "tie_weights": config.flag("tie_word_embeddings", model_type == "gemma"),
        "qkv_bias": qkv_bias,
        "output_bias": output_bias,
    }
    if "window" not in member.fixed:
        window = config.get("sliding_window", 4096 if model_type == "mistral" else None)
        settings["window"] = None if window is None else config.size("sliding_window", 4096)
    if "num_experts" not in member.fixed:
        settings["num_experts"] = config.size("num_local_experts", 8)
        settings["experts_per_token"] = config.size("num_experts_per_tok", 2)
        settings["balance"] = config.get("router_aux_loss_coef", 0.001)
        if settings["experts_per_token"] < 2:
            raise config.refusal("num_experts_per_tok", "must be at least 2: a single expert's gate is not 1 here")
    for name, value in member.fixed.items():
        if settings[name] != value:
            raise FormatError(f"{path}: a {model_type} must have {name} {value}; got {shown(settings[name])}")
    return settings


def _rotation(config: HuggingFaceConfig, default_base: float) -> tuple[Any, dict[str, Any] | None]:
    """rope_base and rope_scaling, from rope_parameters, or from rope_theta and rope_scaling in older files."""
    name = "rope_scaling" if config.get("rope_scaling") else "rope_parameters"
    rope = config.get(name) or {}
    if not isinstance(rope, dict):
        raise config.refusal(name, "must be an object")
    base = rope.get("rope_theta", config.get("rope_theta", default_base))
    kind = rope.get("rope_type", rope.get("type", "default"))
    if rope.get("partial_rotary_factor", 1) != 1:
        raise config.refusal(name, "must not have a partial_rotary_factor: it is not supported")
    if kind == "default" or (kind == "linear" and rope.get("factor") == 1):  # positions divided by 1
        return base, None
    if kind != "llama3":
        raise config.refusal(name, "must have rope_type 'default' or 'llama3': others are not supported")
    original = config.get(LLAMA3_NAMES[-1], config.get("max_position_embeddings"))  # the default, as in transformers
    rope = {LLAMA3_NAMES[-1]: original} | rope
    missing = [part for part in LLAMA3_NAMES if part not in rope]
    if missing:
        raise config.refusal(name, f"must have {', '.join(LLAMA3_NAMES)}; {', '.join(missing)} is missing")
    return base, {ours: rope[theirs] for ours, theirs in zip(LLAMA3_SCALING, LLAMA3_NAMES, strict=True)}


# Writing.


def write_llama(
    folder: str | os.PathLike[str],
    settings: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    tokenizer: Tokenizer | None = None,
) -> None:
    """Write a Llama of these settings and weights, and its tokenizer, as transformers opens them.

    Raises: ConfigError, StateDictError, TokenizerError, CheckpointError
    """
    tensors = tensors_from(state, places(settings), "Llama")
    write_folder(Path(folder), _config_json(settings, tokenizer), tensors, tokenizer, settings)


def _member(settings: Mapping[str, Any]) -> str:
    """The member of the family that has these settings. Raises: ConfigError if none has"""
    biases = (settings["qkv_bias"], settings["output_bias"])
    for model_type, member in MEMBERS.items():
        if biases in member.biases and all(settings[name] == value for name, value in member.fixed.items()):
            if model_type == "mixtral" and settings["experts_per_token"] < 2:
                continue  # in transformers the gate of a single expert is 1
            if model_type == "llama" and settings["embedding_dim"] % settings["num_heads"]:
                continue
            return model_type
    names = ("qkv_bias", "output_bias", *PLAIN, "activation", "experts_per_token")
    combination = ", ".join(f"{name} {settings[name]}" for name in names)
    raise ConfigError(
        f"save_pretrained: the settings must be those of one of {', '.join(MEMBERS)}; no Hugging Face model has "
        f"{combination}"
    )


def _config_json(settings: Mapping[str, Any], tokenizer: Tokenizer | None) -> dict[str, Any]:
    model_type = _member(settings)
    end_of_text = tokenizer.end_of_text if tokenizer is not None else None
    scaling = settings["rope_scaling"]
    rope: dict[str, Any] = {"rope_theta": settings["rope_base"], "rope_type": "default"}
    if scaling is not None:
        rope |= {theirs: scaling[ours] for ours, theirs in zip(LLAMA3_SCALING, LLAMA3_NAMES, strict=True)}
        rope["rope_type"] = "llama3"
    config = {
        "architectures": [MEMBERS[model_type].architecture],
        "model_type": model_type,
        "vocab_size": settings["vocab_size"],
        "max_position_embeddings": settings["context_length"],
        "hidden_size": settings["embedding_dim"],
        "num_attention_heads": settings["num_heads"],
        "num_hidden_layers": settings["num_layers"],
        "num_key_value_heads": settings["num_kv_heads"] or settings["num_heads"],
        "head_dim": settings["head_dim"] or settings["embedding_dim"] // settings["num_heads"],
        "intermediate_size": settings["feed_forward_dim"] or gated_hidden_dim(settings["embedding_dim"]),
        "attention_dropout": settings["dropout"],
        "rms_norm_eps": settings["norm_eps"],
        "rope_parameters": rope,
        "rope_theta": settings["rope_base"],  # this and the next are for older readers
        "rope_scaling": None if scaling is None else rope,
        "hidden_act": ACTIVATIONS[settings["activation"]],
        "initializer_range": 0.02,
        "tie_word_embeddings": settings["tie_weights"],
        "attention_bias": settings["output_bias"],
        "sliding_window": settings["window"],
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "pad_token_id": None,
    }
    if settings["num_experts"] is not None:
        config["num_local_experts"] = settings["num_experts"]
        config["num_experts_per_tok"] = settings["experts_per_token"]
        config["router_aux_loss_coef"] = settings["balance"]
    return config


FORM = HuggingFaceForm(tuple(MEMBERS), read_llama, write_llama)
