"""Encode a long text once, resuming after interruptions; all runs with the same tokenizer use the ids."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from tinygrad_llm.data import IdFile, IdWriter, LongText
from tinygrad_llm.data.id_file import Progress
from tinygrad_llm.errors import CheckpointError, DataError, FormatError
from tinygrad_llm.formats import RunLock, remove_leftovers
from tinygrad_llm.runs.progress import StatusLine, duration
from tinygrad_llm.text import SimpleTokenizerV2, Tokenizer
from tinygrad_llm.text.chunks import chunks_of, encode_chunks
from tinygrad_llm.train.parallel.mapping import map_in_workers

VALIDATION_FRACTION = 0.1  # of the characters, at the end of the text
# Bytes of a text that several processes encode, if its tokens are words: Python code encodes 19 MB of these a second.
# BPE runs in threads, and characters, at 500 MB a second, take longer to send than to encode.
SHARED = 1e7


@dataclasses.dataclass(frozen=True)
class EncodedText:
    """The ids of a text in two parts, mapped from the file `path`.

    Shapes: train (N,), validation (M,). Units: bytes of the validation part as UTF-8; seconds that encoding took, 0
    if the ids were already on disk
    """

    train: NDArray[Any]
    validation: NDArray[Any]
    validation_bytes: int
    path: Path
    seconds: float


def split_of(text: LongText) -> int:
    """The number of characters before the validation part, as in `data.train_validation_split`."""
    return int((1 - VALIDATION_FRACTION) * text.survey.characters)


def encode_once(
    text: LongText,
    tokenizer: Tokenizer,
    folder: str | os.PathLike[str],
    status: StatusLine,
    workers: int | None = None,
) -> EncodedText:
    """The ids of `text`, from the id file in `folder`, which is created, completed or replaced as needed.

    The training and the validation part are encoded separately, each to the ids of `encode_to_array(part, "all")`. An
    interrupted encoding is continued; ids whose file was damaged are encoded again. `status` shows the progress. A long
    text is encoded by `workers` processes, by default one per core, if its tokens are words.

    Raises: DataError if the text cannot be read or changes meanwhile; CheckpointError if the folder cannot be written,
            or another process encodes into it
    """
    survey, started = text.survey, time.monotonic()
    file = IdFile(folder, survey.sha256, tokenizer.fingerprint(), split_of(text), tokenizer.id_dtype)
    try:
        done = file.done()  # without the lock, which only writers need
    except FormatError:
        done = None
    if done is not None and done.complete:
        status.say(f"text and tokenizer are unchanged: using the ids in {file.path}")
        seconds = 0.0
    else:
        try:
            file.folder.mkdir(parents=True, exist_ok=True)
        except OSError as problem:
            raise CheckpointError(f"{file.folder}: the folder of ids cannot be made: {problem.strerror}") from problem
        with RunLock(file.folder):
            remove_leftovers(file.folder)
            done = _finish(file, text, tokenizer, status, workers)
        seconds = time.monotonic() - started
    train, validation = file.mapped(done)
    return EncodedText(train, validation, done.validation.bytes, file.path, seconds)


def encoded_before(folder: str | os.PathLike[str], text_sha256: str, tokenizer: Tokenizer) -> EncodedText | None:
    """The ids of a text that was deleted or moved, by its sha256; None unless all of them are in `folder`."""
    split = IdFile.split_of(folder, text_sha256, tokenizer.fingerprint())
    if split is None:
        return None
    file = IdFile(folder, text_sha256, tokenizer.fingerprint(), split, tokenizer.id_dtype)
    try:
        done = file.done()
    except FormatError:
        return None
    if done is None or not done.complete:
        return None
    train, validation = file.mapped(done)
    return EncodedText(train, validation, done.validation.bytes, file.path, 0.0)


def _finish(file: IdFile, text: LongText, tokenizer: Tokenizer, status: StatusLine, workers: int | None) -> Progress:
    """Encode the rest of the text, and record that it is complete."""
    survey = text.survey
    try:
        done = file.done()
        if done is not None and done.complete:  # by another process, a moment ago
            return done
        digest = _sha256_of_beginning(text, done)
    except FormatError as problem:
        status.say(f"warning: {problem}; encoding the text again")
        file.discard()
        done, digest = None, hashlib.sha256()
    so_far = "" if done is None else f", from {done.all.characters:,} on, where it was interrupted"
    status.say(f"encoding {survey.characters:,} characters{so_far} ...")
    with IdWriter(file, Progress() if done is None else done, digest) as writer:
        try:
            _encode(writer, text, tokenizer, status, workers)
        except KeyboardInterrupt:
            mega = f"{writer.done.all.bytes / 1e6:,.3g} of {survey.bytes / 1e6:,.3g} MB"
            status.say(f"interrupted; {mega} are encoded and kept in {file.path}: the same command goes on from there")
            raise
        unchanged = writer.done.text_sha256 == survey.sha256
        if unchanged:
            writer.record(complete=True)
    if not unchanged:
        file.discard()
        raise DataError(f"{text.name} must stay as it is while it is read; it has changed: start again when it is done")
    return writer.done


def _sha256_of_beginning(text: LongText, done: Progress | None) -> Any:
    """The running sha256 of the encoded part of the text. Raises: FormatError if it was another text"""
    digest = hashlib.sha256()
    if done is not None:
        for block in text.blocks(0, done.all.characters):
            digest.update(block.encode("utf-8", "surrogatepass"))
        if digest.hexdigest() != done.text_sha256:
            raise FormatError(f"{text.name} changed while it was encoded")
    return digest


def _encode(writer: IdWriter, text: LongText, tokenizer: Tokenizer, status: StatusLine, workers: int | None) -> None:
    survey, started, before = text.survey, time.monotonic(), writer.done.all.bytes

    def line() -> str:
        done = writer.done.all
        rate = (done.bytes - before) / max(time.monotonic() - started, 1e-9)
        return (
            f"  {done.bytes / 1e6:,.1f} of {survey.bytes / 1e6:,.1f} MB | {done.ids:,} tokens | {rate / 1e6:.1f} MB/s"
            f" | {duration((survey.bytes - done.bytes) / max(rate, 1.0))} left"
        )

    several = isinstance(tokenizer, SimpleTokenizerV2) and survey.bytes - before >= SHARED
    for validation, stop in ((False, split_of(text)), (True, survey.characters)):
        place = writer.done.all.characters
        if place < stop:
            blocks = text.blocks(place, stop)
            chunks: Any
            if several:
                encoded = partial(_encoded, tokenizer)
                chunks = map_in_workers(encoded, chunks_of(tokenizer, blocks), workers=workers)
            else:
                chunks = encode_chunks(tokenizer, blocks, "all")
            with closing(chunks):  # ends the workers, also after an error
                for chunk, ids in chunks:
                    writer.append(chunk, ids, validation)
                    status.renew(line)


def _encoded(tokenizer: Tokenizer, chunk: str) -> tuple[str, NDArray[Any]]:
    return chunk, tokenizer.encode_to_array(chunk, "all")
