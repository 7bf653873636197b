"""The base class of settings: what a declaration says is checked, shown and turned into a dict and back."""

from __future__ import annotations

import dataclasses
import math
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pytest

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.settings import SettingError, Settings, declaration, kind_of, setting, setting_of


@dataclass(frozen=True)
class Walk(Settings):
    name: str = setting(help="required")
    steps: int = setting(600, "steps of the walk", least=1, unit="steps")
    seed: int = setting(0, "seed", least=0, below=2**32)
    speed: float = setting(1.5, "metres per second", above=0, most="top_speed")
    top_speed: float = setting(2.0, "never faster", above=0)
    rain: float = setting(0.1, "chance of rain", least=0, below=1, noun="probability")
    width: int = setting(8, "of the path", least=1, multiple_of="lanes")
    lanes: int | None = setting(4, "side by side", least=1)
    shoes: str = setting("boots", "on the feet", choices=("boots", "none"))
    gait: Literal["walk", "run"] = setting("walk", "how the feet move", choices=("walk", "run"))
    dog: bool = setting(False, "comes along")
    stops: tuple[str, ...] = ()
    notes: Mapping[str, Any] | None = None
    anything: Any = None


def walk(**settings: Any) -> Walk:
    return Walk(**{"name": "home", **settings})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": 3}, "name must be text; got 3"),
        ({"steps": 0}, "steps must be an integer of at least 1; got 0"),
        ({"steps": 1.0}, "steps must be an integer of at least 1; got 1.0"),
        ({"steps": True}, "steps must be an integer of at least 1; got True"),
        ({"steps": None}, "steps must be an integer of at least 1; got None"),
        ({"seed": 2**32}, "seed must be an integer in [0, 4294967296); got 4294967296"),
        ({"speed": 0}, "speed must be a finite number above 0 and of at most top_speed; got 0"),
        ({"speed": math.nan}, "speed must be a finite number above 0 and of at most top_speed; got nan"),
        ({"top_speed": 10**400}, "top_speed must be a finite number above 0; got 1000"),
        ({"speed": 3}, "speed must be at most top_speed; got 3.0 and 2.0"),
        ({"rain": 1.0}, "rain must be a probability in [0, 1); got 1.0"),
        ({"rain": 1j}, "rain must be a probability in [0, 1); got 1j"),
        ({"width": 10}, "width must be a multiple of lanes; got 10 and 4"),
        ({"lanes": 0}, "lanes must be an integer of at least 1; got 0"),
        ({"shoes": "socks"}, "shoes must be one of boots, none; got 'socks'"),
        ({"gait": "fly"}, "gait must be one of walk, run; got 'fly'"),
        ({"shoes": ["boots"]}, "shoes must be one of boots, none; got ['boots']"),
        ({"dog": 1}, "dog must be true or false; got 1"),
        ({"stops": "inn"}, "stops must be a tuple or a list; got 'inn'"),
        ({"stops": ["inn", 3]}, "stops must be text; got ['inn', 3]"),
        ({"notes": 3}, "notes must be a mapping of names to values; got 3"),
    ],
)
def test_each_setting_out_of_its_range_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError) as caught:
        walk(**settings)
    assert str(caught.value).startswith(f"Walk: {message}")


def test_values_hold_exactly_the_declared_type() -> None:
    made = walk(steps=np.int64(5), speed=np.float32(0.5), rain=0, stops=["inn", "lake"], lanes=None, width=10)
    assert made == walk(steps=5, speed=0.5, rain=0.0, stops=("inn", "lake"), lanes=None, width=10)
    assert [type(made.steps), type(made.speed), type(made.rain)] == [int, float, float]


def test_replacing_a_setting_checks_again() -> None:
    with pytest.raises(SettingError, match="steps"):
        dataclasses.replace(walk(), steps=-1)


def test_to_a_dict_and_back() -> None:
    made = walk(steps=3, stops=("inn",), notes={"dry": True})
    assert Walk.from_dict(made.to_dict()) == made


def test_unknown_and_missing_settings_are_named() -> None:
    with pytest.raises(SettingError, match=r"Walk: known settings are name, steps, .*anything; got pace"):
        Walk.from_dict({"name": "home", "pace": 3})
    with pytest.raises(SettingError, match="Walk: name must be given"):
        Walk.from_dict({})


def test_an_error_can_name_its_settings_as_flags() -> None:
    def as_flag(name: str) -> str:
        return f"--{name.replace('_', '-')}"

    with pytest.raises(ConfigError) as caught:
        walk(speed=3)
    assert isinstance(caught.value, SettingError)
    assert caught.value.with_names(as_flag) == "--speed must be at most --top-speed; got 3.0 and 2.0"
    with pytest.raises(SettingError) as caught:
        walk(speed="{steps}")
    assert "got '{steps}'" in caught.value.with_names(as_flag)  # a value is no name
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.with_names(as_flag)) == (str(caught.value), caught.value.with_names(as_flag))


def test_a_setting_declared_as_another_differs_in_its_default_only() -> None:
    @dataclass(frozen=True)
    class March(Settings):
        steps: int = setting_of(Walk, "steps", 9)
        rain: float = setting_of(Walk, "rain", 0.0, help="chance of mud")

    assert March() == March(9, 0.0)
    assert declaration(March.__dataclass_fields__["steps"]) == declaration(Walk.__dataclass_fields__["steps"])
    assert declaration(March.__dataclass_fields__["rain"]).help == "chance of mud"
    with pytest.raises(SettingError, match="March: steps must be an integer of at least 1; got 0"):
        March(steps=0)


def test_the_type_of_a_field_is_known_without_none() -> None:
    assert [kind_of(Walk, name) for name in ("steps", "lanes", "dog", "anything")] == [int, int, bool, Any]


def test_a_field_without_a_declaration_is_checked_by_its_type() -> None:
    @dataclass(frozen=True)
    class Bare(Settings):
        count: int = 3
        share: float = 0.5

    with pytest.raises(SettingError, match="count must be an integer; got 'x'"):
        Bare(count="x")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="share must be a finite number; got inf"):
        Bare(share=math.inf)
