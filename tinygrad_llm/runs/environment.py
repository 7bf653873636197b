"""The environment on which the last bits of a training depend: NumPy, BLAS, processor, threads, processes.

The last bits of a matrix product depend on the order in which BLAS adds, and so on its version, its kernels (the code
that it has for the processor's instructions) and the number of threads. A checkpoint records them; if a run is resumed
in another environment, a notice says that it may differ in last bits.
"""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np

from tinygrad_llm.train.parallel.blas_threads import (
    VARIABLES,
    openblas_kernels,
    threads_by_environment,
    threads_of_each,
)
from tinygrad_llm.train.parallel.cores_and_memory import available_cores

WORDS = {  # names in a notice
    "numpy": "NumPy",
    "blas": "BLAS",
    "kernels": "set of kernels",
    "threads": "number of BLAS threads",
}


def arithmetic_environment(processes: int = 1) -> dict[str, str]:
    """NumPy, its BLAS, the processor, the number of threads and of processes, as far as they are known."""
    build: Any = np.show_config(mode="dicts")
    blas, simd, cores = build["Build Dependencies"]["blas"], build.get("SIMD Extensions", {}), len(available_cores())
    asked = [f"{name}={os.environ[name]}" for name in VARIABLES if name in os.environ]
    return {
        "numpy": np.__version__,
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "kernels": " ".join([openblas_kernels() or "unknown", *simd.get("found", ())]),
        "processor": f"{platform.machine()} {_processor_name()}".strip(),
        "threads": " ".join(asked) or f"default of {cores} core{'s' * (cores > 1)}",
        "number of processes": str(processes),
    }


def differences(saved: dict[str, Any], processes: int = 1) -> list[str]:
    """One line for each part of the environment that is not what it was when a checkpoint was saved."""
    now = arithmetic_environment(processes)
    saved = {"number of processes": "1", "kernels": now["kernels"]} | saved  # not recorded in older checkpoints
    return [
        f"the run is resumed with another {WORDS.get(name, name)} ({saved.get(name, 'unknown')} before, {value} now), "
        "so it may differ in last bits"
        for name, value in now.items()
        if saved.get(name) != value
    ]


def crowding(processes: int, cores: int) -> str | None:
    """A warning if the processes of one machine run more BLAS threads than it has cores, else None.

    Threads that share a core wait for each other at every matrix product, which is far slower than fewer threads.
    """
    threads = threads_by_environment(cores)
    if processes * threads <= cores:
        return None
    advice = f"set OPENBLAS_NUM_THREADS={threads_of_each(processes, cores)}"
    if processes > cores:
        advice = f"start at most {cores}, with OPENBLAS_NUM_THREADS=1"
    return (
        f"{processes} processes of {threads} BLAS thread{'s' * (threads > 1)} share {cores} "
        f"core{'s' * (cores > 1)} and will slow each other down: {advice}"
    )


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()
