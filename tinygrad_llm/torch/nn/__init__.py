"""`torch.nn`: layers, containers and losses."""

from typing import Any

from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.nn import functional, init, utils
from tinygrad_llm.torch.nn.layers import (
    GELU,
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Dropout,
    Embedding,
    Flatten,
    Identity,
    LayerNorm,
    Linear,
    MSELoss,
    NLLLoss,
    ReLU,
    RMSNorm,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from tinygrad_llm.torch.nn.module import Buffer, Module, ModuleDict, ModuleList, Parameter, Sequential

__all__ = ["GELU", "BCELoss", "BCEWithLogitsLoss", "Buffer", "CrossEntropyLoss", "Dropout", "Embedding", "Flatten"]
__all__ += ["Identity", "LayerNorm", "Linear", "MSELoss", "Module", "ModuleDict", "ModuleList", "NLLLoss"]
__all__ += ["Parameter", "RMSNorm", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Tanh"]
__all__ += ["functional", "init", "utils"]


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.nn", name, __all__))
