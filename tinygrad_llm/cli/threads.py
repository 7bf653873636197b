"""The number of BLAS threads of a command that trains, set before NumPy is loaded: BLAS reads it then, and once.

This file loads no NumPy, and reads the command line before it is parsed: parsing needs the settings of the models.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tinygrad_llm.train.parallel.blas_threads import SET_HERE, chosen_by_user, threads_of_each
from tinygrad_llm.train.parallel.launch import find_launch

ALWAYS_TRAIN = ("train", "search", "speedrun", "reinforce", "bench")  # other commands train with a second word


def limit_blas_threads(words: Sequence[str]) -> None:
    """One thread where workers share the work by default; cores divided by workers where `--workers` is given.

    A resumed run gets the number that it had, so that its bits stay the same. A user's own setting stays, as does
    BLAS's default with `--workers 1`. Other commands are left alone.
    """
    command = [word for word in words if not word.startswith("-")][:2]
    trains = command[:1] in ([name] for name in ALWAYS_TRAIN) or command[1:] == ["train"]
    if not trains or "numpy" in sys.modules or chosen_by_user():
        return
    workers = _value_of("--workers", words)
    if workers is None and "--resume" in words:
        threads = _recorded_threads(Path(_value_of("--out", words) or _default_folder(command[0])))
    elif workers is not None and workers.isdecimal() and int(workers) > 0:
        threads = None if int(workers) == 1 else threads_of_each(int(workers) * _processes_here())
    else:
        threads = 1
    for name in SET_HERE if threads else ():
        os.environ[name] = str(threads)


def _value_of(flag: str, words: Sequence[str]) -> str | None:
    """The last value of a flag, in either spelling."""
    values = [word.partition("=")[2] for word in words if word.startswith(f"{flag}=")]
    values += [value for word, value in itertools.pairwise(words) if word == flag]
    return values[-1] if values else None


def _default_folder(command: str) -> str:
    return "runs/gpt" if command == "train" else f"runs/{command}"


def _recorded_threads(out: Path) -> int | None:
    """The number of BLAS threads that the newest checkpoint of a run, or of a search's, records; None for BLAS's."""
    try:
        newest = max((*out.glob("checkpoints/step-*/state.json"), *out.glob("trial-*/checkpoints/step-*/state.json")))
        environment: Any = json.loads(newest.read_text("utf-8"))["environment"]
        found = re.search(r"OPENBLAS_NUM_THREADS=(\d+)", environment["threads"])
    except (ValueError, OSError, KeyError, TypeError):  # no checkpoint yet
        return 1
    return int(found[1]) if found else None


def _processes_here() -> int:
    launch = find_launch()
    return 1 if launch is None else launch.size
