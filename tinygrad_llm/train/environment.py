"""What bit-exact resume needs besides the checkpoint: the same arithmetic.

The last bits of a matrix product depend on the order in which BLAS adds, and so on its version, the processor and the
number of threads. A checkpoint records them; a run resumed elsewhere is a good run, but not the same to the last bit.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np

THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


def arithmetic_environment() -> dict[str, str]:
    """NumPy, its BLAS, the processor and the number of threads, as far as they can be told."""
    build: Any = np.show_config(mode="dicts")
    blas = build["Build Dependencies"]["blas"]
    asked = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    return {
        "numpy": np.__version__,
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "processor": f"{platform.machine()} {_processor_name()}".strip(),
        "threads": " ".join(asked) or f"default of {_available_cores()} cores",
    }


def differences(saved: dict[str, Any]) -> list[str]:
    """One line for each part of the environment that is not what it was when a checkpoint was saved."""
    return [
        f"the run is resumed with another {name} ({saved.get(name)} before, {here} now), so it may differ in last bits"
        for name, here in arithmetic_environment().items()
        if saved.get(name) != here
    ]


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()
