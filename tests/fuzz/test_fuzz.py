"""Every reader on mutated files: it reads them, or raises a short error of this package, in bounded time and memory."""

import random
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.found import FOUND
from fuzz.mutations import mutated
from fuzz.readers import Reader, all_readers, memory_folder
from hypothesis import given
from hypothesis import strategies as st

NAMES = [
    *("json", "safetensors", "safetensors_index", "manifest", "metrics", "ids", "ids_manifest", "own_tokenizer"),
    *(
        "tokenizer_json",
        "wordpiece_json",
        "vocab_json",
        "merges_txt",
        "vocab_txt",
        "vocab_bpe",
        "encoder_json",
        "tiktoken",
        "run_config",
    ),
    *("gguf", "gpt2_config", "gpt2_tokenizer_config", "llama_config", "llama_tokenizer_config", "bert_config"),
    *("bert_tokenizer_config", "csv", "tsv", "records", "record_lines"),
]
MOST_MEMORY = 32_000_000  # bytes, for files of a few KB


@pytest.fixture(scope="module")
def readers() -> Iterator[dict[str, Reader]]:
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        yield all_readers(Path(folder))


def test_every_reader_is_tested_and_reads_its_own_files(readers: dict[str, Reader]) -> None:
    assert list(readers) == NAMES
    for reader in readers.values():
        (reader.folder / reader.file).write_bytes(reader.seeds[0])
        reader.read(reader.folder)


@pytest.mark.parametrize("name", NAMES)
def test_mutated_files_end_in_short_errors(name: str, readers: dict[str, Reader]) -> None:
    reader = readers[name]

    @given(st.randoms(use_true_random=False), st.sampled_from(reader.seeds))
    def check(dice: random.Random, seed: bytes) -> None:
        check_with_memory(reader, mutated(seed, dice))

    check()


def check_with_memory(reader: Reader, data: bytes) -> None:
    tracemalloc.start()
    try:
        reader.check(data)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("name", "data"), FOUND)
def test_found_inputs(name: str, data: bytes, readers: dict[str, Reader]) -> None:
    check_with_memory(readers[name], data)
