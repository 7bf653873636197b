"""The members of the Llama family: what each fixes among the settings of a LlamaConfig, and its names and defaults in a
config.json.

A model is saved as the first member that its settings fit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NONE, QKV, ALL = (False, False), (True, False), (True, True)
PLAIN = {  # what a Llama has; a member fixes those of these settings that it does not leave free
    "qk_norm": False,
    "joint_qk_norm": False,
    "norm_around_one": False,
    "norm_place": "before",
    "scale_embeddings": False,
    "query_pre_attention_scalar": None,
    "attention_softcap": None,
    "logit_softcap": None,
    "window": None,
    "full_attention_layers": (),
    "window_rope_base": None,
    "num_experts": None,
    "normalize_gates": None,
    "expert_dim": None,
    "dense_layers": (),
    "delta_net_pattern": None,
    "attention_gate": False,
}
WINDOWS, EXPERTS = ("window", "full_attention_layers"), ("num_experts", "normalize_gates", "expert_dim", "dense_layers")
GEMMA = {"norm_around_one": True, "scale_embeddings": True}
GEMMA2_FREE = (*WINDOWS, "query_pre_attention_scalar", "attention_softcap", "logit_softcap")


@dataclass(frozen=True)
class Member:
    """One model of the family.

    `fixed` are settings and the values that it requires; `biases` the pairs of (qkv_bias, output_bias) that it allows.

    `layer_types` tells which layers have a window where layer_types does not say it: "none", "all" (every layer, and
    layer_types has no say), "given" (all), or every layer but each Nth for a number N. `switched`: there is none unless
    use_sliding_window is true. `rope_by_layer_type`: rope_parameters has one object for layers with a window and one
    for the others. `defaults` are those of transformers for settings that a config.json may leave out.
    """

    architecture: str
    fixed: Mapping[str, Any]
    biases: tuple[tuple[bool, bool], ...] = (NONE, ALL)
    layer_types: str | int = "none"
    switched: bool = False
    rope_by_layer_type: bool = False
    norm_names: tuple[tuple[str, str], ...] = (("norm1", "input_layernorm"), ("norm2", "post_attention_layernorm"))
    experts_name: str = "mlp"
    expert_parts: tuple[str, str, str] = ("gate_proj", "up_proj", "down_proj")
    defaults: Mapping[str, Any] = field(default_factory=dict)


def fixing(*free: str, **changes: Any) -> dict[str, Any]:
    """The settings of PLAIN without those in `free`, and with `changes`."""
    return {name: value for name, value in (PLAIN | changes).items() if name not in free}


NORMS_AFTER = (("norm1_after", "post_attention_layernorm"), ("norm2_after", "post_feedforward_layernorm"))
NORMS_AROUND = (("norm1", "input_layernorm"), ("norm2", "pre_feedforward_layernorm"), *NORMS_AFTER)
GEMMA2 = {"rms_norm_eps": 1e-6, "tie_word_embeddings": True, "sliding_window": 4096, "query_pre_attn_scalar": 256}
GEMMA3 = GEMMA2 | {  # files of Gemma 3 leave out sizes
    "vocab_size": 262_208,
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "rope_theta": 1e6,
    "rope_local_base_freq": 1e4,
}
OLMO = {"rms_norm_eps": 1e-5, "num_key_value_heads": None}
QWEN = {"sliding_window": 4096}
MEMBERS = {
    "llama": Member("LlamaForCausalLM", fixing(), defaults={"num_key_value_heads": None}),
    "qwen2": Member("Qwen2ForCausalLM", fixing(*WINDOWS), (QKV,), "given", switched=True, defaults=QWEN),
    "qwen3": Member(
        "Qwen3ForCausalLM", fixing(*WINDOWS, qk_norm=True), layer_types="given", switched=True, defaults=QWEN
    ),
    "gemma": Member(
        "GemmaForCausalLM", fixing(**GEMMA, activation="gelu_tanh"), defaults={"tie_word_embeddings": True}
    ),
    "mistral": Member(
        "MistralForCausalLM", fixing("window"), (NONE,), layer_types="all", defaults={"sliding_window": 4096}
    ),
    "ministral": Member(
        "MinistralForCausalLM", fixing(*WINDOWS), (NONE,), layer_types="given", defaults={"sliding_window": 4096}
    ),
    "mixtral": Member(
        "MixtralForCausalLM",
        fixing("window", "num_experts", "normalize_gates"),
        (NONE,),
        layer_types="all",
        experts_name="block_sparse_moe",
        expert_parts=("w1", "w3", "w2"),
        defaults={"rms_norm_eps": 1e-5, "rope_theta": 1e6, "num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "qwen3_moe": Member(
        "Qwen3MoeForCausalLM",
        fixing("window", *EXPERTS, qk_norm=True),
        layer_types="all",
        switched=True,
        defaults=QWEN | {"num_local_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
    ),
    "gemma2": Member(
        "Gemma2ForCausalLM",
        fixing(*GEMMA2_FREE, **GEMMA, norm_place="both"),
        layer_types=2,
        norm_names=NORMS_AROUND,
        defaults=GEMMA2 | {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0},
    ),
    "gemma3_text": Member(  # transformers ignores attn_logit_softcapping
        "Gemma3ForCausalLM",
        fixing(
            *(*WINDOWS, "query_pre_attention_scalar", "logit_softcap", "window_rope_base"),
            **(GEMMA | {"norm_place": "both", "qk_norm": True}),
        ),
        layer_types=6,
        rope_by_layer_type=True,
        norm_names=NORMS_AROUND,
        defaults=GEMMA3,
    ),
    "olmo2": Member(
        "Olmo2ForCausalLM", fixing(joint_qk_norm=True, norm_place="after"), norm_names=NORMS_AFTER, defaults=OLMO
    ),
    "olmo3": Member(
        "Olmo3ForCausalLM",
        fixing(*WINDOWS, "window_rope_base", joint_qk_norm=True, norm_place="after"),
        layer_types=4,
        rope_by_layer_type=True,
        norm_names=NORMS_AFTER,
        defaults=OLMO | {"rope_theta": 5e5, "sliding_window": 4096},
    ),
}
