"""The cores and the memory that the system grants a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from tinygrad_llm.train.parallel import cores_and_memory


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {"cpu.max": "250000 100000\n"}, 3),
        ("0::/\n", {"cpu.max": "max 100000\n"}, 8),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000", "a/cpu.max": "10000 100000"}, 1),
        (
            "3:cpuset:/\n1:cpu,cpuacct:/x\n",
            {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"},
            2,
        ),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "many"}, 8),
        ("nonsense", {}, 8),
        (None, {}, 8),
    ],
)
def test_a_container_limits_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: str | None, files: dict[str, str], cores: int
) -> None:
    monkeypatch.setattr(cores_and_memory, "available_cores", lambda: set(range(8)))
    place_in_groups(monkeypatch, tmp_path, groups, files)
    assert cores_and_memory.usable_cores() == cores


@pytest.mark.parametrize(
    ("groups", "files", "memory"),
    [
        ("0::/a\n", {"a/memory.max": "500\n", "memory.max": "max\n"}, 500),
        ("0::/a\n", {"a/memory.max": "500", "memory.max": "400"}, 400),
        ("4:memory:/x\n1:cpu:/y\n", {"memory/x/memory.limit_in_bytes": "300"}, 300),
        ("4:memory:/x\n", {"memory/x/memory.limit_in_bytes": str(2**63 - 4096)}, 1000),
        (None, {}, 1000),
    ],
)
def test_a_container_limits_the_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: str | None, files: dict[str, str], memory: int
) -> None:
    monkeypatch.setattr(cores_and_memory, "physical_memory", lambda: 1000)
    place_in_groups(monkeypatch, tmp_path, groups, files)
    assert cores_and_memory.usable_memory() == memory


def place_in_groups(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, groups: str | None, files: dict[str, str]) -> None:
    """Control groups with these files, and the file that names those of this process; None where there is none."""
    monkeypatch.setattr(cores_and_memory, "CONTROL_GROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(cores_and_memory, "OWN_GROUPS", tmp_path / "own")
    if groups is not None:
        (tmp_path / "own").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
