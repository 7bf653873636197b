"""Find near-duplicates among the records of a file, and write the file without them."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_llm.data.files import read_json, read_jsonl, read_text
from tinygrad_llm.data.near_duplicates import NearDuplicate, near_duplicates
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.formats import atomic_write
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.study.formatting import format_count
from tinygrad_llm.terminal import escape_controls

QUESTION = ("instruction", "input")  # the fields that are compared where records have them
SHOWN = 20
LONGEST_SHOWN = 400  # characters of a text


@dataclass(frozen=True)
class Records:
    """The records of a file: what is compared of each, and how a selection of them is written.

    `pieces` are the records of a JSON list, or the lines of another file; `places[i]` is the piece of text i.
    """

    pieces: Sequence[Any]
    places: Sequence[int]
    texts: Sequence[str]
    compared: str
    is_list: bool
    unit: str

    def without(self, indices: set[int]) -> bytes:
        """The file without the texts of these numbers."""
        left_out = {self.places[index] for index in indices}
        kept = [piece for place, piece in enumerate(self.pieces) if place not in left_out]
        if self.is_list:
            return (json.dumps(kept, indent=4, ensure_ascii=False) + "\n").encode("utf-8", "surrogatepass")
        return "".join(kept).encode("utf-8", "surrogatepass")

    def place(self, index: int) -> int:
        """The number of a record in a JSON list, from 0, or of a line in another file, from 1."""
        return self.places[index] + (not self.is_list)

    def name(self, index: int) -> str:
        """`record 7` or `line 7`."""
        return f"{self.unit} {self.place(index)}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = (
        "Two texts are as similar as the sets of their groups of --ngram characters overlap, from 0 to 1, without case "
        "and punctuation. From the first record to the last, a record is a near-duplicate of the most similar one that "
        "is kept; 50,000 records of 180 characters take some 30 seconds of one core."
    )
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="a JSON list or JSON Lines (.jsonl) of records, such as instructions or preferences; else a text by lines",
    )
    parser.add_argument("--threshold", type=float, default=0.95, metavar="X", help="least similarity of a duplicate")
    parser.add_argument("--ngram", type=int, default=3, metavar="N", help="characters of the groups that are compared")
    parser.add_argument(
        "--fields",
        metavar="NAMES",
        help="fields of a record to compare, separated by commas (default: instruction,input; where there is no "
        "instruction, all that are text)",
    )
    parser.add_argument("--show", type=int, default=SHOWN, metavar="N", help="pairs to print, the most similar first")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a new file for the records without near-duplicates")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object for each pair, in order, all of them"
    )


def run(arguments: argparse.Namespace) -> int:
    if arguments.show < 0:
        raise ConfigError(f"--show must be at least 0; got {arguments.show}")
    out = arguments.out
    if out is not None and (out.exists() or out.is_symlink()):
        raise ConfigError(f"--out must be a new file, nothing is overwritten; {out} exists")
    if out is not None and not out.parent.is_dir():
        raise ConfigError(f"--out must be in a folder that exists; there is no {out.parent}")
    status = StatusLine()
    records = read_records(arguments.file, arguments.fields)

    def progress(done: int, total: int) -> None:
        status.renew(lambda: status.share("comparing", done, total))

    try:
        found = near_duplicates(records.texts, arguments.threshold, arguments.ngram, progress)
    except ConfigError as error:
        raise ConfigError(str(error).replace("near_duplicates: ", "--", 1)) from None
    status.clear()
    if arguments.json:
        for pair in found:
            places = {records.unit: records.place(pair.number), "kept": records.place(pair.kept)}
            print(json.dumps({**places, "similarity": round(pair.similarity, 6)}))
    else:
        _report(records, found, arguments, status)
    if out is not None:
        with atomic_write(out) as file:
            file.write(records.without({pair.number for pair in found}))
        if not arguments.json:
            status.say(f"{len(records.texts) - len(found):,} {records.unit}s without them, in {out}")
    return 0


def _report(
    records: Records, found: Sequence[NearDuplicate], arguments: argparse.Namespace, status: StatusLine
) -> None:
    status.say(f"{len(records.texts):,} {records.unit}s of {arguments.file}, compared by {records.compared}")
    count = format_count(len(found), "near-duplicate")
    equal = sum(pair.similarity == 1 for pair in found)
    status.say(
        f"{count}, of similarity {arguments.threshold:g} or more; {equal:,} of them differ in no group of "
        f"{arguments.ngram} characters"
    )
    ranked = sorted(found, key=lambda pair: (-pair.similarity, pair.number))
    for pair in ranked[: arguments.show]:
        status.say(f"{pair.similarity:.3f}  {records.name(pair.kept)}: {_shown(records.texts[pair.kept])}")
        status.say(f"       {records.name(pair.number)}: {_shown(records.texts[pair.number])}")
    if 0 < arguments.show < len(found):
        status.say(f"and {len(found) - arguments.show:,} more; --show {len(found)} shows all")


def _shown(text: str) -> str:
    words = " ".join(text.split())
    return escape_controls(words if len(words) <= LONGEST_SHOWN else f"{words[:LONGEST_SHOWN]} ...")


def read_records(path: Path, fields: str | None = None) -> Records:
    """The records of a file, and the text of each that is compared. Raises: DataError, ConfigError"""
    suffix = path.suffix.lower()
    if suffix == ".json":
        content = read_json(path)
        if not isinstance(content, list) or not content:
            raise DataError(f"{path}: must be a JSON list of at least one record; got {type(content).__name__}")
        names = _names(content[0], fields)
        texts = [_text_of(record, names, f"{path}, record {number}") for number, record in enumerate(content)]
        return Records(content, range(len(content)), texts, _compared(names), True, "record")
    lines = re.split(r"(?<=\n)", read_text(path))  # not splitlines(): JSON may hold U+2028 and its like
    places = [place for place, line in enumerate(lines) if line.strip()]
    if not places:
        raise DataError(f"{path}: must have at least one line that is not empty")
    if suffix != ".jsonl":
        if fields is not None:
            raise ConfigError(f"--fields is for records of JSON; {path} is read by lines")
        return Records(lines, places, [lines[place] for place in places], "their text", False, "line")
    found = read_jsonl(path)
    names = _names(found[0], fields)
    texts = [_text_of(record, names, f"{path}, line {place + 1}") for place, record in zip(places, found, strict=True)]
    return Records(lines, places, texts, _compared(names), False, "line")


def _names(record: Any, fields: str | None) -> tuple[str, ...]:
    """The fields to compare: those asked for, else those of a question; none for all that are text."""
    if fields is not None:
        names = tuple(name.strip() for name in fields.split(",") if name.strip())
        if not names:
            raise ConfigError(f"--fields must name a field; got {fields!r}")
        return names
    return QUESTION if isinstance(record, dict) and QUESTION[0] in record else ()


def _compared(names: Sequence[str]) -> str:
    return f"the fields {', '.join(names)}" if names else "their text"


def _text_of(record: Any, names: Sequence[str], where: str) -> str:
    """What is compared of a record. Raises: DataError"""
    if isinstance(record, str) and not names:
        return record
    if not isinstance(record, dict):
        raise DataError(f"{where}: must be an object with text; got {type(record).__name__}")
    if not names:
        texts = [value for value in record.values() if isinstance(value, str)]
        if not texts:
            raise DataError(f"{where}: must have a field that is text; --fields names those to compare")
        return "\n".join(texts)
    for name in names:
        value = record.get(name)
        if not isinstance(value, str) and not (value is None and name == "input"):
            got = f"{type(value).__name__}" if name in record else "no such field"
            raise DataError(f"{where}: {name!r} must be text; got {got}")
    return "\n".join(record.get(name) or "" for name in names)
