"""The number of BLAS threads of a command, set before NumPy is loaded: BLAS reads it then, and once.

This file loads no NumPy, and reads the command line before it is parsed: parsing needs the settings of the models.
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.train.parallel.blas_threads import chosen_by_user, limit_by_environment, threads_of_each
from tinygrad_llm.train.parallel.launch import find_launch

ALWAYS_TRAIN = ("train", "search", "speedrun", "reinforce", "bench")  # other commands train with a second word


def limit_blas_threads(words: Sequence[str]) -> bool:
    """Give BLAS one thread where workers, or threads of this package, share the work.

    Where `--workers` is given, it is the cores divided by workers. A run that is continued gets the number that it had,
    so that its bits stay the same. A user's own setting stays, as does BLAS's default with `--workers 1`.

    Returns whether threads should share the products of the command: those that train no run, the lab among them.
    """
    command = [word for word in words if not word.startswith("-")][:2]
    if not command or "numpy" in sys.modules or chosen_by_user():
        return False
    if command[0] not in ALWAYS_TRAIN and command[1:] != ["train"]:
        limit_by_environment(1)
        return True
    workers = _value_of("--workers", words)
    continued = command[0] == "speedrun" or any(_is_flag(word, "--resume") for word in words)
    if workers is None and continued:
        threads = _recorded_threads(Path(_value_of("--out", words) or _default_folder(command[0])))
    elif workers is not None and workers.isdecimal() and int(workers) > 0:
        threads = None if int(workers) == 1 else threads_of_each(int(workers) * _processes_here())
    else:
        threads = 1
    if threads:
        limit_by_environment(threads)
    return False


def _value_of(flag: str, words: Sequence[str]) -> str | None:
    """The last value of a flag, in either spelling; if it is not given, that in the file of --config."""
    values = []
    for word, after in itertools.pairwise([*words, ""]):
        name, sign, value = word.partition("=")
        if _is_flag(name, flag):
            values.append(value if sign else after)
    if not values and flag != "--config" and (path := _value_of("--config", words)):
        found = _settings_in(path).get(flag.removeprefix("--"))
        return None if found is None else str(found)
    return values[-1] if values else None


def _is_flag(word: str, flag: str) -> bool:
    """Whether a word is the flag or short for it. One that is short for several flags is refused when it is parsed."""
    return len(word) > len("--") and flag.startswith(word)


def _settings_in(path: str) -> dict[str, Any]:
    """The settings in a TOML file; none of one that cannot be read, which ends the command when it is parsed."""
    import tomllib  # takes a tenth of the start of a command, and few have a file

    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def _default_folder(command: str) -> str:
    return "runs/gpt" if command == "train" else f"runs/{command}"


def _recorded_threads(out: Path) -> int | None:
    """The number of BLAS threads that the newest checkpoint of a run records, or one of the runs in the folder of a
    search or a speedrun; None for BLAS's default.
    """
    try:
        newest = max(
            path for runs in ("", "*/", "size/*/") for path in out.glob(f"{runs}checkpoints/step-*/state.json")
        )
        environment: Any = json.loads(newest.read_text("utf-8"))["environment"]
        found = re.search(r"OPENBLAS_NUM_THREADS=(\d+)", environment["threads"])
    except (ValueError, OSError, KeyError, TypeError):  # no checkpoint yet
        return 1
    return int(found[1]) if found else None


def _processes_here() -> int:
    launch = find_launch()
    return 1 if launch is None else launch.size
