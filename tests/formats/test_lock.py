"""One writing process per run folder, and no stale lock."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.formats import RunLock

HOLDER = """
import sys, time
from tinygrad_llm.formats import RunLock
with RunLock(sys.argv[1]):
    print("locked", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_a_second_process_is_refused_while_the_first_runs(tmp_path: Path, ending: Any) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout.readline() == b"locked\n"
            with pytest.raises(CheckpointError, match=f"process {holder.pid} on ") as caught:
                RunLock(tmp_path).acquire()
            assert str(tmp_path) in str(caught.value)
        finally:
            holder.send_signal(ending)
    with RunLock(tmp_path):
        pass


def test_one_process_cannot_lock_twice(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    with lock:
        with pytest.raises(CheckpointError, match=f"process {os.getpid()} on "):
            RunLock(tmp_path).acquire()
        with pytest.raises(CheckpointError):
            lock.acquire()
    with lock, pytest.raises(CheckpointError):
        RunLock(tmp_path).acquire()
    lock.release()


def test_the_lock_is_released_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), RunLock(tmp_path):
        raise RuntimeError
    with RunLock(tmp_path):
        pass


@pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[" * 2000, b'{"pid": "x", "host": 1}', b"5"])
def test_the_text_in_the_lock_file_may_be_anything(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.lock").write_bytes(content)
    with RunLock(tmp_path):
        (tmp_path / "run.lock").write_bytes(content)
        with pytest.raises(CheckpointError, match="another process does"):
            RunLock(tmp_path).acquire()


def test_a_folder_that_cannot_be_locked_is_explained(tmp_path: Path, read_only_disk: Path) -> None:
    with pytest.raises(CheckpointError, match="folder does not exist"):
        RunLock(tmp_path / "gone").acquire()
    with pytest.raises(CheckpointError, match="read-only"):
        RunLock(read_only_disk).acquire()
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "run.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(CheckpointError, match="cannot be written"):
        RunLock(tmp_path / "linked").acquire()
    assert not (tmp_path / "precious").exists()
