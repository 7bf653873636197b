"""Reading a tokenizer's definition field by field: each field has a type, and no field stays unread."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.formats.strict_json import shown

T = TypeVar("T")
REQUIRED: Any = object()  # the default of a field that must be there


class Fields:
    """One object of a definition; `where` is its place there, such as "pre_tokenizer.pretokenizers[1]".

    Raises: TokenizerError, naming the place, for a value that is no object
    """

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise TokenizerError(f"{where} must be an object; got {shown(value)}")
        self._unread = dict(value)
        self.where = where

    def raw(self, name: str, default: Any = REQUIRED) -> Any:
        """The value of a field, of any type; a field that is null counts as missing."""
        value = self._unread.pop(name, None)
        if value is not None:
            return value
        if default is REQUIRED:
            raise TokenizerError(f"{self.where} needs the field {name!r}")
        return default

    def flag(self, name: str, default: Any = REQUIRED) -> Any:
        """A field that is true or false."""
        return self._of_type(name, bool, "true or false", default)

    def text(self, name: str, default: Any = REQUIRED) -> Any:
        """A field that is a string."""
        return self._of_type(name, str, "a string", default)

    def character(self, name: str, default: Any = REQUIRED) -> Any:
        """A field that is a string of one character."""
        value = self.text(name, default)
        if value is not default and len(value) != 1:
            raise self.refusal(name, "one character", value)
        return value

    def count(self, name: str, default: Any = REQUIRED) -> Any:
        """A field that is an integer of at least 0."""
        value = self._of_type(name, int, "an integer", default)
        if value is not default and value < 0:
            raise self.refusal(name, "an integer of at least 0", value)
        return value

    def number(self, name: str, default: Any = REQUIRED) -> Any:
        """A field that is a number."""
        value = self.raw(name, default)
        if value is not default and type(value) not in (int, float):
            raise self.refusal(name, "a number", value)
        return value

    def items(self, name: str, default: Any = REQUIRED) -> Any:
        """A field that is a list."""
        return self._of_type(name, list, "a list", default)

    def strings(self, name: str, default: Any = REQUIRED) -> Any:
        """A field that is a list of strings."""
        value = self.items(name, default)
        wrong = next((item for item in value or () if not isinstance(item, str)), None)
        if wrong is not None:
            raise self.refusal(name, "a list of strings", wrong)
        return value

    def choice(self, name: str, choices: Mapping[str, T], default: Any = REQUIRED) -> T:
        """The meaning, in `choices`, of a field that is one of several words."""
        value = self.text(name, default)
        if value not in choices:
            raise self.refusal(name, f"one of {', '.join(choices)}", value)
        return choices[value]

    def ignore(self, *names: str) -> None:
        """Read fields that have no effect on ids, text or offsets, whatever their value."""
        for name in names:
            self._unread.pop(name, None)

    def expect_all_read(self) -> None:
        """Raises: TokenizerError for a field that nobody has read"""
        if self._unread:
            name, value = next(iter(self._unread.items()))
            raise TokenizerError(
                f"{self.where} has the field {shown(name)}: {shown(value):.100}, which is not supported"
            )

    def refusal(self, name: str, what: str, value: object) -> TokenizerError:
        """The error for a field that must be `what`."""
        return TokenizerError(f"{self.where}: {name!r} must be {what}; got {shown(value)}")

    def _of_type(self, name: str, kind: type, what: str, default: Any) -> Any:
        value = self.raw(name, default)
        if value is not default and type(value) is not kind:
            raise self.refusal(name, what, value)
        return value


def read_stage(value: object, where: str, kinds: Mapping[str, Callable[[Fields], T]]) -> T:
    """The stage that an object with a `type` describes; `kinds` maps each type to the function that reads it.

    Raises: TokenizerError for an unknown type or field
    """
    fields = Fields(value, where)
    kind = fields.text("type")
    if kind not in kinds:
        raise TokenizerError(f"{where}: the type {shown(kind)} is not supported; supported are {', '.join(kinds)}")
    stage = kinds[kind](fields)
    fields.expect_all_read()
    return stage


def read_stages(
    fields: Fields, name: str, kinds: Mapping[str, Callable[[Fields], T]], flat: Callable[[T], list[T]]
) -> list[T]:
    """The stages of a Sequence, in the list `name`; `flat` opens those that are sequences themselves."""
    items = fields.items(name)
    return [
        stage
        for index, item in enumerate(items)
        for stage in flat(read_stage(item, f"{fields.where}.{name}[{index}]", kinds))
    ]
