"""Snapshots: atomic, damage found and named, old ones pruned."""

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import CheckpointError
from tinygrad_llm.formats import (
    dump_safetensors,
    manifest,
    newest_whole_snapshot,
    prune_snapshots,
    publish_files,
    read_safetensors,
    verify_snapshot,
    write_snapshot,
)

FILES = {"model.safetensors": b"weights", "state.json": b"{}", "empty": b""}


@pytest.fixture
def snapshot(tmp_path: Path) -> Path:
    return write_snapshot(tmp_path / "checkpoints", "step-00000100", FILES)


def test_a_snapshot_holds_its_files_and_their_manifest(snapshot: Path) -> None:
    assert {name: path.read_bytes() for name, path in verify_snapshot(snapshot).items()} == FILES
    assert sorted(os.listdir(snapshot)) == sorted([*FILES, "manifest.json"])
    assert os.listdir(snapshot.parent) == ["step-00000100"]
    listed = json.loads((snapshot / "manifest.json").read_text())
    assert listed["version"] == 1
    assert listed["files"]["model.safetensors"] == {
        "size": 7,
        "sha256": "9a129038d9a00aed0cf6a7ea059ca50a813449061ab87848cf1a13eafdf33b2c",
    }


def test_writers_stream_into_a_snapshot(tmp_path: Path) -> None:
    tensors = {"w": np.arange(6.0).reshape(2, 3).T}
    path = write_snapshot(tmp_path / "c", "s", {"m": lambda file: dump_safetensors(file, tensors)})
    np.testing.assert_array_equal(read_safetensors(verify_snapshot(path)["m"])["w"], tensors["w"])
    with pytest.raises(CheckpointError, match="sequentially"):
        write_snapshot(tmp_path / "c", "t", {"m": lambda file: file.seek(0)})
    assert os.listdir(tmp_path / "c") == ["s"]


def damage_flip(path: Path) -> None:
    data = bytearray((path / "model.safetensors").read_bytes())
    data[3] ^= 1
    (path / "model.safetensors").write_bytes(data)


def damage_newer(path: Any) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace('"version": 1', '"version": 2'))


def damage_outside_link(path: Any) -> None:
    (path.parent.parent / "outside").write_bytes(b"weights")
    (path / "model.safetensors").unlink()
    (path / "model.safetensors").symlink_to(path.parent.parent / "outside")


def damage_pipe(path: Any) -> None:
    (path / "empty").unlink()
    os.mkfifo(path / "empty")


def damage_by_moving(path: Any) -> None:
    path.rename(path.parent / "elsewhere")
    path.symlink_to("elsewhere")


def damage_name(path: Any) -> None:
    text = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(text.replace('"empty"', '"../empty"'))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (damage_flip, "model.safetensors: its bytes have changed"),
        (lambda path: os.truncate(path / "model.safetensors", 5), "model.safetensors: must have 7 bytes; it has 5"),
        (lambda path: (path / "empty").write_bytes(b"1"), "empty: must have 0 bytes; it has 1"),
        (lambda path: (path / "state.json").unlink(), "state.json: is missing"),
        (lambda path: (path / "foreign").touch(), "foreign: is not listed"),
        (lambda path: (path / "folder").mkdir(), "folder: is not listed"),
        (lambda path: (path / "manifest.json").unlink(), "manifest.json: must be a file .*none of that name"),
        (lambda path: os.truncate(path / "manifest.json", 50), "manifest.json: line"),
        (lambda path: (path / "manifest.json").write_text("[]"), "manifest.json: must be the manifest"),
        (damage_newer, "manifest.json: version must be 1; got 2: update"),
        (damage_name, "manifest.json: files must have plain names"),
        (damage_outside_link, "model.safetensors: must be a file, not a symbolic link"),
        (damage_pipe, "empty: must be a regular file"),
        (shutil.rmtree, "step-00000100: cannot be read"),
        (damage_by_moving, "step-00000100: a snapshot must be a folder"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_damage_is_found_and_the_file_named(snapshot: Path, damage: Callable[..., Any], what: str) -> None:
    damage(snapshot)
    with pytest.raises(CheckpointError, match=what) as caught:
        verify_snapshot(snapshot)
    assert str(snapshot) in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.data())
def test_no_changed_byte_of_any_file_goes_unnoticed(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "flipped" / "s"
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        write_snapshot(path.parent, "s", {"a": b"some weights", "b": b"some state"})
    file = path / data.draw(st.sampled_from(["manifest.json", "a", "b"]))
    whole = file.read_bytes()
    kind = data.draw(st.sampled_from(["flip", "cut", "append"]))
    place = data.draw(st.integers(0, len(whole) - 1))
    bit = 1 << data.draw(st.integers(0, 7))
    changed = {
        "flip": whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :],
        "cut": whole[:place],
        "append": whole + bytes([bit]),
    }[kind]
    file.write_bytes(changed)
    try:
        with pytest.raises(CheckpointError):
            verify_snapshot(path)
    finally:
        file.write_bytes(whole)
    verify_snapshot(path)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a\\b", "/x", ".hidden", "-x", "a\0", "a\n", "ä", "a b", "x" * 201, "manifest.json"],
)
def test_names_outside_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "c").mkdir()
    with pytest.raises(CheckpointError):
        write_snapshot(tmp_path / "c", "s", {name: b""})
    if name != "manifest.json":
        with pytest.raises(CheckpointError):
            write_snapshot(tmp_path / "c", name, {})
        with pytest.raises(CheckpointError):
            publish_files(tmp_path / "c", tmp_path, [name])
    assert os.listdir(tmp_path / "c") == []


def test_the_newest_undamaged_snapshot_is_found_and_damaged_ones_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    assert newest_whole_snapshot(folder) == (None, [])
    for name in ["step-20", "step-100", "step-3"]:
        write_snapshot(folder, name, {"a": name.encode()})
    (folder / ".step-200.01234567.tmp").mkdir()
    (folder / "notes.txt").touch()
    assert newest_whole_snapshot(folder) == (folder / "step-100", [])
    os.truncate(folder / "step-100" / "a", 1)
    path, problems = newest_whole_snapshot(folder)
    assert path == folder / "step-20"
    assert len(problems) == 1
    assert "step-100/a: must have 8 bytes" in problems[0]
    (folder / "step-20" / "a").unlink()
    (folder / "step-3" / "a").unlink()
    path, problems = newest_whole_snapshot(folder)
    assert path is None
    assert [problem.split("/")[-2] for problem in problems] == ["step-100", "step-20", "step-3"]


def test_pruning_counts_only_undamaged_snapshots(tmp_path: Path) -> None:
    folder = tmp_path
    for step in range(1, 8):
        write_snapshot(folder, f"step-{step}", {"a": b"%d" % step})
    os.truncate(folder / "step-7" / "a", 0)
    os.truncate(folder / "step-5" / "a", 0)
    os.truncate(folder / "step-2" / "a", 0)
    assert prune_snapshots(folder, keep=2, protect=["step-1"]) == ["step-3", "step-2"]
    assert sorted(os.listdir(folder)) == ["step-1", "step-4", "step-5", "step-6", "step-7"]
    assert prune_snapshots(folder, keep=10) == []
    assert prune_snapshots(folder / "none", keep=1) == []
    with pytest.raises(CheckpointError, match="at least 1"):
        prune_snapshots(folder, keep=0)


def test_a_snapshot_is_replaced_by_one_of_the_same_name(snapshot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = snapshot.parent
    write_snapshot(folder, snapshot.name, {"a": b"new"})
    assert (snapshot / "a").read_bytes() == b"new"
    assert os.listdir(folder) == [snapshot.name]

    steps = []
    rename = os.rename

    def crash_at(count: int) -> Callable[..., Any]:
        def renaming(old: Path, new: Path) -> None:
            steps.append((old, new))
            if len(steps) == count:
                raise KeyboardInterrupt
            rename(old, new)

        return renaming

    for count in (1, 2, 3):  # before the old one steps aside, before the new one takes its place, before the clean-up
        steps.clear()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(manifest.os, "rename", crash_at(count))
            write_snapshot(folder, snapshot.name, {"a": b"newer"})
        path, problems = newest_whole_snapshot(folder)
        assert problems == []
        assert (path / "a").read_bytes() == (b"new" if count < 3 else b"newer")
        write_snapshot(folder, snapshot.name, {"a": b"new"})
        assert os.listdir(folder) == [snapshot.name]


@pytest.mark.parametrize("small", [True, False])
def test_published_files_are_the_snapshots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small: bool) -> None:
    if small:
        monkeypatch.setattr(manifest, "LINK_FROM", 0)
    first = write_snapshot(tmp_path / "c", "1", {"config.json": b"{}", "model.safetensors": b"1" * 100})
    second = write_snapshot(tmp_path / "c", "2", {"config.json": b"{}", "model.safetensors": b"2" * 100})
    names = ["config.json", "model.safetensors"]
    for snapshot in (first, second, second):  # the last time, old and new are the same file where links are made
        publish_files(snapshot, tmp_path, names)
        for name in names:
            assert (tmp_path / name).read_bytes() == (snapshot / name).read_bytes()
            assert os.path.samefile(tmp_path / name, snapshot / name) == small
        assert sorted(os.listdir(tmp_path)) == ["c", *names]
    (tmp_path / "config.json").unlink()
    prune_snapshots(tmp_path / "c", 1)
    assert (tmp_path / "model.safetensors").read_bytes() == b"2" * 100
    with pytest.raises(CheckpointError, match=r"nothing: must be a file .* none of that name"):
        publish_files(second, tmp_path, ["nothing"])
    with pytest.raises(CheckpointError, match="folder does not exist"):
        publish_files(second, tmp_path / "gone", ["config.json"])


def test_where_there_are_no_links_files_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(manifest, "LINK_FROM", 0)
    monkeypatch.setattr(manifest.os, "link", no_links)
    snapshot = write_snapshot(tmp_path / "c", "1", {"model.safetensors": b"1"})
    publish_files(snapshot, tmp_path, ["model.safetensors"])
    assert (tmp_path / "model.safetensors").read_bytes() == b"1"
    assert not os.path.samefile(tmp_path / "model.safetensors", snapshot / "model.safetensors")
    assert sorted(os.listdir(tmp_path)) == ["c", "model.safetensors"]


def test_a_full_disk_leaves_the_older_snapshot_and_no_debris(small_disk: Path) -> None:
    folder = small_disk / "checkpoints"
    write_snapshot(folder, "step-1", {"a": b"1" * 50_000})
    with pytest.raises(CheckpointError, match=r"step-2/a: .*disk is full"):
        write_snapshot(folder, "step-2", {"a": b"2" * 500_000})
    assert os.listdir(folder) == ["step-1"]
    assert newest_whole_snapshot(folder) == (folder / "step-1", [])
    with pytest.raises(CheckpointError, match="disk is full"):
        publish_files(write_snapshot(folder, "step-2", {"a": b"2" * 150_000}), small_disk, ["a"])
    assert sorted(os.listdir(small_disk)) == ["checkpoints"]


def test_a_deleted_run_folder_is_not_created_again(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="folder does not exist"):
        write_snapshot(tmp_path / "run" / "checkpoints", "step-1", {"a": b""})
    assert os.listdir(tmp_path) == []


def test_a_read_only_disk_is_explained(read_only_disk: Path) -> None:
    with pytest.raises(CheckpointError, match="read-only"):
        write_snapshot(read_only_disk / "checkpoints", "step-1", {"a": b""})


WRITER = """
import sys
from pathlib import Path
from tinygrad_llm.formats import manifest, prune_snapshots, publish_files, write_snapshot
manifest.LINK_FROM = 10_000
run = Path(sys.argv[1])
step = int(sys.argv[2])
while True:
    step += 1
    word = b"%d " % step
    path = write_snapshot(run / "checkpoints", f"step-{step:08}", {
        "model.safetensors": lambda file: [file.write(word * 1000) for _ in range(10)],
        "state.json": word * 100,
    })
    publish_files(path, run, ["state.json", "model.safetensors"])
    prune_snapshots(run / "checkpoints", keep=2)
    print(step, flush=True)
"""


def kill_a_run(run: Path, done: int, wait: float) -> int:
    """Start a writer, kill it, and check what it left; return the last step that is there."""
    with subprocess.Popen([sys.executable, "-c", WRITER, run, str(done)], stdout=subprocess.PIPE) as process:
        first = process.stdout.readline()
        time.sleep(wait)
        process.kill()
        reported = [int(line) for line in (first + process.stdout.read()).split()]
    path, problems = newest_whole_snapshot(run / "checkpoints")
    assert problems == []
    step = int(path.name.removeprefix("step-"))
    assert reported[-1] <= step <= reported[-1] + 1
    assert set((path / "model.safetensors").read_bytes().split()) == {b"%d" % step}
    for name in ("model.safetensors", "state.json"):
        words = set((run / name).read_bytes().split())
        assert len(words) == 1
        assert int(words.pop()) in (step, step - 1)
    return step


def test_a_killed_run_always_leaves_a_whole_snapshot(tmp_path: Path) -> None:
    done = 0
    for seed in range(6):
        done = kill_a_run(tmp_path, done, random.Random(seed).uniform(0, 0.03))
    write_snapshot(tmp_path / "checkpoints", "step-99999999", {"a": b""})
    assert not [name for name in os.listdir(tmp_path / "checkpoints") if name.startswith(".")]


@pytest.mark.slow
def test_hundreds_of_killed_runs_always_leave_a_whole_snapshot(tmp_path: Path) -> None:
    done = 0
    for seed in range(300):
        done = kill_a_run(tmp_path, done, random.Random(seed).uniform(0, 0.05))


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "\ud800"])
def test_an_impossible_name_is_one_short_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        verify_snapshot(f"{tmp_path}/{name}")
    assert len(str(caught.value)) < 400
