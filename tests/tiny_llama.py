"""Small Llamas of every kind, for the tests."""

import dataclasses
from typing import Any

import numpy as np
from tiny_gpt import TINY as TINY_GPT

from tinygrad_llm import Generator, manual_seed, nn
from tinygrad_llm.models import GPT, Llama, LlamaConfig

SCALING = {"factor": 2.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_context_length": 8}
LINEAR = {"type": "linear", "factor": 2.0}
YARN = {"type": "yarn", "factor": 2.0, "original_context_length": 8}
SCORES = {"attention_softcap": 1.5, "logit_softcap": 2.0, "query_pre_attention_scalar": 3.0}
TINY = LlamaConfig(
    vocab_size=13,
    context_length=12,
    embedding_dim=8,
    num_heads=2,
    num_layers=2,
    feed_forward_dim=6,
    dropout=0.4,
    rope_base=20.0,
)
GEMMA = {"norm_around_one": True, "scale_embeddings": True, "activation": "gelu_tanh", "tie_weights": True}
VARIANTS = {
    "llama": {},
    "grouped": {"num_kv_heads": 1, "rope_scaling": SCALING, "tie_weights": True},
    "biases": {"qkv_bias": True, "activation": "gelu"},
    "mistral": {"window": 3, "num_kv_heads": 1},
    "mixtral": {"num_experts": 3, "experts_per_token": 2},
    "switch": {"num_experts": 3, "experts_per_token": 1},
    "qwen3": {"qk_norm": True, "head_dim": 6, "num_kv_heads": 1},
    "gemma": GEMMA | {"num_kv_heads": 1},
    "ministral": {"window": 3, "full_attention_layers": (0,), "rope_scaling": LINEAR},
    "qwen3_moe": {"qk_norm": True, "num_experts": 3, "expert_dim": 5, "dense_layers": (0,), "normalize_gates": False},
    "gemma2": GEMMA | SCORES | {"norm_place": "both", "window": 3, "full_attention_layers": (1,)},
    "gemma3": GEMMA
    | {"norm_place": "both", "window": 3, "full_attention_layers": (1,), "window_rope_base": 5.0, "qk_norm": True}
    | {"logit_softcap": 2.0, "rope_scaling": LINEAR},
    "olmo2": {"norm_place": "after", "joint_qk_norm": True, "num_kv_heads": 1, "rope_scaling": YARN},
    "qwen3_next": {"delta_net_pattern": "1:1", "attention_gate": True, "qk_norm": True},
    "olmo3": {"norm_place": "after", "joint_qk_norm": True, "window": 3, "full_attention_layers": (1,)},
}


def tiny_llama(name: str = "llama", seed: int = 0, dtype: Any = np.float64, **changes: Any) -> Any:
    """A small model, with weights so large that its logits differ clearly."""
    manual_seed(seed)
    if name.startswith("gpt"):
        model = GPT(dataclasses.replace(TINY_GPT, **changes))
    else:
        model = Llama(dataclasses.replace(TINY, **VARIANTS.get(name, {}) | changes))
    p = model.config.dropout
    for block in model.blocks:
        if name == "latent":
            block.attention = nn.MultiHeadLatentAttention(8, 2, 3, p, rotary=nn.RotaryPositions(2, 20.0))
        elif name == "gpt latent":
            block.attention = nn.MultiHeadLatentAttention(8, 2, 3, p)
        elif name == "gpt with experts":
            block.feed_forward = nn.MixtureOfExperts(8, 3, 2, lambda: nn.FeedForward(8, 5))
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.data += Generator(parameter.size).normal(0.0, 0.5, parameter.shape)
    return model.to(dtype)
