"""Looking inside: what a model computes, what each part costs, what is proven, and what goes wrong."""

from tinygrad_llm.study.activations import Activations, activation_names, cache, edit, mean, patch, zero
from tinygrad_llm.study.counting import Flops, Memory, flops, memory
from tinygrad_llm.study.tape import Tape, record
from tinygrad_llm.study.timing import Times, time

__all__ = [
    "Activations",
    "Flops",
    "Memory",
    "Tape",
    "Times",
    "activation_names",
    "cache",
    "edit",
    "flops",
    "mean",
    "memory",
    "patch",
    "record",
    "time",
    "zero",
]
