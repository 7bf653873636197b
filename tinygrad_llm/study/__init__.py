"""Looking inside: what a model computes, what each part costs, what is proven, and what goes wrong."""

from tinygrad_llm.study.activations import Activations, activation_names, cache, edit, mean, patch, zero

__all__ = ["Activations", "activation_names", "cache", "edit", "mean", "patch", "zero"]
