"""Looking inside: what a model computes, what each part costs, what is proven, and what goes wrong."""

from tinygrad_llm.study.activations import Activations, activation_names, cache, edit, mean, patch, zero
from tinygrad_llm.study.counting import Flops, Memory, flops, memory
from tinygrad_llm.study.timing import Times, time

__all__ = [
    "Activations", "Flops", "Memory", "Times", "activation_names", "cache", "edit", "flops", "mean", "memory", "patch",
    "time", "zero",
]  # fmt: skip
