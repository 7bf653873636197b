"""Reading JSON that strangers wrote: one object, no duplicate keys, no NaN, and one kind of error."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from tinygrad_llm.errors import FormatError


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The content of a file.

    Raises: FormatError if it cannot be read
    """
    try:
        special = Path(path).exists() and not Path(path).is_file()
        content = b"" if special else Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        raise FormatError(f"{path}: cannot be read: {error}") from None
    if special:  # a device may have no end
        raise FormatError(f"{path}: must be a file; it is a folder or a device")
    return content


def read_json_object(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The one JSON object that a UTF-8 file holds.

    Raises: FormatError for anything else, naming the file and the place
    """
    content = read_bytes(path)

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON number")

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            (twice, _), = Counter(key for key, _ in pairs).most_common(1)
            raise ValueError(f"the key {twice!r} occurs twice")
        return found

    try:
        value = json.loads(content.decode("utf-8"), parse_constant=refuse_constant, object_pairs_hook=refuse_duplicates)
    except (ValueError, RecursionError) as error:  # ValueError: also not UTF-8, and integers of thousands of digits
        raise FormatError(f"{path}: must hold one JSON object in UTF-8; {error}") from None
    if not isinstance(value, dict):
        raise FormatError(f"{path}: must hold one JSON object; got {type(value).__name__}")
    return value
