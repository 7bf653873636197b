"""Atomic writes: the writer fails, the disk is full, the process is killed."""

import errno
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.formats import atomic, atomic_write, remove_leftovers


def test_the_new_file_appears_only_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError, SystemExit])
def test_a_failed_block_leaves_the_old_file_and_nothing_else(tmp_path: Path, failure: type) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(failure), atomic_write(path) as file:
        file.write(b"new")
        raise failure
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_new_files_obey_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "file"):
            pass
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "link").symlink_to("target")
    with atomic_write(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert (tmp_path / "link").read_bytes() == b"new"


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(CheckpointError, match="must not become a file"), atomic_write(tmp_path / name):
            pass
    assert (tmp_path / "pipe").is_fifo() and (tmp_path / "link").is_symlink()
    assert sorted(os.listdir(tmp_path)) == ["link", "pipe"]


@pytest.mark.parametrize(
    ("call", "code", "what"),
    [
        ("fsync", errno.ENOSPC, "full"),
        ("fsync", errno.EDQUOT, "quota"),
        ("replace", errno.EROFS, "read-only"),
        ("replace", errno.EACCES, "permission"),
        ("fsync", errno.EIO, "Input/output error"),
    ],
)
def test_system_errors_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int, what: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def refuse(*arguments: Any) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(atomic.os, call, refuse)
    with pytest.raises(CheckpointError, match=f"file: cannot be written: .*{what}"), atomic_write(path) as file:
        file.write(b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_vanished_folder_or_a_folder_in_the_way_is_explained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="folder does not exist"), atomic_write(tmp_path / "gone" / "file"):
        pass
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match="a folder has that name"), atomic_write(tmp_path / "folder"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="is a file"), atomic_write(tmp_path / "file" / "file"):
        pass
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_full_disk_leaves_the_old_file(small_disk: Path) -> None:
    path = small_disk / "file"
    path.write_bytes(b"old" * 1000)
    with pytest.raises(CheckpointError, match="disk is full"), atomic_write(path) as file:
        file.write(b"new" * 1_000_000)
    assert path.read_bytes() == b"old" * 1000
    assert os.listdir(small_disk) == ["file"]


def test_a_read_only_file_system_is_explained(read_only_disk: Path) -> None:
    with pytest.raises(CheckpointError, match="read-only"), atomic_write(read_only_disk / "file"):
        pass


def test_only_leftovers_are_deleted(tmp_path: Path) -> None:
    for name in ["file", ".hidden.tmp", "file.0123abcd.tmp", ".file.0123ABCD.tmp", ".file.0123abcd.tmp.gz"]:
        (tmp_path / name).touch()
    (tmp_path / ".file.0123abcd.tmp").touch()
    (tmp_path / ".step-1.89abcdef.tmp").mkdir()
    (tmp_path / ".step-1.89abcdef.tmp" / "inner").touch()
    (tmp_path / ".link.89abcdef.tmp").symlink_to(tmp_path)
    assert remove_leftovers(tmp_path) == [".file.0123abcd.tmp", ".link.89abcdef.tmp", ".step-1.89abcdef.tmp"]
    assert sorted(os.listdir(tmp_path)) == sorted(
        ["file", ".hidden.tmp", "file.0123abcd.tmp", ".file.0123ABCD.tmp", ".file.0123abcd.tmp.gz"]
    )
    assert remove_leftovers(tmp_path / "none") == []


WRITER = """
import sys
from tinygrad_llm.formats import atomic_write
count = 0
while True:
    with atomic_write(sys.argv[1]) as file:
        for _ in range(20):
            file.write(b"%d " % count * 1000)
    count += 1
    if count == 1:
        print("started", flush=True)
"""


def kill_a_writer(path: Path, wait: float) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(wait)
        process.kill()
    words = path.read_bytes().split()
    assert len(words) == 20_000
    assert len(set(words)) == 1
    remove_leftovers(path.parent)
    assert os.listdir(path.parent) == [path.name]


def test_a_killed_writer_leaves_a_whole_file(tmp_path: Path) -> None:
    for seed in range(5):
        kill_a_writer(tmp_path / "file", random.Random(seed).uniform(0, 0.05))


@pytest.mark.slow
def test_a_hundred_killed_writers_leave_a_whole_file(tmp_path: Path) -> None:
    for seed in range(100):
        kill_a_writer(tmp_path / "file", random.Random(seed).uniform(0, 0.1))
