"""`torch.optim`: the package's optimizers, whose states hold Tensors as PyTorch's do, and schedules for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_llm import optim
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.optim import lr_scheduler
from tinygrad_llm.torch.tensor import EngineTensor, Tensor


class PyTorchForms:
    """Mixin: the signatures and the state of PyTorch's optimizers, in front of one of the package's."""

    param_groups: list[dict[str, Any]]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; `closure`, if given, computes the loss before."""
        loss = None if closure is None else closure()
        super().step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad()

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name not in ("params", "param_names")]
        return "\n".join([*lines, ")"])

    def state_dict(self) -> dict[str, Any]:
        state = super().state_dict()
        return {**state, "state": {place: _tensors(entry) for place, entry in state["state"].items()}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        state = {place: _arrays(entry) for place, entry in state_dict["state"].items()}
        super().load_state_dict({**state_dict, "state": state})


def _tensors(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: Tensor(value) if isinstance(value, np.ndarray) else value for name, value in entry.items()}


def _arrays(entry: Mapping[str, Any]) -> dict[str, Any]:
    plain = {name: value.data if isinstance(value, EngineTensor) else value for name, value in entry.items()}
    if "step" in plain:
        plain["step"] = int(plain["step"])
    return plain


class SGD(PyTorchForms, optim.SGD):
    """Stochastic gradient descent with momentum; see `tinygrad_llm.optim.SGD`."""


class Adam(PyTorchForms, optim.Adam):
    """Adam; see `tinygrad_llm.optim.Adam`."""


class _AdamW(optim.Adam):
    """AdamW, which takes the slower way of `Adam` only where `amsgrad` needs it."""

    def step(self) -> None:
        if self.amsgrad:
            optim.Adam.step(self)
        else:
            optim.AdamW.step(self)


class AdamW(PyTorchForms, _AdamW):
    """Adam with decoupled weight decay; see `tinygrad_llm.optim.AdamW`, and `tinygrad_llm.optim.Adam` for `amsgrad`."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, decoupled_weight_decay=True)


class Muon(PyTorchForms, optim.Muon):
    """Orthogonalised momentum for matrices; see `tinygrad_llm.optim.Muon`."""


Optimizer = optim.Optimizer
__all__ = ["SGD", "Adam", "AdamW", "Muon", "Optimizer", "lr_scheduler"]


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.optim", name, globals()))
