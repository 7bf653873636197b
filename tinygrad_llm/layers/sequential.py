"""Sequential: modules in a row."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.nn.module import Module, ModuleList


class Sequential(ModuleList):
    """Modules applied one after the other, each to the output of the one before."""

    def __init__(self, *modules: Module) -> None:
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self.children():
            x = module(x)
        return x
