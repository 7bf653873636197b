"""Sharded weights: several safetensors files, and an index that tells which tensor is in which.

model.safetensors                    one file, or else
model.safetensors.index.json         {"weight_map": {"wte.weight": "model-00001-of-00002.safetensors", ...}, ...}
model-00001-of-00002.safetensors     as many as the index names
...
"""

import os
import re
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats.safetensors import read_safetensors
from tinygrad_llm.formats.strict_json import read_json_object, shown

WEIGHTS = "model.safetensors"
INDEX = WEIGHTS + ".index.json"
# A plain name in this folder: an index must not be able to open any other file.
SHARD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")


def read_sharded_safetensors(
    folder: str | os.PathLike[str], *, as_float32: bool = False, copy: bool = False
) -> dict[str, NDArray[Any]]:
    """Every tensor of a folder's `model.safetensors`, or of the shards in its index, by name.

    `as_float32` and `copy` as in `read_safetensors`.

    Raises: FormatError if there is neither, for a shard that violates the format or whose name leaves the folder, and
            if index and shards disagree
    """
    folder = Path(folder)
    if os.path.lexists(folder / WEIGHTS):
        return read_safetensors(folder / WEIGHTS, as_float32=as_float32, copy=copy)
    if not os.path.lexists(folder / INDEX):
        pickled = " Its pytorch_model.bin is a pickle, which is not read here: convert it to safetensors."
        raise FormatError(
            f"{folder}: must hold {WEIGHTS} or {INDEX}; it has neither."
            + (pickled if os.path.lexists(folder / "pytorch_model.bin") else "")
        )
    weight_map = read_json_object(folder / INDEX).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise FormatError(f"{folder / INDEX}: must hold an object 'weight_map' of names; got {shown(weight_map)}")
    for name, shard in weight_map.items():
        if not isinstance(shard, str) or not SHARD_NAME.fullmatch(shard):
            raise FormatError(
                f"{folder / INDEX}: the shard of {shown(name)} must be the plain name of a .safetensors file in this "
                f"folder; got {shown(shard)}"
            )
    tensors: dict[str, NDArray[Any]] = {}
    for shard in sorted(set(weight_map.values())):
        held = read_safetensors(folder / shard, as_float32=as_float32, copy=copy)
        promised = {name for name, place in weight_map.items() if place == shard}
        if held.keys() != promised:
            name = min(held.keys() ^ promised)
            verb = "is promised by the index and missing" if name in promised else "is not in the index"
            raise FormatError(f"{folder / shard}: must hold what {INDEX} says; the tensor {shown(name)} {verb}")
        tensors |= held
    return tensors
