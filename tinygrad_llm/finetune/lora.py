"""LoRA: fine-tuning a model by a low-rank change beside each of its frozen matrices.

    y = x Wᵀ + b + α · x A B,   A (in, rank), B (rank, out)

B starts at 0, so at first nothing changes; W never does (Hu et al. 2021, arXiv:2106.09685). Scale and start are the
book's. The scale is α itself, not α / rank. A starts uniform in ±1/√rank: PyTorch's rule (He et al. 2015, with a slope
of √5) takes the last axis for the fan-in, and of A stored (in, rank) that is the rank.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable
from typing import TypeVar

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.errors import ConfigError, FormatError, StateDictError
from tinygrad_llm.formats import read_header, read_safetensors, write_safetensors
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn import Linear, Module, Parameter, init
from tinygrad_llm.ops import linear
from tinygrad_llm.tensor import Tensor

M = TypeVar("M", bound=Module)


class LoRALinear(Module):
    """A frozen linear layer and its low-rank change (the formula stands above).

    Shapes: x (..., in) -> (..., out); lora_A (in, rank), lora_B (rank, out)
    """

    def __init__(self, base: Linear, rank: int, alpha: float) -> None:
        expect_sizes("LoRALinear", rank=rank)
        if not isinstance(alpha, int | float) or not math.isfinite(alpha):
            raise ConfigError(f"LoRALinear: alpha must be a finite number; got {alpha!r}")
        self.linear, self.rank, self.alpha = base, rank, float(alpha)
        base.requires_grad_(False)
        dtype = base.weight.dtype
        self.lora_A = Parameter(init.uniform(init.fan_in_bound(rank), (base.in_features, rank)), dtype=dtype)
        self.lora_B = Parameter(np.zeros((rank, base.out_features), dtype))

    def forward(self, x: TensorLike) -> Tensor:
        narrow = linear(x, self.lora_A.T) * self.alpha  # scaled where it is small
        return self.linear(x) + linear(narrow, self.lora_B.T)

    @property
    def weight(self) -> Tensor:
        """W + α (A B)ᵀ, as a part of the graph: what a loss that multiplies by a head's weight itself must see."""
        return self.linear.weight + (self.lora_A @ self.lora_B).T * self.alpha

    def extra_repr(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha:g}"


class MergedLinear(Linear):
    """A linear layer with its low-rank change added into a weight of its own; keeps the two parts for unmerging."""

    def __init__(self, unmerged: LoRALinear) -> None:
        base = unmerged.linear
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight = Parameter(unmerged.weight.data, requires_grad=False)
        self.bias = base.bias
        self._unmerged = (unmerged,)  # in a tuple, where the tree of modules does not see it


def apply_lora(model: Module, rank: int, alpha: float, targets: Collection[str] | None = None) -> list[str]:
    """Freeze `model` and put a `LoRALinear` around its linear layers; returns the names of those layers.

    `targets` names layers by the last parts of their dotted names: "query" stands for the query of every block,
    "3.attention.query" for one; None for every linear layer, the head included. The A matrices are drawn from the
    default generator, in the order of the layers. What shall be trained besides (a new head, say) can be unfrozen
    afterwards, if it is no target.

    Raises: ConfigError for a target that no layer bears, a rank below 1, or a model that has adapters already
    """
    expect_sizes("apply_lora", rank=rank)
    _expect_no_adapter("apply_lora", model)
    layers = [name for name, _ in _layers(model, Linear)]
    if targets is not None:
        unknown = [target for target in targets if not any(_bears(name, target) for name in layers)]
        if unknown or not targets:
            raise ConfigError(
                f"apply_lora: each target must end the name of a linear layer, such as {', '.join(layers[:7])}; "
                f"got {', '.join(map(repr, unknown)) or 'none'}"
            )
        layers = [name for name in layers if any(_bears(name, target) for target in targets)]
    _wrap(model, layers, rank, alpha)
    return layers


def _wrap(model: Module, layers: Iterable[str], rank: int, alpha: float) -> None:
    wrapped = []
    for name in layers:
        parent, attribute = _parent(model, name)
        wrapped.append((parent, attribute, LoRALinear(getattr(parent, attribute), rank, alpha)))
    model.requires_grad_(False)  # only now: bad settings have been refused by LoRALinear
    for parent, attribute, layer in wrapped:
        setattr(parent, attribute, layer)


def merge_lora(model: Module) -> None:
    """Add every low-rank change into its layer's weight: the model then has the names and speed of one without LoRA.

    The merged weights are new arrays, so that `unmerge_lora` gives back the very bits of the old ones, and a weight
    that the layer shared (a tied head's) stays what it was for the others: such a model is no longer tied.
    """
    for name, layer in _layers(model, LoRALinear):
        parent, attribute = _parent(model, name)
        setattr(parent, attribute, MergedLinear(layer))


def unmerge_lora(model: Module) -> None:
    """Take back `merge_lora`: base and low-rank change stand side by side again, bit for bit as before."""
    for name, layer in _layers(model, MergedLinear):
        parent, attribute = _parent(model, name)
        setattr(parent, attribute, layer._unmerged[0])


def merged_state_dict(model: Module) -> dict[str, Array]:
    """The weights of the model that `merge_lora` would make, under the names of one without LoRA."""
    merge_lora(model)
    try:
        return dict(model.state_dict())
    finally:
        unmerge_lora(model)


def lora_state_dict(model: Module) -> dict[str, Array]:
    """The adapter alone: every A and B, and whatever else of the model requires a gradient."""
    ours = {id(p) for _, layer in _layers(model, LoRALinear) for p in (layer.lora_A, layer.lora_B)}
    return {name: p.data for name, p in model.named_parameters() if id(p) in ours or p.requires_grad}


def save_lora(model: Module, path: str | os.PathLike[str]) -> None:
    """Write the adapter alone as a safetensors file, alpha in its metadata.

    Raises: ConfigError for a model without unmerged LoRA layers, or whose layers differ in alpha
    """
    alphas = {layer.alpha for _, layer in _layers(model, LoRALinear)}
    if len(alphas) != 1:
        raise ConfigError(f"save_lora: needs LoRA layers of one alpha (unmerge first); got alphas {sorted(alphas)}")
    write_safetensors(path, lora_state_dict(model), {"format": "lora", "alpha": repr(alphas.pop())})


def load_lora(model: Module, path: str | os.PathLike[str]) -> None:
    """Put an adapter that `save_lora` wrote on a fresh base model.

    Raises: FormatError for a file that is no adapter; StateDictError, before the model is touched, for one of another
            model; ConfigError for a model that has LoRA layers already
    """
    metadata = read_header(path).metadata
    arrays = read_safetensors(path)
    ranks = {name.removesuffix(".lora_A"): a.shape[-1] for name, a in arrays.items() if name.endswith(".lora_A")}
    try:
        alpha = float(metadata["alpha"])
    except (KeyError, ValueError):
        alpha = math.nan
    if metadata.get("format") != "lora" or not math.isfinite(alpha) or len(set(ranks.values())) != 1:
        raise FormatError(f"{os.fspath(path)}: must be an adapter that save_lora wrote; metadata {metadata}")
    _expect_no_adapter("load_lora", model)
    rank = next(iter(ranks.values()))
    shapes = _shapes_with_adapter(model, ranks.keys(), rank)
    wrong = [name for name, array in arrays.items() if shapes.get(name) != array.shape]
    wrong += [f"{layer}.lora_B" for layer in ranks if f"{layer}.lora_B" not in arrays]
    if wrong:
        raise StateDictError(
            f"{os.fspath(path)}: must fit the layers of this {type(model).__name__}; missing or of another shape: "
            f"{', '.join(wrong)}; give the base model that the adapter was trained on"
        )
    with init.no_initial_values():
        _wrap(model, ranks, rank, alpha)
    model.load_state_dict(arrays, strict=False)


def _shapes_with_adapter(model: Module, layers: Collection[str], rank: int) -> dict[str, tuple[int, ...]]:
    """The shape of every parameter that `model` would have with an adapter on these layers."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, parameter in model.named_parameters():
        layer, _, part = name.rpartition(".")
        shapes[f"{layer}.linear.{part}" if layer in layers else name] = parameter.shape
    for name, module in _layers(model, Linear):
        if name in layers:
            shapes[f"{name}.lora_A"] = (module.in_features, rank)
            shapes[f"{name}.lora_B"] = (rank, module.out_features)
    return shapes


def _expect_no_adapter(name: str, model: Module) -> None:
    if any(isinstance(module, LoRALinear | MergedLinear) for module in model.modules()):
        raise ConfigError(f"{name}: the model has LoRA layers already; give it a fresh base model")


def _bears(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")


def _layers(model: Module, kind: type[M]) -> list[tuple[str, M]]:
    """The layers of `kind` with their names, listed before any of them is replaced."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, kind)]


def _parent(model: Module, name: str) -> tuple[Module, str]:
    """The module that holds the one of this dotted name, and the attribute that it is."""
    *path, attribute = name.split(".")
    parent = model
    for part in path:
        parent = getattr(parent, part)
    return parent, attribute
