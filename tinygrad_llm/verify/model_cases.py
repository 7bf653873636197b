"""Every layer and every model with inputs, small enough that all gradients can be measured."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm import nn
from tinygrad_llm.architectures import ARCHITECTURES, Architecture
from tinygrad_llm.arrays import Array
from tinygrad_llm.models import ClassifierConfig, GPTConfig, RewardModelConfig
from tinygrad_llm.nn import Module
from tinygrad_llm.ops import cross_entropy
from tinygrad_llm.random import default_generator, manual_seed
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.verify.op_cases import ids, normal


class ModuleCase(NamedTuple):
    """`call(module, *inputs)` for the module that `make()` returns; float inputs require a gradient too."""

    make: Callable[[], Module]
    inputs: tuple[Array, ...] = ()
    call: Callable[..., Any] = lambda module, *inputs: module(*inputs)


X = normal(2, 3, 8)
MEMORY = normal(2, 5, 8)
CONTAINERS = {"Module", "ModuleList", "Parameter", "Buffer"}  # without arithmetic
CACHES = {"KVCache", "LayerCache", "DecoderCache", "MemoryCache", "WindowCache"}  # no gradient flows through them


def _block(causal: bool = False, **options: Any) -> nn.TransformerBlock:
    attention = nn.MultiHeadAttention(8, 2, causal=causal)
    return nn.TransformerBlock(attention, nn.FeedForward(8), lambda: nn.LayerNorm(8), **options)


LAYERS: dict[str, list[ModuleCase]] = {
    "Linear": [ModuleCase(lambda: nn.Linear(8, 5), (X,)), ModuleCase(lambda: nn.Linear(8, 5, bias=False), (X,))],
    "Embedding": [ModuleCase(lambda: nn.Embedding(6, 4), (), lambda layer: layer(ids(6, 3, 5)))],
    "LayerNorm": [ModuleCase(lambda: nn.LayerNorm(8), (X,)), ModuleCase(lambda: nn.LayerNorm(8, bias=False), (X,))],
    "RMSNorm": [ModuleCase(lambda: nn.RMSNorm(8), (X,)), ModuleCase(lambda: nn.RMSNorm(8, around_one=True), (X,))],
    "HeadsRMSNorm": [ModuleCase(lambda: nn.HeadsRMSNorm(8), (normal(2, 2, 3, 4),))],
    "SoftcappedHead": [ModuleCase(lambda: nn.SoftcappedHead(nn.Linear(8, 5), 0.7), (X,))],
    "GELU": [ModuleCase(nn.GELU, (X,)), ModuleCase(lambda: nn.GELU("tanh"), (X,))],
    "SiLU": [ModuleCase(nn.SiLU, (X,))],
    "ReLU": [ModuleCase(nn.ReLU, (X,))],
    "Dropout": [ModuleCase(lambda: nn.Dropout(0.3), (X,), lambda layer, x: _seeded(layer)(x))],
    "Sequential": [ModuleCase(lambda: nn.Sequential(nn.Linear(8, 6), nn.GELU(), nn.Linear(6, 3)), (X,))],
    "FeedForward": [
        ModuleCase(lambda: nn.FeedForward(8, 12), (X,)),
        ModuleCase(lambda: nn.FeedForward(8, 12, nn.SiLU(), gated=True), (X,)),
    ],
    "MixtureOfExperts": [
        ModuleCase(lambda: nn.MixtureOfExperts(8, 4, 1, lambda: nn.FeedForward(8, 6)), (X,)),
        ModuleCase(lambda: nn.MixtureOfExperts(8, 4, 2, lambda: nn.FeedForward(8, 6)), (X,)),
        ModuleCase(lambda: nn.MixtureOfExperts(8, 4, 2, lambda: nn.FeedForward(8, 6), normalize_gates=False), (X,)),
    ],
    "MultiHeadAttention": [
        ModuleCase(lambda: nn.MultiHeadAttention(8, 2, causal=True, qkv_bias=True), (X,)),
        ModuleCase(lambda: nn.MultiHeadAttention(8, 4, causal=True, num_kv_heads=2), (X,)),
        ModuleCase(lambda: nn.MultiHeadAttention(8, 2, causal=True, window=2), (X,)),
        ModuleCase(lambda: nn.MultiHeadAttention(8, 2, rotary=nn.RotaryPositions(4), causal=True), (X,)),
        ModuleCase(lambda: nn.MultiHeadAttention(8, 2, causal=True, scale=0.7, softcap=0.5), (X,)),
        ModuleCase(lambda: nn.MultiHeadAttention(8, 2), (X, MEMORY)),
    ],
    "GatedAttention": [ModuleCase(lambda: nn.GatedAttention(8, 2, causal=True), (X,))],
    "GatedDeltaNet": [ModuleCase(lambda: nn.GatedDeltaNet(8, 2, value_dim=3, chunk=2), (X,))],
    "MultiHeadLatentAttention": [
        ModuleCase(lambda: nn.MultiHeadLatentAttention(8, 2, 6, rotary=nn.RotaryPositions(2)), (X,))
    ],
    "RotaryPositions": [
        ModuleCase(lambda: nn.RotaryPositions(4), (normal(2, 2, 3, 4),), lambda turn, x: turn(np.arange(3), x))
    ],
    "SinusoidalPositions": [
        ModuleCase(lambda: nn.SinusoidalPositions(9, 8), (X,), lambda add, x: add(x, np.arange(3)))
    ],
    "TransformerBlock": [
        ModuleCase(lambda: _block(causal=True), (X,)),
        ModuleCase(lambda: _block(causal=True, norm_after=lambda: nn.RMSNorm(8)), (X,)),
        ModuleCase(lambda: _block(norm_first=False, cross_attention=nn.MultiHeadAttention(8, 2)), (X, MEMORY)),
    ],
}


def _seeded(layer: Any) -> Any:
    """The layer with the same dropout masks at every call: random outputs have no slope."""
    layer.generator = default_generator().spawn("gradcheck") if layer.generator is None else layer.generator
    layer.generator.manual_seed(3)
    return layer


SMALL: dict[str, Any] = {  # settings of any model's config
    "vocab_size": 11,
    "context_length": 7,
    "embedding_dim": 8,
    "num_heads": 2,
    "num_layers": 2,
    "dropout": 0.0,
    "feed_forward_dim": 12,
    "num_kv_heads": 1,
}


def small_config(config: Any, **changes: Any) -> Any:
    """A config of the class `config` with small sizes and `changes`."""
    if config is ClassifierConfig:
        return config(small_config(GPTConfig), ("ham", "spam"), **changes)
    if config is RewardModelConfig:
        return config(small_config(GPTConfig), **changes)
    known = {field.name for field in dataclasses.fields(config)}
    return config(**{name: value for name, value in (SMALL | changes).items() if name in known})


def _language_model(model: Any) -> Tensor:
    return model.loss(ids(11, 2, 6), ids(11, 2, 6, 1)[..., 0])


def _translator(model: Any) -> Tensor:
    return model.loss(ids(11, 2, 5), np.array([5, 3]), ids(11, 2, 4), ids(11, 2, 4, 1)[..., 0])


def _classifier(model: Any) -> Tensor:
    return cross_entropy(model(ids(11, 2, 5), np.array([5, 3])), np.array([1, 0]))


def _reward_model(model: Any) -> Tensor:
    """The loss of preferring the first of two texts, -ln σ(r₀ - r₁)."""
    return cross_entropy(model(ids(11, 2, 5), np.array([5, 3])).reshape(1, 2), np.array([0]))


MODEL_LOSSES: dict[str, Callable[[Any], Tensor]] = {  # of models that do not predict the next token
    "encoder-decoder": _translator,
    "classifier": _classifier,
    "reward-model": _reward_model,
}


def model_cases() -> dict[str, ModuleCase]:
    """A whole model of every registered kind, and its loss."""
    return {
        name: ModuleCase(_maker(architecture), (), MODEL_LOSSES.get(name, _language_model))
        for name, architecture in ARCHITECTURES.items()
    }


def _maker(architecture: Architecture) -> Callable[[], Module]:
    return lambda: architecture.begin(small_config(architecture.config))


def made(case: ModuleCase) -> Module:
    """The module of a case, with weights of which none is 0 or 1."""
    manual_seed(5)
    module = case.make()
    give_weights(module)
    return module


def give_weights(module: Module) -> None:
    """Add fixed small numbers to every weight, so that no bias is 0 and no scale is 1."""
    for number, (_, parameter) in enumerate(module.named_parameters()):
        scale = 0.3 if parameter.ndim > 1 else 0.2
        parameter.data[...] += (scale * normal(number + 1, *parameter.shape)[number]).astype(parameter.dtype)
