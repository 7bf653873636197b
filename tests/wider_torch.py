"""A PyTorch whose float32 is float64.

transformers computes angles, norms and gates in float32 whatever the model's dtype. To compare float64 to more digits
than that, its modules are shown this one. A test that imports it is skipped without PyTorch.
"""

import importlib
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")


class WiderTorch:
    """PyTorch, whose float32 is float64."""

    float = float32 = torch.float64

    @staticmethod
    def tensor(data: Any) -> Any:
        return torch.tensor(data, dtype=torch.float64)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def widen(replace: Callable[[Any, str, Any], None], *model_types: str) -> None:
    """Show it to transformers' code of these models; `replace(owner, name, value)` is such as monkeypatch.setattr."""
    for model_type in model_types:
        family = model_type.removesuffix("_text")
        module = importlib.import_module(f"transformers.models.{family}.modeling_{family}")
        replace(module, "torch", WiderTorch())
    replace(importlib.import_module("transformers.modeling_rope_utils"), "torch", WiderTorch())
    replace(torch.Tensor, "float", torch.Tensor.double)
