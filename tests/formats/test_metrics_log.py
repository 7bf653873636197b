"""The metrics log: each step once, whatever happened to the last line."""

import json
import math
import os
import random
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import CheckpointError, DataError, FormatError
from tinygrad_llm.formats import MetricsLog, read_metrics


def test_records_round_trip_exactly(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "m.jsonl")
    records = [
        {"step": 0, "val_loss": 0.1 + 0.2, "note": "ü\n"},
        {"step": 1, "train_loss": 5e-324, "ok": True, "none": None},
    ]
    for record in records:
        log.append(record)
    assert read_metrics(log.path) == records
    assert log.path.read_bytes().count(b"\n") == 2


def test_numbers_of_other_kinds_become_plain(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "m.jsonl")
    log.append({"step": np.int64(3), "loss": np.float32(0.1), "grad_norm": math.inf, "nan": np.float64("nan")})
    assert read_metrics(log.path) == [{"step": 3, "loss": float(np.float32(0.1)), "grad_norm": None, "nan": None}]


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"loss": 1.0},
        {"step": -1},
        {"step": 1.0},
        {"step": True},
        {"step": 1, "x": [1]},
        {"step": 1, "x": {}},
        {"step": 1, 2: 3},
        {"step": 1, "x": np.zeros(1)},
    ],
)
def test_records_that_are_not_flat_or_have_no_step_are_refused(tmp_path: Path, record: dict[str, Any]) -> None:
    log = MetricsLog(tmp_path / "m.jsonl")
    with pytest.raises(DataError):
        log.append(record)
    assert os.listdir(tmp_path) == []


@given(st.data())
def test_a_log_cut_anywhere_can_be_read_and_continued(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.jsonl"
    path.unlink(missing_ok=True)
    log = MetricsLog(path)
    records = [{"step": step, "text": "é" * step} for step in range(4)]
    ends = []
    for record in records:
        log.append(record)
        ends.append(path.stat().st_size)
    cut = data.draw(st.integers(0, ends[-1]))
    os.truncate(path, cut)
    whole = sum(end - 1 <= cut for end in ends)  # the newline is not needed to be whole
    assert read_metrics(path) == records[:whole]
    MetricsLog(path).append({"step": 9})
    assert read_metrics(path) == [*records[:whole], {"step": 9}]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_a_resumed_run_logs_each_step_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "m.jsonl")
    log.truncate_after(5)
    assert os.listdir(tmp_path) == []
    for step in [1, 2, 2, 3, 4, 5]:
        log.append({"step": step, "loss": 0.1 * step})
    before = log.path.read_bytes()
    log.truncate_after(5)
    assert log.path.read_bytes() == before
    log.truncate_after(2)
    assert [record["step"] for record in read_metrics(log.path)] == [1, 2, 2]
    assert before.startswith(log.path.read_bytes())
    log.append({"step": 3, "loss": 7})
    assert [record["step"] for record in read_metrics(log.path)] == [1, 2, 2, 3]
    log.truncate_after(0)
    assert log.path.read_bytes() == b""


@pytest.mark.parametrize(
    "line", [b"", b"{", b"5", b'{"step": [1]}', b'{"step": 1, "step": 2}', b'{"a": NaN}', b"\xff", b"\0"]
)
def test_a_bad_line_in_the_middle_is_named(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    with pytest.raises(FormatError, match=r"m.jsonl: record 2: "):
        read_metrics(path)
    with pytest.raises(FormatError, match=r"m.jsonl: record 2: "):
        MetricsLog(path).truncate_after(1)


def test_a_record_without_a_step_cannot_be_placed(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"loss": 1}\n')
    with pytest.raises(FormatError, match="record 1: must have a step"):
        MetricsLog(path).truncate_after(1)


@given(st.binary(max_size=50))
def test_random_bytes_end_in_records_or_our_errors(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.jsonl"
    path.write_bytes(data)
    try:
        before = read_metrics(path)
    except FormatError:
        return
    MetricsLog(path).append({"step": 1})
    assert read_metrics(path) == [*before, {"step": 1}]


def test_a_full_disk_leaves_whole_lines(small_disk: Path) -> None:
    log = MetricsLog(small_disk / "m.jsonl")
    count = 0
    with pytest.raises(CheckpointError, match="disk is full"):
        for count in range(1000):
            log.append({"step": count, "text": "x" * 999})
    assert len(read_metrics(log.path)) == count > 100
    assert log.path.read_bytes().endswith(b"\n")


def test_a_vanished_folder_is_explained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="folder does not exist"):
        MetricsLog(tmp_path / "gone" / "m.jsonl").append({"step": 1})
    with pytest.raises(FormatError, match="none of that name"):
        read_metrics(tmp_path / "none")


WRITER = """
import sys
from tinygrad_llm.formats import MetricsLog
log = MetricsLog(sys.argv[1])
step = int(sys.argv[2])
while True:
    log.append({"step": step, "loss": 1 / (step + 1), "text": "x" * 5000})
    if step % 100 == 50:
        log.truncate_after(step)
    if step == int(sys.argv[2]):
        print("started", flush=True)
    step += 1
"""


def test_a_killed_writer_leaves_every_step_once(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    step = 0
    for seed in range(6):
        with subprocess.Popen([sys.executable, "-c", WRITER, path, str(step)], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            time.sleep(random.Random(seed).uniform(0, 0.02))
            process.kill()
        steps = [record["step"] for record in read_metrics(path)]
        assert steps == list(range(len(steps)))
        assert len(steps) > step
        step = len(steps)


def test_a_long_log_is_not_read_into_memory(tmp_path: Path) -> None:
    path, record = tmp_path / "metrics.jsonl", b'{"step":%d,"train_loss":1.5,"note":"' + b"x" * 200 + b'"}\n'
    path.write_bytes(b"".join(record % step for step in range(20_000)) + b'{"step":20000,"tr')
    tracemalloc.start()
    try:
        log = MetricsLog(path)
        log.truncate_after(10_000)
        assert tracemalloc.get_traced_memory()[1] < path.stat().st_size / 5
    finally:
        tracemalloc.stop()
    assert path.read_bytes().endswith(b'"step":10000' + (record % 0)[9:])
    assert path.read_bytes().count(b"\n") == 10_001
