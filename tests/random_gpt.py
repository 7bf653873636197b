"""A small GPT in which every option differs from its default, with random weights."""

import dataclasses
from typing import Any

from random_weights import with_random_weights

from tinygrad_llm import manual_seed
from tinygrad_llm.models import GPT, GPTConfig

CONFIG = GPTConfig(
    vocab_size=262,
    context_length=7,
    embedding_dim=6,
    num_heads=3,
    num_layers=2,
    dropout=0.25,
    qkv_bias=True,
    tie_weights=True,
    feed_forward_dim=5,
    norm_eps=1e-3,
    gelu="none",
)


def random_gpt(**changes: Any) -> GPT:
    """The GPT of `CONFIG` with `changes`, in evaluation mode."""
    manual_seed(0)
    return with_random_weights(GPT(dataclasses.replace(CONFIG, **changes)).eval(), 0.1)
