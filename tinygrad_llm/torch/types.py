"""PyTorch's small types: dtypes that print as `torch.float32`, sizes as `torch.Size([2, 3])`, and the one device."""

from __future__ import annotations

import math
import warnings
from typing import Any, SupportsIndex, overload

import numpy as np

from tinygrad_llm.errors import ConfigError, DTypeError


class dtype:
    """A NumPy dtype under PyTorch's name: equal to it, accepted wherever NumPy takes a dtype, printed as torch's."""

    __slots__ = ("dtype", "named")

    def __init__(self, number: Any, named: str = "") -> None:
        self.dtype = np.dtype(number)  # the attribute by which NumPy converts it
        self.named = named or self.dtype.name

    @property
    def is_floating_point(self) -> bool:
        return self.dtype.kind == "f"

    @property
    def is_complex(self) -> bool:
        return self.dtype.kind == "c"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dtype, name)  # kind, itemsize, type, ...

    def __eq__(self, other: object) -> bool:
        if isinstance(other, dtype):
            return self.dtype == other.dtype
        try:
            return self.dtype == np.dtype(other)  # type: ignore[call-overload]
        except TypeError:
            return False

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"torch.{self.named}"


float16, float32, float64 = dtype("float16"), dtype("float32"), dtype("float64")
int8, int16, int32, int64 = dtype("int8"), dtype("int16"), dtype("int32"), dtype("int64")
uint8, uint16, uint32, uint64 = dtype("uint8"), dtype("uint16"), dtype("uint32"), dtype("uint64")
complex64, complex128 = dtype("complex64"), dtype("complex128")
bool_ = dtype("bool")
bfloat16 = dtype("float32", "bfloat16")  # see `as_dtype`

_BY_NUMPY = {
    one.dtype: one
    for one in (
        *(float16, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64),
        *(complex64, complex128, bool_),
    )
}


def dtype_of(number: np.dtype[Any]) -> dtype:
    """The dtype that prints as PyTorch's."""
    return _BY_NUMPY.get(number) or dtype(number)


def as_dtype(given: Any) -> np.dtype[Any] | None:
    """NumPy's dtype for whatever names one; None stays None.

    NumPy has no bfloat16: its numbers are kept as float32, which holds each of them exactly, and a warning says so.
    Raises: DTypeError for what is no dtype
    """
    if given is None:
        return None
    if given is bfloat16:
        warnings.warn("bfloat16 is computed as float32, which holds every bfloat16 number exactly", stacklevel=3)
    try:
        return np.dtype(given)
    except TypeError:
        raise DTypeError(f"dtype must be one of torch's, such as torch.float32; got {given!r}") from None


class Size(tuple[Any, ...]):
    """A shape, printed as PyTorch prints it."""

    __slots__ = ()

    def numel(self) -> int:
        """How many elements an array of this shape has."""
        return math.prod(self)

    @overload
    def __getitem__(self, key: SupportsIndex, /) -> Any: ...
    @overload
    def __getitem__(self, key: slice, /) -> Size: ...
    def __getitem__(self, key: Any, /) -> Any:
        found = super().__getitem__(key)
        return Size(found) if isinstance(key, slice) else found

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"


class device:
    """Where a Tensor lies: on the CPU. Other devices can be named, and refuse what is sent to them."""

    __slots__ = ("index", "type")

    def __init__(self, kind: Any, index: Any = None) -> None:
        self.type, _, number = str(kind).partition(":")
        self.index = index if index is not None else int(number) if number else None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __enter__(self) -> device:
        """`with torch.device("cpu"):` changes nothing; another device is refused."""
        expect_cpu(self)
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type={self.type!r}{'' if self.index is None else f', index={self.index}'})"


CPU = device("cpu")


def expect_cpu(given: Any) -> None:
    """Raise ConfigError unless `given`, a device or its name or None, is the CPU."""
    if given is not None and device(given).type != "cpu":
        raise ConfigError(
            f'device: this package computes on the CPU; got {str(given)!r}; write device = "cpu", '
            "or ask torch.cuda.is_available() first"
        )
