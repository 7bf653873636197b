"""Reading data files that nobody has checked: whatever is in them, a value comes back or a DataError that helps."""

import codecs
import csv
import glob
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError, DataError, FormatError
from tinygrad_llm.formats import open_regular, parse_json

TEXT_SUFFIXES = frozenset({".txt", ".text", ".md", ".rst"})
BLOCK_BYTES = 1 << 20  # of a file, read at a time
BYTE_ORDER_MARK = "\ufeff"  # some editors put it before UTF-8; it is no part of the text

AnyPath = str | os.PathLike[str]


def read_text(path: AnyPath) -> str:
    """The text of a UTF-8 file, without a byte order mark, its line ends as they are.

    Raises: DataError if there is no such file, or it is empty, too large for the memory, or not UTF-8
    """
    try:
        return "".join(read_blocks(path))
    except MemoryError:
        raise DataError(f"{_name(path)} must fit in memory; it does not: split it") from None


def read_blocks(path: AnyPath, size: int = BLOCK_BYTES) -> Iterator[str]:
    """The text of `read_text`, in blocks of about `size` bytes: memory never holds more than one.

    Raises: DataError as `read_text`, when the place is reached
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    taken, first, empty = 0, True, True
    try:
        with open_regular(path, error=DataError) as file:
            while True:
                raw = file.read(size)
                waiting = len(decoder.getstate()[0])  # the first bytes of a character whose last are in `raw`
                try:
                    text = decoder.decode(raw, final=not raw)
                except UnicodeDecodeError as error:
                    raise DataError(
                        f"{_name(path)} must be UTF-8; byte {taken - waiting + error.start} is "
                        f"0x{error.object[error.start]:02x} ({error.reason}): convert it, for example with "
                        "`iconv -f WINDOWS-1252 -t UTF-8`"
                    ) from None
                taken += len(raw)
                if text and first:
                    text, first = text.removeprefix(BYTE_ORDER_MARK), False
                if text:
                    empty = False
                    yield text
                if not raw:
                    break
    except TypeError:
        raise DataError(f"a file's name must be a str or a path; got {type(path).__name__}") from None
    if empty:
        raise DataError(f"{_name(path)} must hold text; the file is empty")


def expand_paths(data: AnyPath) -> list[Path]:
    """The files meant by the name of a file, of a folder, or by a glob such as `books/**/*.txt`, sorted.

    A folder stands for the text files (.txt, .text, .md, .rst) at any depth in it, hidden ones left out.

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


def read_rows(path: AnyPath, delimiter: str | None = None) -> list[list[str]]:
    """The rows of a CSV or TSV file, quotes understood (RFC 4180), blank lines left out.

    The delimiter is a tab for .tsv and .tab files and a comma for others, unless given.

    Raises: DataError for what `read_text` refuses, NUL characters, or a field of more than 131,072 characters (which
    an unclosed quote makes); ConfigError for a delimiter that is not one character
    """
    if delimiter is None:
        delimiter = "\t" if str(path).lower().endswith((".tsv", ".tab")) else ","
    if not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '\r\n" \0':
        raise ConfigError(f"read_rows: delimiter must be one character such as ',' or a tab; got {delimiter!r}")
    text = read_text(path)
    if "\0" in text:
        raise DataError(f"{_name(path)} must be text; got a NUL character at place {text.index(chr(0))}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        rows = [row for row in reader if row]
    except csv.Error as error:
        raise DataError(
            f"{_name(path)} must be rows of fields; line {reader.line_num}: {error}: look for an unclosed quote"
        ) from error
    if not rows:
        raise DataError(f"{_name(path)} must hold at least one row; got only blank lines")
    return rows


def read_json(path: AnyPath) -> Any:
    """The value in a JSON file, read strictly (RFC 8259).

    Raises: DataError for what `read_text` and `formats.parse_json` refuse, naming line and column
    """
    return _parse_json(read_text(path), _name(path))


def read_jsonl(path: AnyPath) -> list[Any]:
    """The values of a JSON Lines file, one per line, blank lines left out; as strict as `read_json`.

    Raises: DataError, naming the line
    """
    name = _name(path)
    # Not splitlines(): a string may hold U+2028 and its like unescaped.
    lines = enumerate(read_text(path).split("\n"), 1)
    values = [_parse_json(line, name, number) for number, line in lines if line.strip()]
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
    """The path for a message, on one line whatever it holds."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    return text if isinstance(text, str) and text.isprintable() and text else repr(text)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
