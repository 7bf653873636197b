"""The metrics log of a run: one JSON object per line, appended during training (https://jsonlines.org).

Lines are appended by one `write`, so a killed process leaves complete lines and perhaps the beginning of one more.
Readers skip this incomplete last line; the next writer removes it first.
"""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from tinygrad_llm.errors import CheckpointError, DataError, FormatError
from tinygrad_llm.formats.atomic import atomic_write, cannot_write
from tinygrad_llm.formats.regular_file import open_regular
from tinygrad_llm.formats.strict_json import json_bytes, parse_json, shown

TAIL_BYTES = 1 << 16  # read at a time to find the last line

Record = dict[str, str | int | float | bool | None]


class MetricsLog:
    """Appends flat records, each with a whole-numbered "step", to a .jsonl file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     log = MetricsLog(folder + "/metrics.jsonl")
    ...     for step in range(1, 6):
    ...         log.append({"step": step, "train_loss": 4.0 / step})
    ...     log.truncate_after(2)
    ...     read_metrics(log.path)
    [{'step': 1, 'train_loss': 4.0}, {'step': 2, 'train_loss': 2.0}]

    Raises: CheckpointError if the file cannot be written
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if os.path.lexists(self.path):
            self._repair_last_line()

    @staticmethod
    def line(record: Mapping[str, Any]) -> bytes:
        """One record as a line. NaN and infinity become null, since JSON has neither.

        Raises: DataError for a record that is not flat or has no step
        """
        return json_bytes(_flat(record), "metrics record", indent=None)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record, as `write` writes its line."""
        self.write(self.line(record))

    def write(self, lines: bytes) -> None:
        """Write all lines or none. Raises: CheckpointError if they cannot be written"""
        try:
            # Opened each time, so that a deleted folder is noticed and a replaced file is followed.
            with open(self.path, "ab", buffering=0) as file:
                before = file.seek(0, os.SEEK_END)
                try:
                    written = file.write(lines)
                    if written != len(lines):  # a part was written; the second write raises the reason
                        file.write(lines[written:])
                except OSError:
                    file.truncate(before)
                    raise
        except OSError as problem:
            raise cannot_write(self.path, problem) from problem

    def truncate_after(self, step: int) -> None:
        """Delete the records of later steps, so that a run resumed at `step` logs each step once.

        Raises: FormatError for a line that is not a record with a step, CheckpointError if it cannot be written
        """
        if not os.path.lexists(self.path):
            return
        with atomic_write(self.path) as file:
            for number, line, record in _lines(self.path):
                logged = record.get("step")
                if not _is_step(logged):
                    raise FormatError(
                        f"{self.path}: record {number}: must have a step, an integer from 0; got {shown(logged)}"
                    )
                if logged <= step:
                    file.write(line + b"\n")

    def _repair_last_line(self) -> None:
        with open_regular(self.path, error=CheckpointError) as file:
            size = start = file.seek(0, os.SEEK_END)
            tail = b""
            while start and b"\n" not in tail:  # from the end, since the log of a long run is long
                start = max(start - TAIL_BYTES, 0)
                file.seek(start)
                tail = file.read(size - start)
        tail = tail[tail.rfind(b"\n") + 1 :]
        if not tail:
            return
        try:
            if _is_complete(tail):
                with open(self.path, "ab") as file:
                    file.write(b"\n")
            else:
                os.truncate(self.path, size - len(tail))
        except OSError as problem:
            raise cannot_write(self.path, problem) from problem


def read_metrics(path: str | os.PathLike[str]) -> list[Record]:
    """All records of a log; a last line that was cut off is skipped.

    Raises: FormatError, with the line's number, for another line that is not a flat JSON object
    """
    return [record for _, _, record in _lines(path)]


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes, Record]]:
    """Yield each record with its number and its line, so that a long log need not fit in memory."""
    with open_regular(path) as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n") and not _is_complete(line):
                return
            line = line.removesuffix(b"\n")
            record = parse_json(line, f"{os.fspath(path)}: record {number}", max_depth=1)
            if not isinstance(record, dict):
                raise FormatError(f"{os.fspath(path)}: record {number}: must be a flat JSON object; got another value")
            yield number, line, record


def _is_complete(line: bytes) -> bool:
    """Whether the line is a complete record: only its last character, the closing brace, makes it an object."""
    try:
        return isinstance(parse_json(line, "last line", max_depth=1), dict)
    except FormatError:
        return False


def _is_step(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0


def _flat(record: Mapping[str, Any]) -> Record:
    flat: Record = {}
    for key, value in record.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if not isinstance(key, str) or not isinstance(plain, (str, int, float, bool, type(None))):
            got = f"{type(value).__name__} for {shown(key)}"
            raise DataError(f"a metrics record maps names to numbers, text or None; got {got}; flatten it")
        flat[key] = None if isinstance(plain, float) and not math.isfinite(plain) else plain
    if not _is_step(flat.get("step")):
        raise DataError(f"a metrics record must have a step, an integer from 0; got {shown(flat.get('step'))}; add one")
    return flat
