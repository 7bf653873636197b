"""`torch.backends`: none but NumPy's."""

from tinygrad_llm.torch.backends import cuda, cudnn, mps

__all__ = ["cuda", "cudnn", "mps"]
