"""The machine that a speedrun runs on."""

from __future__ import annotations

import platform
from typing import Any

from tinygrad_llm.runs.environment import arithmetic_environment
from tinygrad_llm.train.parallel.cores_and_memory import available_cores, physical_memory


def machine() -> dict[str, Any]:
    """Processor, cores, memory, system, Python, NumPy, BLAS and its kernels, as far as they are known. Units: bytes"""
    environment = arithmetic_environment()
    return {
        "processor": environment["processor"],
        "cores": len(available_cores()),
        "memory": physical_memory(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": environment["numpy"],
        "blas": environment["blas"],
        "kernels": environment["kernels"],
        "blas_threads": environment["threads"],
    }
