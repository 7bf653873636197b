"""A small GPT in which every option differs from its default, with random weights."""

import dataclasses
from typing import Any

from tinygrad_llm import Generator, manual_seed
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
    """The GPT of `CONFIG` with `changes`, in evaluation mode; no two weights are equal, biases included."""
    manual_seed(0)
    model = GPT(dataclasses.replace(CONFIG, **changes)).eval()
    for _, parameter in model.named_parameters():
        parameter.data += Generator(parameter.size).normal(0.0, 0.1, parameter.shape)
    return model


def same(first: Any, second: Any) -> bool:
    """Whether the weights of two models are equal in name, dtype and every bit."""
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(
        one[name].dtype == two[name].dtype and one[name].tobytes() == two[name].tobytes() for name in one
    )
