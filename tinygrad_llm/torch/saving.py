"""`torch.save` and `torch.load` on safetensors: numbers and a description of what held them, never code.

A dict of Tensors becomes a plain safetensors file with the same names, which any other program reads. Dicts in dicts,
lists and numbers (a checkpoint of a model and its optimizer) are described in the file's metadata.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError, FormatError
from tinygrad_llm.formats import read_header, read_safetensors, write_safetensors
from tinygrad_llm.torch.tensor import EngineTensor, Tensor
from tinygrad_llm.torch.types import expect_cpu

STRUCTURE = "tinygrad_llm.torch.structure"


def save(obj: Any, f: Any, **_: Any) -> None:
    """Write Tensors, and dicts, lists, tuples, numbers, strings and None that hold them, to the path `f`.

    Raises: ConfigError for what is neither, such as a whole model: save its `state_dict()`
    """
    arrays: dict[str, Any] = {}
    structure = _described(obj, "", arrays)
    write_safetensors(_path(f), arrays, {STRUCTURE: json.dumps(structure)})


def load(f: Any, map_location: Any = None, weights_only: bool = True, **_: Any) -> Any:
    """What `save` wrote to the path `f`; a safetensors file of another program as a dict of Tensors.

    Raises: FormatError for a pickle, as PyTorch writes; ConfigError for a device that is not the CPU
    """
    expect_cpu(map_location)
    path = _path(f)
    with open(path, "rb") as file:
        start = file.read(9)  # of safetensors: the length of the header, and its first brace
    if start[8:] != b"{" and (start[:2] == b"PK" or start[:1] == b"\x80"):
        raise FormatError(
            f"load: {path} is a pickle, which runs code when it is read, and is refused; where PyTorch is installed, "
            "convert it once: safetensors.torch.save_file(torch.load(path, weights_only=True), 'model.safetensors')"
        )
    arrays = read_safetensors(path, as_float32=False, copy=True)
    structure = read_header(path).metadata.get(STRUCTURE)
    if structure is None:
        return OrderedDict((name, Tensor(array)) for name, array in arrays.items())
    try:
        return _restored(json.loads(structure), arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise FormatError(f"load: {path} does not describe its own contents; {error!r}") from None


def _path(f: Any) -> str:
    try:
        return os.fspath(f)
    except TypeError:
        raise ConfigError(f"save, load: the path of a file is needed; got {type(f).__name__}") from None


def _described(obj: Any, name: str, arrays: dict[str, Any]) -> Any:
    """What `obj` is, as JSON: [kind, content]. Arrays are put into `arrays` under their dotted name."""
    if isinstance(obj, EngineTensor | np.ndarray):
        array = obj.data if isinstance(obj, EngineTensor) else obj
        while name in arrays or not name:
            name += "_"
        arrays[name] = array
        return ["tensor", name]
    if isinstance(obj, Mapping):
        items = []
        for key, value in obj.items():
            if not isinstance(key, str | int):
                raise ConfigError(f"save: keys must be strings or integers; got {key!r}")
            items.append([key, _described(value, f"{name}.{key}" if name else str(key), arrays)])
        return ["dict", items]
    if isinstance(obj, list | tuple):
        kind = "list" if isinstance(obj, list) else "tuple"
        return [kind, [_described(one, f"{name}.{i}" if name else str(i), arrays) for i, one in enumerate(obj)]]
    if isinstance(obj, np.generic):
        obj = obj.item()
    if obj is None or isinstance(obj, bool | int | float | str):
        return ["value", obj]
    raise ConfigError(
        f"save: Tensors, dicts, lists, numbers and strings can be saved; got {type(obj).__name__}"
        f"{f' at {name}' if name else ''}; of a model save model.state_dict()"
    )


def _restored(described: Any, arrays: Mapping[str, Any]) -> Any:
    kind, content = described
    if kind == "tensor":
        return Tensor(arrays[content])
    if kind == "dict":
        return OrderedDict((key, _restored(value, arrays)) for key, value in content)
    if kind in ("list", "tuple"):
        items = [_restored(one, arrays) for one in content]
        return items if kind == "list" else tuple(items)
    if kind != "value":
        raise ValueError(f"unknown kind {kind!r}")
    return content
