"""File names that no file can have, through every reader and writer: one short error of this package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygrad_llm
from tinygrad_llm.data import read_jsonl, read_pairs, read_rows, read_text
from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.formats import (
    newest_whole_snapshot,
    read_json,
    read_metrics,
    read_safetensors,
    verify_snapshot,
    write_json,
    write_safetensors,
    write_snapshot,
)
from tinygrad_llm.interop import load_huggingface
from tinygrad_llm.text import CharTokenizer, load_tokenizer, save_tokenizer

READERS: list[Callable[[str], Any]] = [read_json, read_metrics, read_safetensors, verify_snapshot, load_tokenizer]
READERS += [load_huggingface, tinygrad_llm.load, read_text, read_rows, read_jsonl, read_pairs]
WRITERS: dict[str, Callable[[str], Any]] = {
    "write_json": lambda path: write_json(path, {}),
    "write_safetensors": lambda path: write_safetensors(path, {}),
    "write_snapshot": lambda path: write_snapshot(path, "step-1", {"a": b"1"}),
    "save_tokenizer": lambda path: save_tokenizer(CharTokenizer.train("a"), path),
}
CALLS = {**{read.__name__: read for read in READERS}, **WRITERS}
NAMES = {"null byte": "a\0b", "too long": "x" * 300, "far too long": "y/" * 3000, "half a character": "a\ud800"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("call", CALLS)
def test_an_impossible_file_name_is_one_short_error(call: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(TinygradLLMError) as caught:
        CALLS[call](f"{tmp_path}/{NAMES[name]}")
    assert len(str(caught.value)) < 1200 and "[Errno" not in str(caught.value)


def test_snapshots_in_a_folder_that_cannot_be() -> None:
    with pytest.raises(TinygradLLMError):
        newest_whole_snapshot("a\0b")
