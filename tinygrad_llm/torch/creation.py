"""New Tensors: zeros, ranges, random numbers from PyTorch's seeded stream, copies of arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygrad_llm.errors import DTypeError
from tinygrad_llm.random import default_generator
from tinygrad_llm.torch.tensor import EngineTensor, Tensor, as_torch, sizes_of, tensor
from tinygrad_llm.torch.types import as_dtype, expect_cpu


def _new(array: Any, device: Any, requires_grad: bool) -> Tensor:
    expect_cpu(device)
    return Tensor(np.asarray(array), requires_grad)


def zeros(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return _new(np.zeros(sizes_of(size), as_dtype(dtype) or np.float32), device, requires_grad)


def ones(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return _new(np.ones(sizes_of(size), as_dtype(dtype) or np.float32), device, requires_grad)


def empty(*size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Zeros: memory that nobody has written has no defined numbers, and these are as good as any."""
    return zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad)


def full(size: Any, fill_value: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    shape = (size,) if isinstance(size, int) else tuple(size)
    return _new(np.full(shape, tensor(fill_value).data, as_dtype(dtype)), device, requires_grad)


def zeros_like(input: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return _new(np.zeros_like(tensor(input).data, as_dtype(dtype)), device, requires_grad)


def ones_like(input: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    return _new(np.ones_like(tensor(input).data, as_dtype(dtype)), device, requires_grad)


def full_like(input: Any, fill_value: Any, dtype: Any = None, device: Any = None) -> Tensor:
    return _new(np.full_like(tensor(input).data, fill_value, as_dtype(dtype)), device, False)


empty_like = zeros_like


def eye(n: int, m: int | None = None, dtype: Any = None, device: Any = None) -> Tensor:
    return _new(np.eye(n, m, dtype=as_dtype(dtype) or np.float32), device, False)


def arange(
    start: Any, end: Any = None, step: Any = 1, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The numbers from `start` (0 where only one is given) up to before `end`: int64, or float32 if one is a float."""
    first, last = (0, start) if end is None else (start, end)
    numbers = [one.item() if isinstance(one, EngineTensor) else one for one in (first, last, step)]
    default = np.float32 if any(isinstance(one, float) for one in numbers) else np.int64
    return _new(np.arange(*numbers).astype(as_dtype(dtype) or default), device, requires_grad)


def linspace(start: float, end: float, steps: int, dtype: Any = None, device: Any = None) -> Tensor:
    """`steps` numbers from `start` to `end`, both included."""
    return _new(np.linspace(start, end, steps).astype(as_dtype(dtype) or np.float32), device, False)


def from_numpy(array: Any) -> Tensor:
    """The array as a Tensor of the same memory."""
    if not isinstance(array, np.ndarray):
        raise DTypeError(f"from_numpy: a NumPy array is needed; got {type(array).__name__}")
    return Tensor(array)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """A Tensor of `data`, of the same memory where it is an array or Tensor of that dtype."""
    expect_cpu(device)
    if isinstance(data, EngineTensor):
        return as_torch(data).to(dtype)
    return Tensor(data, dtype=as_dtype(dtype)) if isinstance(data, np.ndarray) else tensor(data, dtype)


asarray = as_tensor


def rand(
    *size: Any, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Uniform in [0, 1)."""
    source = default_generator() if generator is None else generator
    return _new(source.rand(*sizes_of(size), dtype=as_dtype(dtype) or np.float32), device, requires_grad)


def randn(
    *size: Any, generator: Any = None, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Normal with mean 0 and standard deviation 1."""
    source = default_generator() if generator is None else generator
    return _new(source.randn(*sizes_of(size), dtype=as_dtype(dtype) or np.float32), device, requires_grad)


def rand_like(input: Any, dtype: Any = None) -> Tensor:
    return rand(input.data.shape, dtype=dtype or input.data.dtype)


def randn_like(input: Any, dtype: Any = None) -> Tensor:
    return randn(input.data.shape, dtype=dtype or input.data.dtype)


def randint(
    low: int, high: Any, size: Any = None, *, generator: Any = None, dtype: Any = None, device: Any = None
) -> Tensor:
    """Integers from `low` (0 where only one is given) to `high` - 1."""
    first, last, shape = (0, low, high) if size is None else (low, high, size)
    source = default_generator() if generator is None else generator
    return _new(source.randint(first, last, tuple(shape)).astype(as_dtype(dtype) or np.int64), device, False)


def randperm(n: int, *, generator: Any = None, device: Any = None) -> Tensor:
    """The numbers 0 .. n - 1 in random order."""
    source = default_generator() if generator is None else generator
    return _new(source.randperm(n), device, False)


def normal(mean: float, std: float, size: Any, *, generator: Any = None) -> Tensor:
    """Normal with mean `mean` and standard deviation `std`."""
    source = default_generator() if generator is None else generator
    return Tensor(source.normal(mean, std, tuple(size)))
