"""`torch.optim`: the package's optimizers, whose states hold Tensors as PyTorch's do."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygrad_llm import optim
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.tensor import EngineTensor, Tensor


class PyTorchForms:
    """Mixin: the signatures and the state of PyTorch's optimizers, in front of one of the package's."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; `closure`, if given, computes the loss before."""
        loss = None if closure is None else closure()
        super().step()
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad()

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


class AdamW(PyTorchForms, optim.AdamW):
    """Adam with decoupled weight decay; see `tinygrad_llm.optim.AdamW`."""


class Muon(PyTorchForms, optim.Muon):
    """Orthogonalised momentum for matrices; see `tinygrad_llm.optim.Muon`."""


Optimizer = optim.Optimizer


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.optim", name, globals()))
