"""Looking inside: what a model computes, what each part costs, what is proven, and what goes wrong."""

from tinygrad_llm.study.activations import Activations, activation_names, cache, edit, mean, patch, zero
from tinygrad_llm.study.counting import Flops, Memory, flops, memory

__all__ = [
    "Activations", "Flops", "Memory", "activation_names", "cache", "edit", "flops", "mean", "memory", "patch", "zero",
]
