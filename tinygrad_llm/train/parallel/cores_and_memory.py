"""The cores and the memory that this process may use: those of the machine, or what a container grants.

This file loads no NumPy.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")  # Linux control groups (cgroups), by which containers limit processes
OWN_GROUPS = Path("/proc/self/cgroup")


def physical_memory() -> int | None:
    """The memory of this machine in bytes, where the system tells it."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def available_cores() -> set[int]:
    """The cores that this process may use, by number."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """How many cores this process may keep busy: those available, or the processor time that its container grants."""
    return min([len(available_cores()), *(max(1, math.ceil(quota)) for quota in _quotas_of_cores())])


def usable_memory() -> int | None:
    """The memory that this process may use in bytes: the machine's, or what its container grants; None if unknown."""
    found = [physical_memory(), *_limits_of_memory()]
    return min((memory for memory in found if memory is not None), default=None)


def _quotas_of_cores() -> Iterator[float]:
    """The quotas of processor time of this process's control groups. Units: cores"""
    for group in _control_groups("cpu"):
        for files in (["cpu.max"], ["cpu.cfs_quota_us", "cpu.cfs_period_us"]):  # cgroup v2, v1
            try:
                time, period = " ".join((group / name).read_text("utf-8") for name in files).split()
                if float(time) > 0:  # -1 and max: no limit
                    yield float(time) / float(period)
            except (OSError, ValueError):
                continue


def _limits_of_memory() -> Iterator[int]:
    """The limits of memory of this process's control groups. Units: bytes"""
    for group in _control_groups("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):  # cgroup v2, v1
            try:
                yield int((group / name).read_text("utf-8"))
            except (OSError, ValueError):  # "max": no limit
                continue


def _control_groups(controller: str) -> Iterator[Path]:
    """The folders of this process's control group and of those above it, by which `controller` limits them."""
    try:
        lines = OWN_GROUPS.read_text("utf-8").splitlines()
    except (OSError, ValueError):
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = CONTROL_GROUPS / controller if controllers else CONTROL_GROUPS  # the second version names no controller
        own = top / path.strip("/")
        for folder in [own, *own.parents]:
            yield folder
            if folder == top:
                break
