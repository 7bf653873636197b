"""Bytes on disk, knowing nothing of models: strict JSON, safetensors, and files that are whole or not there."""

from tinygrad_llm.formats.atomic import atomic_write, remove_leftovers
from tinygrad_llm.formats.regular_file import open_regular
from tinygrad_llm.formats.safetensors import (
    Header,
    TensorInfo,
    dump_safetensors,
    read_header,
    read_safetensors,
    write_safetensors,
)
from tinygrad_llm.formats.strict_json import json_bytes, parse_json, read_json, write_json

__all__ = [
    "Header", "TensorInfo", "atomic_write", "dump_safetensors", "json_bytes", "open_regular", "parse_json",
    "read_header", "read_json", "read_safetensors", "remove_leftovers", "write_json", "write_safetensors",
]  # fmt: skip
