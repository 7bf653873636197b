"""The fields of a request's body, each checked as it is read."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from tinygrad_llm.errors import ConfigError

MAX_TEXT = 20_000  # characters of a field
MAX_LIST = 5_000  # entries of a list
MAX_NUMBER = 1_000_000_000


class FieldError(ConfigError):
    """A field of a body that is missing, unknown or of another kind; `field` is its name, "" for the body itself."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class Body:
    """A JSON object with some of the `known` fields.

    Raises: FieldError, from every method, for a field that is missing, unknown or of another kind
    """

    def __init__(self, name: str, known: Collection[str], fields: Any) -> None:
        if not isinstance(fields, dict):
            raise FieldError(f"{name}: the body must be a JSON object; got {_shown(fields)}")
        if unknown := sorted(fields.keys() - set(known)):
            raise FieldError(
                f"{name}: the fields are {', '.join(known) or 'none'}; got {_shown(unknown[0])}", unknown[0]
            )
        self.name, self._fields = name, fields

    def text(self, field: str, default: str | None = None, longest: int = MAX_TEXT) -> str:
        """A text; without `default` it must be there."""
        value = self.value(field, default)
        if not isinstance(value, str) or len(value) > longest:
            raise self.wrong(field, f"a text of at most {longest:,} characters", value)
        try:
            value.encode()
        except UnicodeEncodeError:
            raise self.wrong(field, "valid Unicode", value) from None
        return value

    def integer(self, field: str, default: int | None = None, low: int = 0, high: int = MAX_NUMBER) -> int:
        value = self.value(field, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.wrong(field, f"an integer in {low:,} to {high:,}", value)
        return value

    def number(self, field: str, default: float | None = None) -> float:
        value = self.value(field, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not _is_finite(value):
            raise self.wrong(field, "a finite number", value)
        return float(value)

    def flag(self, field: str) -> bool:
        """True or False, which is the default."""
        value = self.value(field, False)
        if not isinstance(value, bool):
            raise self.wrong(field, "true or false", value)
        return value

    def index(self, field: str) -> tuple[int, ...]:
        """The index of an element: a list of integers, one per axis."""
        value = self.list(field)
        if len(value) > 8 or any(not isinstance(i, int) or isinstance(i, bool) or not 0 <= i < 1 << 40 for i in value):
            raise self.wrong(field, "a list of at most 8 integers, one per axis", value)
        return tuple(value)

    def list(self, field: str, default: list[Any] | None = None, longest: int = MAX_LIST) -> list[Any]:
        value = self.value(field, default)
        if not isinstance(value, list) or len(value) > longest:
            raise self.wrong(field, f"a list of at most {longest:,} entries", value)
        return value

    def mapping(self, field: str) -> Mapping[str, Any]:
        value = self.value(field, {})
        if not isinstance(value, dict):
            raise self.wrong(field, "an object", value)
        return value

    def has(self, field: str) -> bool:
        """Whether the field is there and not null."""
        return self._fields.get(field) is not None

    def value(self, field: str, default: Any) -> Any:
        """A value of any kind; without a default it must be there."""
        value = self._fields.get(field)
        if value is None:
            if default is None:
                raise FieldError(f"{self.name}: {field} must be given", field)
            return default
        return value

    def wrong(self, field: str, expected: str, value: Any) -> FieldError:
        """The error for a field of another kind than `expected`."""
        return FieldError(f"{self.name}: {field} must be {expected}; got {_shown(value)}", field)


def _shown(value: Any) -> str:
    return ascii(value)[:100]


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the floats
        return False
