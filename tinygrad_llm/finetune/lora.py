"""LoRA: fine-tuning a model by a trainable low-rank update of each frozen weight matrix.

    y = x Wᵀ + b + s · x A B,   A (in, rank), B (rank, out),   s = α / rank

W and b are frozen. B starts at 0, so the model's output does not change before the first step (Hu et al. 2021,
arXiv:2106.09685). With s = α / rank, as in the paper, a learning rate suits several ranks. The printed book uses s = α:
`scaling="alpha"`.

A starts uniform in ±1/√rank, as in the book: PyTorch's kaiming_uniform_ (He et al. 2015, with a slope of √5) takes the
last axis of a matrix as the fan-in, and the last axis of A is the rank.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterable
from typing import Literal, TypeVar

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
LoRAScaling = Literal["alpha/rank", "alpha"]
LORA_SCALINGS: tuple[LoRAScaling, ...] = ("alpha/rank", "alpha")
SCALING_OF_OLD_FILES: LoRAScaling = "alpha"  # of adapters and runs that do not record it


class LoRALinear(Module):
    """A frozen linear layer plus its low-rank update: x Wᵀ + b + s · x A B (see above).

    Shapes: x (..., in) -> (..., out); lora_A (in, rank), lora_B (rank, out)
    Raises: ConfigError for a rank below 1, an alpha that is not finite, or an unknown scaling
    """

    def __init__(self, base: Linear, rank: int, alpha: float, scaling: LoRAScaling = "alpha/rank") -> None:
        expect_sizes("LoRALinear", rank=rank)
        if not isinstance(alpha, int | float) or not math.isfinite(alpha):
            raise ConfigError(f"LoRALinear: alpha must be a finite number; got {alpha!r}")
        if scaling not in LORA_SCALINGS:
            raise ConfigError(f"LoRALinear: scaling must be one of {', '.join(LORA_SCALINGS)}; got {scaling!r}")
        self.linear, self.rank, self.alpha, self.scaling = base, rank, float(alpha), scaling
        self.scale = self.alpha / rank if scaling == "alpha/rank" else self.alpha
        base.requires_grad_(False)
        dtype = base.weight.dtype
        self.lora_A = Parameter(init.uniform(init.fan_in_bound(rank), (base.in_features, rank)), dtype=dtype)
        self.lora_B = Parameter(np.zeros((rank, base.out_features), dtype))

    def forward(self, x: TensorLike) -> Tensor:
        projected = linear(x, self.lora_A.T) * self.scale  # the smallest array to scale: (..., rank)
        return self.linear(x) + linear(projected, self.lora_B.T)

    @property
    def weight(self) -> Tensor:
        """W + s (A B)ᵀ, recorded in the graph, for a loss that multiplies by the head's weight itself.

        Shapes: -> (out, in)
        """
        return self.linear.weight + (self.lora_A @ self.lora_B).T * self.scale

    def extra_repr(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha:g}, scaling={self.scaling}"


class MergedLinear(Linear):
    """A linear layer whose weight is W + s (A B)ᵀ, a new array. It keeps the `LoRALinear` for unmerging.

    Shapes: x (..., in) -> (..., out)
    """

    def __init__(self, unmerged: LoRALinear) -> None:
        base = unmerged.linear
        self.in_features, self.out_features = base.in_features, base.out_features
        self.weight = Parameter(unmerged.weight.data, requires_grad=False)
        self.bias = base.bias
        self._unmerged = (unmerged,)  # in a tuple, where the tree of modules does not see it


def apply_lora(
    model: Module,
    rank: int,
    alpha: float,
    targets: Collection[str] | None = None,
    scaling: LoRAScaling = "alpha/rank",
) -> list[str]:
    """Freeze `model` and replace its linear layers by `LoRALinear` layers; returns the names of these layers.

    `targets` names layers by the end of their dotted names: "query" means the query of every block,
    "3.attention.query" only one of them; None means every linear layer, the head included. The update is multiplied by
    alpha / rank, as in the paper, or by alpha, as in the printed book. The A matrices are drawn from the default
    generator, in the order of the layers. Other parameters to train, such as a new head, can be unfrozen afterwards.

    Raises: ConfigError for a target that is the end of no layer's name, a rank below 1, an alpha that is not finite, an
            unknown scaling, or a model that has LoRA layers already
    """
    expect_sizes("apply_lora", rank=rank)
    _expect_no_adapter("apply_lora", model)
    layers = [name for name, _ in _layers(model, Linear)]
    if targets is not None:
        unknown = [target for target in targets if not any(_ends_with(name, target) for name in layers)]
        if unknown or not targets:
            raise ConfigError(
                f"apply_lora: each target must end the name of a linear layer, such as {', '.join(layers[:7])}; "
                f"got {', '.join(map(repr, unknown)) or 'none'}"
            )
        layers = [name for name in layers if any(_ends_with(name, target) for target in targets)]
    _replace_by_lora_layers(model, layers, rank, alpha, scaling)
    return layers


def _replace_by_lora_layers(
    model: Module, layers: Iterable[str], rank: int, alpha: float, scaling: LoRAScaling
) -> None:
    replacements = []
    for name in layers:
        parent, attribute = _parent(model, name)
        replacements.append((parent, attribute, LoRALinear(getattr(parent, attribute), rank, alpha, scaling)))
    model.requires_grad_(False)  # after LoRALinear has checked the settings: a refused call changes nothing
    for parent, attribute, layer in replacements:
        setattr(parent, attribute, layer)


def merge_lora(model: Module) -> None:
    """Add every low-rank update to its layer's weight: the model then has the names and speed of one without LoRA.

    The merged weights are new arrays, so `unmerge_lora` restores the old ones bit for bit. A tied head that is merged
    is no longer tied: the embedding keeps the old array.
    """
    for name, layer in _layers(model, LoRALinear):
        parent, attribute = _parent(model, name)
        setattr(parent, attribute, MergedLinear(layer))


def unmerge_lora(model: Module) -> None:
    """Undo `merge_lora`: restore the frozen weights, bit for bit, and the separate low-rank updates."""
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
    """The adapter alone: every A and B, and all other parameters that require a gradient."""
    updates = {id(p) for _, layer in _layers(model, LoRALinear) for p in (layer.lora_A, layer.lora_B)}
    return {name: p.data for name, p in model.named_parameters() if id(p) in updates or p.requires_grad}


def save_lora(model: Module, path: str | os.PathLike[str]) -> None:
    """Write the adapter alone as a safetensors file, with alpha and scaling in its metadata.

    Raises: ConfigError for a model without unmerged LoRA layers, or whose layers differ in alpha or scaling;
            CheckpointError if the file cannot be written
    """
    settings = {(layer.alpha, layer.scaling) for _, layer in _layers(model, LoRALinear)}
    if len(settings) != 1:
        raise ConfigError(
            "save_lora: the model must have LoRA layers, not merged, all of one alpha and scaling; "
            f"got {sorted(settings) or 'none'}: call unmerge_lora or apply_lora first"
        )
    ((alpha, scaling),) = settings
    write_safetensors(path, lora_state_dict(model), {"format": "lora", "alpha": repr(alpha), "scaling": scaling})


def load_lora(model: Module, path: str | os.PathLike[str]) -> None:
    """Apply an adapter that `save_lora` wrote to its base model.

    Raises: FormatError for a file that is no adapter; StateDictError for an adapter of another model, before the model
            is changed; ConfigError for a model that has LoRA layers already
    """
    metadata = read_header(path).metadata
    arrays = read_safetensors(path)
    ranks = {name.removesuffix(".lora_A"): a.shape[-1] for name, a in arrays.items() if name.endswith(".lora_A")}
    try:
        alpha = float(metadata["alpha"])
    except (KeyError, ValueError):
        alpha = math.nan
    scaling = next((known for known in LORA_SCALINGS if known == metadata.get("scaling", SCALING_OF_OLD_FILES)), None)
    if metadata.get("format") != "lora" or not math.isfinite(alpha) or scaling is None or len(set(ranks.values())) != 1:
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
        _replace_by_lora_layers(model, ranks, rank, alpha, scaling)
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


def _ends_with(name: str, target: str) -> bool:
    """Whether a dotted name ends with the parts of `target`."""
    return f".{name}".endswith(f".{target}")


def _layers(model: Module, kind: type[M]) -> list[tuple[str, M]]:
    """The layers of `kind` with their names, listed before any of them is replaced."""
    return [(name, module) for name, module in model.named_modules() if isinstance(module, kind)]


def _parent(model: Module, name: str) -> tuple[Module, str]:
    """The parent of the module with this dotted name, and the name of the parent's attribute that holds it."""
    *path, attribute = name.split(".")
    parent = model
    for part in path:
        parent = getattr(parent, part)
    return parent, attribute
