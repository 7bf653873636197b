"""The id file: round trips, resuming after interruptions, and detection of damage."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinygrad_llm.data import IdFile, IdWriter, WindowLoader
from tinygrad_llm.data import id_file as module
from tinygrad_llm.data.id_file import Progress
from tinygrad_llm.data.mapped import release_pages
from tinygrad_llm.errors import CheckpointError, FormatError
from tinygrad_llm.random import Generator

TEXT, TOKENIZER = hashlib.sha256(b"text").hexdigest(), hashlib.sha256(b"tokenizer").hexdigest()
CHUNKS = [("one ", [5, 6, 7]), ("é two", [65535]), ("🙂", []), ("three", [0, 1])]


def new_file(folder: Path, dtype: type = np.uint16) -> IdFile:
    return IdFile(folder, TEXT, TOKENIZER, 9, dtype)


def write(file: IdFile, chunks: list[tuple[str, list[int]]], complete: bool) -> Progress:
    done = file.done() or Progress()
    digest = hashlib.sha256("".join(chunk for chunk, _ in CHUNKS)[: done.all.characters].encode())
    with IdWriter(file, done, digest) as writer:
        for chunk, ids in chunks:
            writer.append(chunk, np.array(ids, np.uint16), validation=chunk == "three")
        writer.record(complete)
    return writer.done


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_ids_are_memory_mapped_in_two_parts(tmp_path: Path, dtype: type) -> None:
    file = new_file(tmp_path, dtype)
    assert file.done() is None
    done = write(file, CHUNKS, complete=True)
    assert done.text_sha256 == hashlib.sha256("one é two🙂three".encode()).hexdigest()
    assert (done.train.characters, done.train.bytes, done.validation.bytes) == (10, 14, 5)
    again = new_file(tmp_path, dtype)
    assert again.done() == done and done.complete
    train, validation = again.mapped(done)
    assert train.tolist() == [5, 6, 7, 65535] and validation.tolist() == [0, 1]
    assert train.dtype == dtype and isinstance(train, np.memmap) and not train.flags.writeable
    assert file.path.stat().st_size == 6 * np.dtype(dtype).itemsize


@pytest.mark.parametrize("stop", range(5))
def test_a_writer_resumes_after_a_killed_writer(tmp_path: Path, stop: int) -> None:
    (tmp_path / "whole").mkdir()
    whole = write(new_file(tmp_path / "whole"), CHUNKS, complete=True)
    file = new_file(tmp_path)
    write(file, CHUNKS[:stop], complete=False)
    with file.path.open("ab") as torn:  # written, but not in the manifest
        torn.write(b"\1\2\3")
    assert not file.done().complete
    assert write(file, CHUNKS[stop:], complete=True) == whole == file.done()
    assert file.path.read_bytes() == (tmp_path / "whole" / file.path.name).read_bytes()


def test_a_writer_that_ends_early_records_its_progress(tmp_path: Path) -> None:
    file = new_file(tmp_path)
    with pytest.raises(KeyboardInterrupt), IdWriter(file, Progress(), hashlib.sha256()) as writer:
        writer.append(*CHUNKS[0])
        raise KeyboardInterrupt
    assert file.done().train.ids == 3 and not file.done().complete


def test_progress_is_recorded_at_intervals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORD_INTERVAL", -1.0)
    file = new_file(tmp_path)
    with IdWriter(file, Progress(), hashlib.sha256()) as writer:
        writer.append(*CHUNKS[0])
        assert file.done().train.ids == 3


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> IdFile:
    file = new_file(tmp_path_factory.mktemp("ids"))
    write(file, CHUNKS, complete=True)
    return file


@given(data=st.data())
def test_any_flipped_bit_and_any_cut_is_noticed(written: IdFile, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([written.path, written.manifest]))
    good = path.read_bytes()
    if data.draw(st.booleans()):
        bad = bytearray(good)
        bad[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    else:
        bad = bytearray(good[: data.draw(st.integers(0, len(good) - 1))])
    try:
        path.write_bytes(bad)
        with pytest.raises(FormatError):
            written.done()
    finally:
        path.write_bytes(good)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.one_of(
        st.binary(max_size=30),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=3),
            lambda inner: (
                st.lists(inner) | st.dictionaries(st.sampled_from(["done", "train", "ids", "validation"]), inner)
            ),
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_any_manifest_gives_a_value_or_a_format_error(tmp_path: Path, content: bytes) -> None:
    file = new_file(tmp_path)
    file.manifest.write_bytes(content)
    with pytest.raises(FormatError):
        file.done()


def test_ids_of_another_text_or_tokenizer_are_refused(written: IdFile) -> None:
    other = IdFile(written.folder, TEXT, TOKENIZER, 10, np.uint16)
    with pytest.raises(FormatError, match="must be what was written for this text and tokenizer"):
        other.done()
    assert IdFile(written.folder, "0" * 64, TOKENIZER, 9, np.uint16).done() is None


def test_discarded_ids_stay_readable_where_they_are_mapped(tmp_path: Path) -> None:
    file = new_file(tmp_path)
    train, _ = file.mapped(write(file, CHUNKS, complete=True))
    file.discard()
    assert file.done() is None and train.tolist() == [5, 6, 7, 65535]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_an_error_and_leaves_the_progress(tmp_path: Path) -> None:
    file = new_file(tmp_path)
    writer = IdWriter(file, Progress(), hashlib.sha256())
    with pytest.raises(CheckpointError, match="the disk is full"), writer:
        writer.append(*CHUNKS[0])
        with open("/dev/full", "r+b", buffering=0) as full:
            writer._ids, ours = full, writer._ids
            try:
                writer.append(*CHUNKS[1])
            finally:
                writer._ids = ours
    assert file.done().train.ids == 3


def test_released_pages_are_read_again(tmp_path: Path) -> None:
    file = new_file(tmp_path)
    train, _ = file.mapped(write(file, CHUNKS, complete=True))
    release_pages(train)
    assert train.tolist() == [5, 6, 7, 65535]
    release_pages(np.arange(3))


def test_windows_of_mapped_ids_are_those_of_ids_in_memory(tmp_path: Path) -> None:
    ids = np.arange(5000, dtype=np.uint16)
    file = new_file(tmp_path)
    with IdWriter(file, Progress(), hashlib.sha256()) as writer:
        writer.append("text", ids)
        writer.record(complete=True)
    mapped, _ = file.mapped(writer.done)
    for (inputs, targets), (expected, shifted) in zip(
        WindowLoader(mapped, 16, 4, Generator(1)), WindowLoader(ids, 16, 4, Generator(1)), strict=True
    ):
        np.testing.assert_array_equal(inputs, expected)
        np.testing.assert_array_equal(targets, shifted)
        assert type(inputs) is np.ndarray
