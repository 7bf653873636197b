"""The settings and the names of a GGUF file as a Hugging Face folder of the same model would have them.

    llama.embedding_length and others    config.json: see KEYS
    token_embd.weight                    model.embed_tokens.weight
    blk.0.attn_norm, attn_q, ...         model.layers.0.input_layernorm, self_attn.q_proj, ...: see PARTS
    output_norm.weight                   model.norm.weight
    output.weight                        lm_head.weight; left out if tied
    rope_freqs.weight                    config.json: rope_scaling of Llama 3

Two kinds of weights are not as they are in the folder. llama.cpp rotates neighbouring features of a head where
transformers rotates the first half with the second, so the rows of a Llama's queries and keys are reordered; and
it keeps 1 + weight for the norms of a Gemma.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.errors import ConfigError, FormatError
from tinygrad_llm.formats import GGUF
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.llama_members import Member
from tinygrad_llm.layers.rotary import rotary_frequencies

ARCHITECTURE = "general.architecture"
TABLE, FREQUENCIES = "token_embd.weight", "rope_freqs.weight"
LAYER_NAME = re.compile(r"blk\.(0|[1-9][0-9]{0,5})\.([a-z_]+)\.(weight|bias)")

KEYS = {  # after the name of the architecture and a dot
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
}
REQUIRED = ("context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count")
WINDOW = {"attention.sliding_window": "sliding_window"}
EXPERTS = {"expert_count": "num_local_experts", "expert_used_count": "num_experts_per_tok"}
SOFTCAPS = {name: name for name in ("attn_logit_softcapping", "final_logit_softcapping")}
READ_ELSEWHERE = {  # by `_head_dim`, `_rope_scaling`, or from the tensors
    *("attention.value_length", "rope.dimension_count", "vocab_size"),
    *("rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length"),
}
WITHOUT_EFFECT = {"rope.scaling.finetuned", "tensor_data_layout"}
NEUTRAL: dict[str, Any] = {  # keys that may have this value only
    "attention.causal": True,
    "use_parallel_residual": False,
    "rope.scaling.attn_factor": 1.0,
}
PARTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
WHOLE = {
    TABLE: "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
EXPERT_PARTS = {"ffn_gate_exps": 0, "ffn_up_exps": 1, "ffn_down_exps": 2}  # of all experts; the order of a Member
REORDERED = {"attn_q": "attention.head_count", "attn_k": "attention.head_count_kv"}


@dataclass(frozen=True)
class Architecture:
    """One value of general.architecture: the model_type in config.json, its own keys, and how its weights differ."""

    model_type: str
    keys: Mapping[str, str] = field(default_factory=dict)
    reordered: bool = False  # rows of queries and keys
    norms_plus_one: bool = False
    parts: Mapping[str, str] = field(default_factory=dict)  # names other than in PARTS
    config: Mapping[str, Any] = field(default_factory=dict)  # settings that the file does not say


NORMS_AROUND = {
    "ffn_norm": "pre_feedforward_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}
ARCHITECTURES = {
    "llama": Architecture("llama", WINDOW | EXPERTS, reordered=True),  # also Mistral and Mixtral
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "qwen3moe": Architecture(
        "qwen3_moe",
        EXPERTS | {"expert_feed_forward_length": "moe_intermediate_size"},
        config={"norm_topk_prob": True},
    ),
    "gemma": Architecture("gemma", norms_plus_one=True),
    "gemma2": Architecture("gemma2", WINDOW | SOFTCAPS, norms_plus_one=True, parts=NORMS_AROUND),
    "gemma3": Architecture(
        "gemma3_text",
        WINDOW | {"final_logit_softcapping": "final_logit_softcapping"},
        norms_plus_one=True,
        parts=NORMS_AROUND,
        config={"rope_local_base_freq": 10000.0},
    ),
}
LARGEST_GEMMAS = {("gemma2", 46), ("gemma3_text", 62)}  # of 27B parameters, by model_type and layers


def architecture_of_file(file: GGUF) -> Architecture:
    """Raises: FormatError for an architecture that is not supported"""
    name = file.metadata.get(ARCHITECTURE)
    if not isinstance(name, str) or name not in ARCHITECTURES:
        raise FormatError(
            f"{file.path}: {ARCHITECTURE} must be one of {', '.join(ARCHITECTURES)}: others are not supported; got "
            f"{shown(name)}"
        )
    return ARCHITECTURES[name]


def huggingface_config(file: GGUF) -> dict[str, Any]:
    """The content of the config.json. Raises: FormatError, naming the key"""
    architecture = architecture_of_file(file)
    keys = {**KEYS, **architecture.keys}
    known = {*keys, *READ_ELSEWHERE, *WITHOUT_EFFECT, *NEUTRAL}
    prefix = file.metadata[ARCHITECTURE] + "."
    values = {
        key.removeprefix(prefix): _rounded(value) for key, value in file.metadata.items() if key.startswith(prefix)
    }
    for name, value in values.items():
        if name not in known:
            raise _error(file, name, f"is a setting that is not known; it is {shown(value)}")
        if isinstance(value, list | np.ndarray):
            raise _error(file, name, f"must be one value for all layers: others are not supported; got {shown(value)}")
        if name in NEUTRAL and value != NEUTRAL[name]:
            raise _error(file, name, f"must be {NEUTRAL[name]}: others are not supported; got {shown(value)}")
    for name in REQUIRED:
        if type(values.get(name)) is not int or values[name] < 1:
            raise _error(file, name, f"must be an integer of at least 1; got {shown(values.get(name))}")
    table = file.tensors.get(TABLE)
    if table is None:
        raise FormatError(f"{file.path}: the tensors must include {TABLE}; there is none")
    config = {keys[name]: value for name, value in values.items() if name in keys}
    config |= {
        **architecture.config,
        "model_type": _model_type(architecture, values),
        "vocab_size": table.shape[0],
        "tie_word_embeddings": "output.weight" not in file.tensors,
        "attention_bias": architecture.model_type != "qwen2" and "blk.0.attn_q.bias" in file.tensors,
    }
    config.setdefault("rope_theta", 10000.0)
    width_of_heads = config["hidden_size"] // config["num_attention_heads"]
    head_dim = config.get("head_dim", width_of_heads)
    for name in ("attention.value_length", "rope.dimension_count"):
        if values.get(name, head_dim) != head_dim:
            raise _error(file, name, f"must be the size of a head, {head_dim}; got {shown(values[name])}")
    if architecture.parts is NORMS_AROUND:  # the file does not say it
        is_largest = (architecture.model_type, config["num_hidden_layers"]) in LARGEST_GEMMAS
        config["query_pre_attn_scalar"] = width_of_heads if is_largest else head_dim
    scaling = _rope_scaling(file, values, config)
    return config if scaling is None else config | {"rope_scaling": scaling}


def huggingface_tensors(file: GGUF, member: Member) -> dict[str, NDArray[Any]]:
    """All weights under their names in a Hugging Face folder of this member, as float32. Raises: FormatError"""
    architecture = architecture_of_file(file)
    parts = {**PARTS, **architecture.parts, "ffn_gate_inp": f"{member.experts_name}.gate"}
    tensors: dict[str, NDArray[Any]] = {}
    for name in file.tensors:
        if name == FREQUENCIES:  # in the config
            continue
        array, layer = file.array(name), LAYER_NAME.fullmatch(name)
        number, part, kind = layer.groups() if layer is not None else ("", "", "")
        if architecture.norms_plus_one and name.endswith("norm.weight"):
            array = array - np.float32(1)
        if architecture.reordered and part in REORDERED:
            array = _reordered(file, array, REORDERED[part], name)
        if name in WHOLE:
            tensors[WHOLE[name]] = array
        elif part in parts:
            tensors[f"model.layers.{number}.{parts[part]}.{kind}"] = array
        elif part in EXPERT_PARTS and kind == "weight":
            theirs = f"model.layers.{number}.{member.experts_name}.experts"
            one = member.expert_parts[EXPERT_PARTS[part]]
            tensors |= {f"{theirs}.{expert}.{one}.weight": weight for expert, weight in enumerate(array)}
        else:
            raise FormatError(f"{file.path}: the tensor {shown(name)} is none of a {file.metadata[ARCHITECTURE]}")
    return tensors


def _reordered(file: GGUF, array: NDArray[Any], heads_key: str, name: str) -> NDArray[Any]:
    """Rows 0, 2, 4, ... of each head, and then rows 1, 3, 5, ..."""
    prefix = file.metadata[ARCHITECTURE] + "."
    heads = file.metadata.get(prefix + heads_key, file.metadata.get(prefix + "attention.head_count"))
    if type(heads) is not int or heads < 1 or len(array) % (2 * heads):
        raise FormatError(
            f"{file.path}: the rows of {shown(name)} must be an even number for each of {shown(heads)} heads; "
            f"got {len(array)}"
        )
    pairs = array.reshape(heads, -1, 2, *array.shape[1:])
    return np.ascontiguousarray(pairs.swapaxes(1, 2)).reshape(array.shape)


def _model_type(architecture: Architecture, values: Mapping[str, Any]) -> str:
    """llama.cpp reads Mistral and Mixtral as Llamas."""
    if architecture.model_type != "llama":
        return architecture.model_type
    return "mixtral" if values.get("expert_count") else "mistral" if "attention.sliding_window" in values else "llama"


def _rope_scaling(file: GGUF, values: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any] | None:
    kind, factor = values.get("rope.scaling.type", "none"), values.get("rope.scaling.factor", 1.0)
    original = values.get("rope.scaling.original_context_length")
    if FREQUENCIES in file.tensors:
        if kind != "none":
            raise _error(file, "rope.scaling.type", f"must be none beside {FREQUENCIES}; got {shown(kind)}")
        return _llama3_scaling(file, config)
    if kind == "none" or factor == 1:
        return None
    if kind == "linear":
        return {"rope_type": "linear", "factor": factor}
    if kind == "yarn":
        return {"rope_type": "yarn", "factor": factor} | (
            {} if original is None else {"original_max_position_embeddings": original}
        )
    raise _error(
        file, "rope.scaling.type", f"must be none, linear or yarn: others are not supported; got {shown(kind)}"
    )


def _llama3_scaling(file: GGUF, config: Mapping[str, Any]) -> dict[str, Any]:
    """The scaling of Llama 3.1 to 3.3, of which a file holds what each frequency is divided by."""
    factors = file.array(FREQUENCIES).reshape(-1).astype(np.float64)
    scaling = {"factor": float(factors.max()), "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    base, head_dim = config["rope_theta"], 2 * factors.size
    try:
        plain = rotary_frequencies(head_dim, base)
        expected = plain / rotary_frequencies(head_dim, base, {**scaling, "original_context_length": 8192})
    except ConfigError as error:
        raise FormatError(f"{file.path}: {FREQUENCIES} must be factors of frequencies; {error}") from None
    if not np.allclose(expected, factors, rtol=1e-4):
        raise FormatError(
            f"{file.path}: {FREQUENCIES} must be those of Llama 3.1, for low_freq_factor 1, high_freq_factor 4, 8,192 "
            f"tokens: others are not supported; got {shown(factors.tolist())}"
        )
    return {"rope_type": "llama3", **scaling, "original_max_position_embeddings": 8192}


def _rounded(value: Any) -> Any:
    """A float32 as the shortest decimal number that rounds to it: 1e-5, not 9.999999747378752e-06."""
    with np.errstate(over="ignore"):
        return float(str(np.float32(value))) if isinstance(value, float) else value


def _error(file: GGUF, name: str, what: str) -> FormatError:
    return FormatError(f"{file.path}: {file.metadata[ARCHITECTURE]}.{name} {what}")
