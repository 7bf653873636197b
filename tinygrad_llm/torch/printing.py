"""Tensors as PyTorch prints them: four digits, aligned columns, scientific notation where numbers differ too much."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.torch.types import dtype_of

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Options:
    """PyTorch's defaults. `threshold`: elements above which a Tensor is abbreviated to `edgeitems` at each end."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None  # None: where the numbers call for it


PROFILES = {
    "default": Options(),
    "short": Options(precision=2, edgeitems=2),
    "full": Options(threshold=math.inf),
}
_options = Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how Tensors of this wing are printed; what is None stays, but `sci_mode=None` goes back to automatic.

    Raises: ConfigError for a profile that is not "default", "short" or "full"
    """
    global _options
    if profile is not None and profile not in PROFILES:
        raise ConfigError(f"set_printoptions: profile must be one of {', '.join(PROFILES)}; got {profile!r}")
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    _options = replace(PROFILES[profile] if profile else _options, **changed, sci_mode=sci_mode)


@contextmanager
def printoptions(**options: Any) -> Iterator[None]:
    """`set_printoptions` inside a `with` block."""
    global _options
    before = _options
    set_printoptions(**options)
    try:
        yield
    finally:
        _options = before


def printed(array: Array, suffixes: list[str]) -> str:
    """`tensor(...)`: the numbers, `size` and `dtype` where they do not speak for themselves, then `suffixes`."""
    start, said = "tensor(", []
    usual = array.dtype in (np.float32, np.int64, np.bool_, np.complex64)
    if not array.size:
        said += [f"size={tuple(array.shape)}"] if array.ndim != 1 else []
        usual = array.dtype == np.float32  # nothing is printed that could tell an integer
        numbers = "[]"
    else:
        abbreviated = array.size > _options.threshold
        shown = _ends(array) if abbreviated else array
        numbers = _nested(array, len(start), abbreviated, _number_format(shown))
    if not usual:
        said.append(f"dtype={dtype_of(array.dtype)!r}")
    text = start + numbers
    width = len(text) - text.rfind("\n") + 1
    for suffix in [*said, *suffixes]:
        if width + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * len(start) + suffix
            width = len(start) + len(suffix)
        else:
            text += ", " + suffix
            width += len(suffix) + 2
    return text + ")"


def _number_format(array: Array) -> Callable[[Any], str]:
    """A function that prints one element, all to the same width."""
    numbers = array.reshape(-1).tolist()
    if array.dtype.kind == "c":
        real, imaginary = _number_format(array.real), _number_format(array.imag)
        return lambda z: f"{real(z.real)}{'' if imaginary(z.imag).strip().startswith('-') else '+'}{imaginary(z.imag)}j"
    if array.dtype.kind != "f":
        width = max(len(f"{number}") for number in numbers)
        return lambda number: f"{number}".rjust(width)
    finite = [number for number in numbers if math.isfinite(number) and number != 0]
    whole = all(number == math.ceil(number) for number in finite)
    digits = _options.precision
    scientific = False
    if finite:
        largest, smallest = max(map(abs, finite)), min(map(abs, finite))
        scientific = largest / smallest > 1000 or largest > 1e8 or (not whole and smallest < 1e-4)
    if _options.sci_mode is not None:
        scientific = _options.sci_mode
    if scientific and finite:
        width = max(len(f"{number:.{digits}e}") for number in finite)
    elif whole:
        width = max((len(f"{number:.0f}") + 1 for number in finite), default=1)
    else:
        width = max((len(f"{number:.{digits}f}") for number in finite), default=1)

    def one(number: float) -> str:
        if scientific:
            text = f"{number:{width}.{digits}e}"
        elif whole:
            text = f"{number:.0f}" + ("." if math.isfinite(number) else "")
        else:
            text = f"{number:.{digits}f}"
        return text.rjust(width)

    return one


def _nested(array: Array, indent: int, abbreviated: bool, one: Callable[[Any], str]) -> str:
    if not array.ndim:
        return one(array.item())
    edge = _options.edgeitems
    cut = abbreviated and len(array) > 2 * edge
    rows = [*range(edge), None, *range(len(array) - edge, len(array))] if cut else list(range(len(array)))
    if array.ndim > 1:
        parts = ["..." if i is None else _nested(array[i], indent + 1, abbreviated, one) for i in rows]
        return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"
    words = [" ..." if i is None else one(array[i].item()) for i in rows]
    width = max((len(word) for word in words if word != " ..."), default=1)
    per_line = max(1, (_options.linewidth - indent) // (width + 2))
    lines = [", ".join(words[start : start + per_line]) for start in range(0, len(words), per_line)]
    return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"


def _ends(array: Array) -> Array:
    """What an abbreviated Tensor shows."""
    for axis, size in enumerate(array.shape):
        if size > 2 * _options.edgeitems:
            first, last = range(_options.edgeitems), range(size - _options.edgeitems, size)
            array = array.take([*first, *last], axis)
    return array
