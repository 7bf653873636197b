"""Faults of the machine inside a training process; Python imports this file at start if its folder is in PYTHONPATH.

SOAK_SLOW_DISK=SECONDS delays each flush, rename and removal by up to so many seconds. SOAK_CLOCK=SEED makes the wall
clock jump back and forth by up to a day, and the monotonic clock forward by up to a minute, as after suspending.
"""

import os
import random
import time
from collections.abc import Callable
from typing import Any


def delayed(call: Callable[..., Any], seconds: float, dice: random.Random) -> Callable[..., Any]:
    def slow(*args: Any, **kwargs: Any) -> Any:
        sleep(dice.uniform(0, seconds))
        return call(*args, **kwargs)

    return slow


def jumping(clock: Callable[[], float], dice: random.Random, back: float, forth: float) -> Callable[[], float]:
    offset = 0.0

    def read() -> float:
        nonlocal offset
        if dice.random() < 0.2:
            offset += dice.uniform(-back, forth)
        return clock() + offset

    return read


sleep = time.sleep
if seconds := float(os.environ.get("SOAK_SLOW_DISK", 0)):
    for name in ("fsync", "replace", "rename", "link", "unlink"):
        setattr(os, name, delayed(getattr(os, name), seconds, random.Random(name)))
if seed := os.environ.get("SOAK_CLOCK"):
    time.time = jumping(time.time, random.Random(seed), 86400, 86400)
    time.monotonic = jumping(time.monotonic, random.Random(seed), 0, 60)
