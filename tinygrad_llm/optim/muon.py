"""Muon: momentum whose matrices are orthogonalised before each step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_choice, expect_count, expect_number
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.nn import Embedding, Module, ModuleList, Parameter
from tinygrad_llm.optim.adamw import AdamW
from tinygrad_llm.optim.combined import CombinedOptimizer
from tinygrad_llm.optim.optimizer import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalized(x: Array, steps: int = 5, eps: float = 1e-7) -> Array:
    """The orthogonal matrix nearest to x, roughly: its singular values become about 1, its singular vectors stay.

        X ← X / ‖X‖;  then `steps` times  A = X Xᵀ,  X ← a X + (b A + c A²) X

    A Newton-Schulz iteration: an odd polynomial of X acts on each singular value alone. These coefficients bring values
    from 0.01 to 1 into about 0.7 to 1.2 in five steps, sooner than those that would reach 1 exactly. It takes products
    of matrices only, no decomposition.

    Shapes: x (n, m) -> (n, m)
    """
    a, b, c = COEFFICIENTS
    turned = x.shape[0] > x.shape[1]
    z = x.T if turned else x  # the smaller side first, so that A is small
    z = z / max(float(np.sqrt(np.sum(np.square(z)))), eps)
    for _ in range(steps):
        gram = z @ z.T
        z = a * z + (b * gram + c * (gram @ gram)) @ z
    return np.ascontiguousarray(z.T if turned else z)


class Muon(Optimizer):
    """Momentum orthogonalised by Newton-Schulz steps (Jordan et al. 2024, kellerjordan.github.io/posts/muon).

        b ← momentum · b + (1 - momentum) g
        u ← (1 - momentum) g + momentum · b  if nesterov, else  b
        p ← p - lr · weight_decay · p - lr · scale · orthogonalized(u)

    A gradient of a weight matrix is dominated by few directions; made orthogonal, all directions move alike. It is for
    the matrices inside a model: give embeddings, the head, biases and norms to AdamW.

    `adjust_lr_fn` says how the step grows with the matrix (out, in): "original" by √max(1, out / in);
    "match_rms_adamw" by 0.2 √max(out, in), after which AdamW's learning rate and weight decay can be kept
    (Liu et al. 2025, arXiv:2502.16982). PyTorch rounds to bfloat16 inside the iteration; here the dtype stays.

    State, by PyTorch's name: `momentum_buffer` is b.

    >>> from tinygrad_llm import Tensor
    >>> weight = Tensor([[1.0, 0.0], [0.0, 1.0]], requires_grad=True)
    >>> optimizer = Muon([weight], lr=0.1, weight_decay=0.0)
    >>> weight.backward([[100.0, 0.0], [0.0, 1.0]])
    >>> optimizer.step()
    >>> bool((np.diag(weight.data) < 0.94).all())
    True

    Raises: ShapeError for a parameter that is no matrix; ConfigError for a hyper-parameter outside its range
    """

    state_arrays = ("momentum_buffer",)
    unit_of_update = "parameter"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str = "original",
    ) -> None:
        defaults = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov, "eps": eps}
        super().__init__(params, {**defaults, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn})

    def check_hyperparameters(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "weight_decay", "eps"):
            expect_number("Muon", name, group[name])
        expect_number("Muon", "momentum", group["momentum"], high=1)
        expect_count("Muon", "ns_steps", group["ns_steps"])
        expect_choice("Muon", "adjust_lr_fn", group["adjust_lr_fn"], ("original", "match_rms_adamw"))

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        super().add_param_group(group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim != 2:
                self.param_groups.pop()
                raise ShapeError(
                    f"Muon: parameters must be matrices; got shape {parameter.shape}; give the others to AdamW"
                )

    def step(self) -> None:
        for group, parameter, grad in self._updates():
            p, lr, momentum = parameter.data, float(group["lr"]), float(group["momentum"])
            if parameter not in self.state:
                self.state[parameter] = self.new_state(parameter)
            b = self.state[parameter]["momentum_buffer"]
            b *= momentum
            b += (1.0 - momentum) * grad
            update = (1.0 - momentum) * grad + momentum * b if group["nesterov"] else b
            p *= 1.0 - lr * float(group["weight_decay"])
            p -= (
                lr
                * _scale(group["adjust_lr_fn"], p.shape)
                * orthogonalized(update, int(group["ns_steps"]), float(group["eps"]))
            )


def _scale(kind: str, shape: tuple[int, ...]) -> float:
    out, width = shape
    return math.sqrt(max(1.0, out / max(width, 1))) if kind == "original" else 0.2 * math.sqrt(max(out, width))


def hidden_matrices(model: Module) -> list[Parameter]:
    """The parameters that Muon is meant for, by one rule for every model: each matrix inside a `ModuleList`, that is in
    the blocks, unless it is an embedding's table.

    Those are the projections of attention and feed-forward layers, experts and their routers, and the factors of LoRA
    in a block. Embeddings, positions, the head (tied or not) and the poolers and heads of classifiers, reward models
    and BERT stand outside the blocks; norms and biases are no matrices.
    """
    blocks = [module for module in model.modules() if isinstance(module, ModuleList)]
    tables = {module.weight for module in model.modules() if isinstance(module, Embedding)}
    inside = {parameter for block in blocks for parameter in block.parameters() if parameter.ndim == 2} - tables
    return [parameter for parameter in model.parameters() if parameter in inside]


def muon_and_adamw(
    model: Module, groups: Sequence[Mapping[str, Any]], lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999)
) -> CombinedOptimizer:
    """Muon for the `hidden_matrices` of `model`, AdamW for the other parameters in `groups`, as one optimizer.

    `groups` are those of (name, parameter) pairs that AdamW alone would get. Learning rate and weight decay serve both,
    since Muon's steps are scaled to the size of AdamW's ("match_rms_adamw").

    Raises: ConfigError if no hidden matrix is among them
    """
    hidden = set(hidden_matrices(model))
    muon, adamw = (
        [
            {**group, "params": own}
            for group in groups
            if (own := [one for one in group["params"] if (one[1] in hidden) is kind])
        ]
        for kind in (True, False)
    )
    if not muon:
        raise ConfigError("muon trains matrices inside a model's blocks (a ModuleList); got none to train: use adamw")
    parts: list[Optimizer] = [Muon(muon, lr, adjust_lr_fn="match_rms_adamw")]
    return CombinedOptimizer(*parts, *([AdamW(adamw, lr, betas)] if adamw else []))
