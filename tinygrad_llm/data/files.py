"""Reading unchecked data files: for any content, either a value or a DataError that says what to do."""

import codecs
import csv
import glob
import io
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError, DataError, FormatError
from tinygrad_llm.formats import open_regular, parse_json

TEXT_SUFFIXES = frozenset({".txt", ".text", ".md", ".rst"})
BLOCK_BYTES = 1 << 20  # of a file, read at a time
# A text may begin with a byte order mark, which names its encoding and is not part of the text. Longest first.
BYTE_ORDER_MARKS = {
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}

AnyPath = str | os.PathLike[str]


def read_text(path: AnyPath) -> str:
    """The text of a UTF-8 file, or of a UTF-16 or UTF-32 file with a byte order mark; line ends are unchanged.

    Raises: DataError if there is no such file, or it is empty, too large for memory, in another encoding, or not text
    """
    try:
        return "".join(read_blocks(path))
    except MemoryError:
        raise DataError(f"{_name(path)} must fit in memory; it does not: split it") from None


def read_blocks(path: AnyPath, size: int = BLOCK_BYTES) -> Iterator[str]:
    """The text of `read_text`, in blocks of about `size` bytes: memory never holds more than one.

    Raises: DataError as `read_text`, when the faulty block is reached
    """
    done, first, empty = 0, True, True
    try:
        with open_regular(path, error=DataError) as file:
            encoding = _encoding(file.peek(4))
            decoder = codecs.getincrementaldecoder(encoding)()
            raw = file.read(size)
            while True:
                pending = len(decoder.getstate()[0])  # the first bytes of a character that ends in `raw`
                try:
                    text = decoder.decode(raw, final=not raw)
                except UnicodeDecodeError as error:
                    raise _not_text(path, encoding, error, done - pending) from None
                if "\0" in text:
                    raise DataError(f"{_name(path)} must be text; it has a NUL character{_utf16_advice(raw, path)}")
                done += len(raw)
                if text and first:
                    text, first = text.removeprefix("\ufeff"), False  # UTF-8's byte order mark
                if text:
                    empty = False
                    yield text
                if not raw:
                    break
                raw = file.read(size)
    except TypeError:
        raise DataError(f"a file's name must be a str or a path; got {type(path).__name__}") from None
    if empty:
        raise DataError(f"{_name(path)} must hold text; the file is empty")


def _encoding(start: bytes) -> str:
    """The encoding that the byte order mark names, else UTF-8."""
    return next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if start.startswith(mark)), "UTF-8")


def _not_text(path: AnyPath, encoding: str, error: UnicodeDecodeError, offset: int) -> DataError:
    """The error for bytes that are not in `encoding`; `offset` counts the bytes before those of `error`."""
    if encoding == "UTF-8":
        return DataError(
            f"{_name(path)} must be UTF-8; byte {offset + error.start} is 0x{error.object[error.start]:02x} "
            f"({error.reason}): save it as UTF-8, or convert it from its own encoding with `iconv -f ENCODING -t UTF-8`"
        )
    return DataError(
        f"{_name(path)} must be {encoding}, as its byte order mark says; near byte {max(offset + error.start, 0)} it "
        f"is not ({error.reason})"
    )


def _utf16_advice(raw: bytes, path: AnyPath) -> str:
    """How to convert a file that is UTF-16 without a byte order mark; empty for other files."""
    for encoding, high, low in (("UTF-16LE", raw[1::2], raw[0::2]), ("UTF-16BE", raw[0::2], raw[1::2])):
        if len(raw) >= 8 and high.count(0) > 0.4 * len(high) and low.count(0) < 0.1 * len(low):
            return f", as in {encoding}: convert it with `iconv -f {encoding} -t UTF-8 {_name(path)}`"
    return ": it looks like a binary file"


def expand_paths(data: AnyPath) -> list[Path]:
    """The files of a name, sorted: a file, the text files of a folder, or the matches of a glob like `books/**/*.txt`.

    The text files of a folder are those that end in .txt, .text, .md or .rst, at any depth, hidden ones left out.

    Raises: DataError if nothing is found
    """
    name = _name(data)
    try:
        path = Path(data)
        if path.is_file():
            return [path]
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if _is_text_file(p, path))
            hint = f"put {', '.join(sorted(TEXT_SUFFIXES))} files there, or name others by a glob: '{name}/**/*.py'"
        elif os.path.lexists(path):
            raise DataError(f"{name} must name a file, a folder or a glob; it is a pipe, a device or a broken link")
        else:
            found = sorted(Path(match) for match in glob.glob(str(data), recursive=True))
            found = [match for match in found if match.is_file()]
            hint = "check the spelling and the folder you are in"
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{name} must name a file, a folder or a glob; {_reason(error)}") from error
    if not found:
        raise DataError(f"{name} must name at least one file; found none: {hint}")
    return found


def read_rows(path: AnyPath, delimiter: str | None = None, say: Callable[[str], None] | None = None) -> list[list[str]]:
    """The rows of a CSV or TSV file with quoted fields (RFC 4180); blank lines are left out.

    The delimiter is a tab for .tsv and .tab files and a comma for others, unless given. A quoted field may hold line
    ends, so that several lines become one row; `say` receives a message about how many lines became how many rows.

    Raises: DataError for what `read_text` refuses, a quote that is never closed, or a field of more than 131,072
            characters; ConfigError for a delimiter that is not one character
    """
    if delimiter is None:
        delimiter = "\t" if str(path).lower().endswith((".tsv", ".tab")) else ","
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '\r\n" \0':
        raise ConfigError(f"read_rows: delimiter must be one character such as ',' or a tab; got {delimiter!r}")
    text = read_text(path)
    end = f"end{delimiter}end"  # an extra last line: it becomes part of a quoted field that is never closed
    reader = csv.reader(itertools.chain(io.StringIO(text, newline=""), ["\n", end]), delimiter=delimiter)
    rows, row, begin, start_of_last = [], [""], 1, 1
    try:
        for row in reader:
            if row:
                rows.append(row)
            begin, start_of_last = reader.line_num + 1, begin
    except csv.Error as error:
        raise DataError(
            f"{_name(path)} must be rows of fields; line {reader.line_num}: {error}: look for an unclosed quote"
        ) from error
    if row != ["end", "end"]:
        raise DataError(f"{_name(path)} must close every quote; the quote in line {start_of_last} is never closed")
    rows.pop()
    if not rows:
        raise DataError(f"{_name(path)} must hold at least one row; got only blank lines")
    lines = sum(not line.isspace() for line in io.StringIO(text, newline=""))
    if say is not None and lines != len(rows):
        say(f"{_name(path)}: {lines:,} lines became {len(rows):,} rows: quoted fields hold line ends")
    return rows


def read_json(path: AnyPath) -> Any:
    """The value in a JSON file, parsed strictly (RFC 8259).

    Raises: DataError for what `read_text` and `formats.parse_json` refuse, naming line and column
    """
    return _parse_json(read_text(path), _name(path))


def read_jsonl(path: AnyPath) -> list[Any]:
    """The values of a JSON Lines file, one per line, blank lines left out; as strict as `read_json`.

    Raises: DataError, naming the line
    """
    return [value for _, value in read_jsonl_lines(path)]


def read_jsonl_lines(path: AnyPath) -> list[tuple[int, Any]]:
    """The values of `read_jsonl`, each with the number of its line, from 1. Raises: DataError, naming the line"""
    name = _name(path)
    # Not splitlines(): a string may hold U+2028 and its like unescaped.
    lines = enumerate(read_text(path).split("\n"), 1)
    values = [(number, _parse_json(line, name, number)) for number, line in lines if line.strip()]
    if not values:
        raise DataError(f"{name} must hold at least one JSON value; got only blank lines")
    return values


def _is_text_file(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return not hidden and path.suffix.lower() in TEXT_SUFFIXES and path.is_file()


def _parse_json(text: str, name: str, first_line: int = 1) -> Any:
    try:
        return parse_json(text.encode(), name, first_line=first_line)
    except FormatError as error:
        raise DataError(str(error)) from None


def _name(path: Any) -> str:
    """The path for a message, on one line and at most 200 characters."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    shown = text if isinstance(text, str) and text.isprintable() and text else repr(text)
    return shown if len(shown) <= 200 else f"{shown[:100]}...{shown[-97:]}"


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
