"""`torch.utils`: datasets and loaders."""

from tinygrad_llm.torch.utils import data

__all__ = ["data"]
