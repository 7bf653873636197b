"""Settings: dataclasses whose fields state their range, choices, unit and help where they are declared.

    @dataclass(frozen=True)
    class WalkSettings(Settings):
        steps: int = setting(600, "steps of the walk", least=0, unit="steps")
        speed: float = setting(1.5, "metres per second", above=0, most="top_speed")
        top_speed: float = setting(2.0, "never faster", above=0)

    WalkSettings(steps=-1)   # SettingError: WalkSettings: steps must be an integer of at least 0; got -1

`Settings` reads those declarations and nothing else: it checks every field when an object is made, and turns it into a
dict and back. The command line reads the same declarations for its flags and their help (`cli/flags.py`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from numbers import Integral, Real
from operator import ge, gt, le, lt
from typing import Any, Self

from tinygrad_llm.errors import ConfigError

Bound = float | str  # a number, or the name of another setting of the same class


class SettingError(ConfigError):
    """A setting outside its allowed range, or settings that exclude each other.

    `message` holds the names of settings as `{name}`: `str(error)` writes them as Python does, after the name of their
    class, and `with_names(as_flag)` as the command line does. `got` is what came instead.
    """

    def __init__(self, owner: str, message: str, got: str = "") -> None:
        self.owner, self.message, self.got = owner, message, got
        super().__init__(f"{owner}: {self.with_names(str)}")

    def with_names(self, written: Callable[[str], str]) -> str:
        """The message with each setting's name as `written(name)`."""
        message = re.sub(r"\{(\w+)\}", lambda found: written(found[1]), self.message)
        return f"{message}; got {self.got}" if self.got else message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.owner, self.message, self.got)


@dataclass(frozen=True)
class Declaration:
    """What `setting` says of a field.

    `least <= value <= most` and `above < value < below`, each a number or the name of another setting; `multiple_of`
    names another setting. Such relations hold only where the setting `unless` is None. `choices` are the texts allowed.
    `noun` replaces "number" in an error, as in "a probability in [0, 1)"; `unit` and `metavar` are for the help.
    """

    help: str = ""
    least: Bound | None = None
    above: Bound | None = None
    most: Bound | None = None
    below: Bound | None = None
    multiple_of: str | None = None
    unless: str | None = None
    choices: tuple[str, ...] = ()
    noun: str = "number"
    unit: str = ""
    metavar: str = ""

    def contains(self, value: Any) -> bool:
        """Whether a value lies within the ends that are numbers."""
        ends = ((self.least, ge), (self.above, gt), (self.most, le), (self.below, lt))
        return all(holds(value, end) for end, holds in ends if isinstance(end, int | float))

    def interval(self) -> str:
        """The range in mathematical notation where it has two numbers for ends, else in words; "" for none."""
        ends = (self.least, self.above, self.most, self.below)
        if len(numbers := [end for end in ends if isinstance(end, int | float)]) == 2 and ends.count(None) == 2:
            opening, closing = "[" if self.above is None else "(", "]" if self.below is None else ")"
            return f"in {opening}{numbers[0]}, {numbers[1]}{closing}"
        words = zip(("of at least", "above", "of at most", "below"), ends, strict=True)
        shown = ((word, f"{{{end}}}" if isinstance(end, str) else end) for word, end in words if end is not None)
        return " and ".join(f"{word} {end}" for word, end in shown)


def setting(default: Any = MISSING, help: str = "", **declared: Any) -> Any:
    """A field of a `Settings` class, declared as in `Declaration`. Without `default` the field is required."""
    return dataclasses.field(default=default, metadata={"setting": Declaration(help, **declared)})


def setting_of(settings: type[Settings], name: str, default: Any, **changes: Any) -> Any:
    """A field declared as the field `name` of another class, apart from its default and `changes`."""
    declared = dataclasses.replace(declaration(settings.__dataclass_fields__[name]), **changes)
    return dataclasses.field(default=default, metadata={"setting": declared})


def declaration(field: dataclasses.Field[Any]) -> Declaration:
    """What `setting` said of a field; nothing for a field that was declared without it."""
    declared: Declaration = field.metadata.get("setting", Declaration())
    return declared


@dataclass(frozen=True)
class Settings:
    """Base class of settings: every field is checked against its type and its `setting` when the object is made.

    Fields are of type int, int | str (a number or one of the choices), float, bool, str, tuple[X, ...] or Mapping, or
    one of these `| None`; others are not checked. A field holds exactly its type afterwards: NumPy's numbers become
    Python's, lists become tuples.

    Raises: SettingError, a ConfigError, naming the setting
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, self._checked(field, getattr(self, field.name)))
        for field in dataclasses.fields(self):
            self._expect_relations(field)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """The object with these settings, the others at their defaults.

        Raises: SettingError for a name that is unknown, or one that is missing and has no default
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        if unknown := [name for name in settings if name not in fields]:
            known = ", ".join(f"{{{name}}}" for name in fields)
            raise cls.refusal(f"known settings are {known}", ", ".join(str(name)[:80] for name in unknown[:5]))
        needed = [name for name, field in fields.items() if field.default is field.default_factory is MISSING]
        if missing := [f"{{{name}}}" for name in needed if name not in settings]:
            raise cls.refusal(f"{', '.join(missing)} must be given")
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """The settings by name, as `from_dict` takes them."""
        return dataclasses.asdict(self)

    @classmethod
    def refusal(cls, message: str, got: str = "") -> SettingError:
        """The error for settings that do not fit; names of settings stand in `message` as `{name}`."""
        return SettingError(cls.__name__, message, got)

    @classmethod
    def _checked(cls, field: dataclasses.Field[Any], value: Any) -> Any:
        if value is None and _is_nullable(cls, field.name):
            return None
        try:
            return _converted(kind_of(cls, field.name), declaration(field), value)
        except _Unfit as unfit:
            raise cls.refusal(f"{{{field.name}}} must be {unfit}", _briefly(value)) from None

    def _expect_relations(self, field: dataclasses.Field[Any]) -> None:
        """Check the bounds that are other settings of this object."""
        declared, value = declaration(field), getattr(self, field.name)
        if declared.unless is not None and getattr(self, declared.unless) is not None:
            return
        relations: list[tuple[str, Any, Callable[[Any, Any], bool]]] = [
            ("at least", declared.least, ge),
            ("above", declared.above, gt),
            ("at most", declared.most, le),
            ("below", declared.below, lt),
            ("a multiple of", declared.multiple_of, lambda a, b: a % b == 0),
        ]
        for words, name, holds in relations:
            if isinstance(name, str) and None not in (value, other := getattr(self, name)) and not holds(value, other):
                raise self.refusal(f"{{{field.name}}} must be {words} {{{name}}}", f"{value} and {other}")


class _Unfit(Exception):
    """Its text says what the value must be."""


def _converted(kind: Any, declared: Declaration, value: Any) -> Any:
    """`value` as a `kind`. Raises _Unfit."""
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, tuple | list):
            raise _Unfit("a tuple or a list")
        return tuple(_converted(typing.get_args(kind)[0], declared, element) for element in value)
    if kind == int | str and isinstance(value, str) and value in declared.choices:  # a word in place of a number
        return value
    if declared.choices and kind is str:
        if not isinstance(value, str) or value not in declared.choices:
            raise _Unfit(f"one of {', '.join(declared.choices)}")
        return value
    if kind is bool and not isinstance(value, bool):
        raise _Unfit("true or false")
    if kind is str and not isinstance(value, str):
        raise _Unfit("text")
    if kind in (int, int | str):
        if not isinstance(value, Integral) or isinstance(value, bool) or not declared.contains(value):
            raise _Unfit(f"an integer {' or '.join([declared.interval(), *declared.choices])}".rstrip())
        return int(value)
    if kind is float:
        if not isinstance(value, Real) or isinstance(value, bool) or not _finite(value) or not declared.contains(value):
            interval = declared.interval()
            finite = "" if interval.startswith("in ") else "finite "
            raise _Unfit(f"a {finite}{declared.noun} {interval}".rstrip())
        return float(value)
    if typing.get_origin(kind) in (Mapping, dict) and not isinstance(value, Mapping):
        raise _Unfit("a mapping of names to values")
    return value


def _finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of a float
        return False


def _briefly(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


@functools.cache
def _hints(settings: type[Settings]) -> dict[str, Any]:
    return typing.get_type_hints(settings)


def kind_of(settings: type[Settings], name: str) -> Any:
    """The type of a field, without `| None`; str for a Literal, whose texts are the setting's choices."""
    hint = _hints(settings)[name]  # type: ignore[arg-type]  # mypy takes a dataclass for unhashable
    kinds = {type(kind) if isinstance(kind, str) else kind for kind in typing.get_args(hint)} - {type(None)}
    return kinds.pop() if typing.get_origin(hint) in (types.UnionType, typing.Literal) and len(kinds) == 1 else hint


def _is_nullable(settings: type[Settings], name: str) -> bool:
    return type(None) in typing.get_args(_hints(settings)[name])  # type: ignore[arg-type]
