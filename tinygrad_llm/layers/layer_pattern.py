"""Patterns of layers: "5:1" is five layers of one kind, then one of another, repeated over the depth of a model.

"1:0" is the first kind everywhere.
"""

from __future__ import annotations

import re
from typing import Any

from tinygrad_llm.settings import Settings


def is_of_first_kind(pattern: str, layer: int) -> bool:
    """Whether a layer, from 0, is one of the first kind.

    >>> [is_of_first_kind("2:1", layer) for layer in range(6)]
    [True, True, False, True, True, False]
    """
    first, second = map(int, pattern.split(":"))
    return layer % (first + second) < first


def window_of_layer(settings: Any, layer: int) -> int | None:
    """The window of a layer, from 0, by the settings `window` and `window_pattern`; None where it has none."""
    pattern = settings.window_pattern
    return settings.window if pattern is None or is_of_first_kind(pattern, layer) else None


def expect_layer_pattern(settings: Settings, name: str, needs: str | None = None) -> None:
    """Refuse a setting that is no pattern of layers, has no room in the model, or lacks the setting that it `needs`.

    Raises: SettingError
    """
    pattern: str = getattr(settings, name)
    if not re.fullmatch(r"[1-9]\d{0,3}:\d{1,4}", pattern):
        raise settings.refusal(f"{{{name}}} must be two numbers of layers, such as 5:1", repr(pattern[:80]))
    if needs is not None and getattr(settings, needs) is None:
        raise settings.refusal(f"{{{name}}} needs {{{needs}}}", f"{pattern} without it")
    period, layers = sum(map(int, pattern.split(":"))), settings.num_layers  # type: ignore[attr-defined]
    if period > layers:
        raise settings.refusal(f"{{{name}}} must fit into {{num_layers}}", f"{period} layers and {layers}")
