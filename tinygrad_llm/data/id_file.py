"""The ids of a long text on disk, memory-mapped: encoded once, used by every run.

    ids/
      3f1c0a9b2d4e-81c2f00d9a7b.ids     one id after the other, of two bytes (uint16) or four (uint32), little-endian:
                                        the training part's, then the validation part's
      3f1c0a9b2d4e-81c2f00d9a7b.json    the manifest: the text and the tokenizer (sha256), how many ids, characters and
                                        bytes are encoded, and the sha256 of the ids and of the manifest itself
      run.lock                          held by the one process that writes

Ids are appended to their file. Every few seconds they are flushed to disk, and only then a new manifest replaces the
old one: however the process ends, the manifest never lists ids that are not on disk, and ids that it does not list are
overwritten when encoding resumes. Before ids are used, all of them are compared with the manifest.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tinygrad_llm.errors import CheckpointError, FormatError
from tinygrad_llm.formats import json_bytes, open_regular, parse_json, read_json_object, write_json
from tinygrad_llm.formats.atomic import cannot_write, sync_file

KIND, VERSION = "tinygrad_llm ids", 1
RECORD_INTERVAL = 5.0  # seconds of work lost at most when the process is killed
READ = 1 << 20  # bytes per read


@dataclasses.dataclass(frozen=True)
class Part:
    """How much of the training or validation part is encoded. Units: bytes of the text as UTF-8."""

    ids: int = 0
    characters: int = 0
    bytes: int = 0

    def __add__(self, more: Part) -> Part:
        return Part(self.ids + more.ids, self.characters + more.characters, self.bytes + more.bytes)


@dataclasses.dataclass(frozen=True)
class Progress:
    """How far a text is encoded, with the sha256 of the ids and of the text up to there."""

    train: Part = Part()
    validation: Part = Part()
    ids_sha256: str = hashlib.sha256().hexdigest()
    text_sha256: str = hashlib.sha256().hexdigest()
    complete: bool = False

    @property
    def all(self) -> Part:
        return self.train + self.validation


class IdFile:
    """The id file in `folder` of one text, split into training and validation part, and one tokenizer.

    `text` and `tokenizer` are their sha256 sums; `split` is the number of characters before the validation part. The
    folder may also hold files of other texts and tokenizers.
    """

    def __init__(self, folder: str | os.PathLike[str], text: str, tokenizer: str, split: int, dtype: DTypeLike) -> None:
        self.folder = Path(folder)
        self.path = self.folder / f"{text[:12]}-{tokenizer[:12]}.ids"
        self.manifest = self.path.with_suffix(".json")
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._about = {
            "kind": KIND,
            "version": VERSION,
            "text": text,
            "tokenizer": tokenizer,
            "split": split,
            "dtype": np.dtype(dtype).name,
        }

    @staticmethod
    def split_of(folder: str | os.PathLike[str], text: str, tokenizer: str) -> int | None:
        """The `split` in the manifest of a text and a tokenizer, by their sha256 sums; None if there is none."""
        path = Path(folder) / f"{text[:12]}-{tokenizer[:12]}.json"
        try:
            split = read_json_object(path).get("split")
        except FormatError:
            return None
        return split if type(split) is int else None

    def done(self) -> Progress | None:
        """The progress on disk, after comparing all ids with the manifest; None if there is no manifest.

        Raises: FormatError for a file that has changed, or is of another text, tokenizer or split
        """
        if not os.path.lexists(self.manifest):
            return None
        with open_regular(self.manifest) as file:
            written = file.read()
        try:
            found = parse_json(written, str(self.manifest))["done"]
            train, validation = Part(**found.pop("train")), Part(**found.pop("validation"))
            progress = Progress(train, validation, **found)
            numbers = [*dataclasses.astuple(train), *dataclasses.astuple(validation)]
            is_valid = all(type(number) is int and number >= 0 for number in numbers)
            is_valid = is_valid and written == json_bytes(self._content(progress))
        except (FormatError, KeyError, TypeError, AttributeError, ValueError):
            is_valid = False
        if not is_valid:
            raise FormatError(f"{self.manifest}: must be what was written for this text and tokenizer; it is not")
        needed = progress.all.ids * self.dtype.itemsize
        size = os.path.getsize(self.path) if self.path.is_file() else 0
        if size < needed or (progress.complete and size > needed):
            raise FormatError(f"{self.path}: must have {needed:,} bytes, as its manifest says; it has {size:,}")
        if self.running_sha256(progress).hexdigest() != progress.ids_sha256:
            raise FormatError(f"{self.path}: its bytes have changed since they were written")
        return progress

    def running_sha256(self, done: Progress) -> Any:
        """The sha256 object of the encoded ids, to be updated with further ids."""
        digest, left = hashlib.sha256(), done.all.ids * self.dtype.itemsize
        if left:
            with open_regular(self.path) as file:
                while left and (part := file.read(min(left, READ))):
                    digest.update(part)
                    left -= len(part)
        return digest

    def mapped(self, done: Progress) -> tuple[NDArray[Any], NDArray[Any]]:
        """The ids of the training and of the validation part, memory-mapped: read when they are used.

        Shapes: (N,), (M,)
        """
        if not done.all.ids:  # an empty file cannot be mapped
            return np.empty(0, self.dtype), np.empty(0, self.dtype)
        ids = np.memmap(self.path, self.dtype, "r", shape=(done.all.ids,))
        return ids[: done.train.ids], ids[done.train.ids :]

    def write_manifest(self, done: Progress) -> None:
        """Write the progress to the manifest. Raises: CheckpointError"""
        write_json(self.manifest, self._content(done))

    def discard(self) -> None:
        """Delete both files; ids that are mapped stay readable. Raises: CheckpointError if that is not allowed"""
        try:
            self.manifest.unlink(missing_ok=True)  # first: ids without a manifest are ignored
            self.path.unlink(missing_ok=True)
        except OSError as problem:
            raise cannot_write(self.path, problem) from problem

    def _content(self, done: Progress) -> dict[str, Any]:
        content = {**self._about, "done": dataclasses.asdict(done)}
        return {**content, "sha256": hashlib.sha256(json_bytes(content)).hexdigest()}


class IdWriter:
    """Appends to an id file in a `with` block, which records the progress also when it ends early.

    The caller holds the folder's lock. `text` is the sha256 object of the text up to where `done` ends.

    Raises: CheckpointError if the file cannot be written, such as on a full disk
    """

    def __init__(self, file: IdFile, done: Progress, text: Any) -> None:
        self.file = file
        # One tuple, so that after Ctrl-C all of it is as before a chunk, or as after it.
        self._state: tuple[Progress, Any, Any] = done, text, file.running_sha256(done)
        self._recorded = time.monotonic()

    @property
    def done(self) -> Progress:
        return self._state[0]

    def __enter__(self) -> IdWriter:
        try:
            descriptor = os.open(self.file.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            self._ids: BinaryIO = open(descriptor, "r+b", buffering=0)
            self._ids.truncate(self.done.all.ids * self.file.dtype.itemsize)
            self._ids.seek(0, os.SEEK_END)
        except OSError as problem:
            raise cannot_write(self.file.path, problem) from problem
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            with suppress(CheckpointError, OSError):  # the first error is the one to report
                self._ids.truncate(self.done.all.ids * self.file.dtype.itemsize)  # room for the manifest on a full disk
                self.record()
        self._ids.close()

    def append(self, chunk: str, ids: NDArray[Any], validation: bool = False) -> None:
        """Append a chunk of the text and its ids, of the training part or of the validation part after it."""
        done, text, digest = self._state[0], self._state[1].copy(), self._state[2].copy()
        raw = chunk.encode("utf-8", "surrogatepass")
        content = memoryview(np.asarray(ids, self.file.dtype).tobytes())
        text.update(raw)
        digest.update(content)
        try:
            while content:  # a nearly full disk may take a part
                content = content[self._ids.write(content) :]
        except OSError as problem:
            raise cannot_write(self.file.path, problem) from problem
        more = Part(len(ids), len(chunk), len(raw))
        train, held_out = (done.train, done.validation + more) if validation else (done.train + more, done.validation)
        self._state = Progress(train, held_out, digest.hexdigest(), text.hexdigest()), text, digest
        if time.monotonic() - self._recorded > RECORD_INTERVAL:
            self.record()

    def record(self, complete: bool = False) -> None:
        """Write the progress to the manifest, after the ids are on disk."""
        done = dataclasses.replace(self.done, complete=complete)
        try:
            sync_file(self._ids)
        except OSError as problem:
            raise cannot_write(self.file.path, problem) from problem
        self.file.write_manifest(done)
        self._state, self._recorded = (done, *self._state[1:]), time.monotonic()
