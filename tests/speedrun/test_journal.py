"""The journal: what was decided and the time it took survive a kill; other settings are refused."""

import json
import os
import time
from pathlib import Path

import pytest

from tinygrad_llm.errors import CheckpointError, ConfigError, DataError, FormatError
from tinygrad_llm.speedrun.journal import JOURNAL, Journal, SpeedrunSettings, open_or_begin


def begun(folder: Path) -> Journal:
    folder.mkdir()
    journal = Journal(folder, SpeedrunSettings(minutes=2.0))
    with journal.working("base"):
        journal.stage("base")["steps"] = 7
    return journal


def test_decisions_and_times_are_read_again(tmp_path: Path) -> None:
    written = begun(tmp_path / "run")
    journal = open_or_begin(tmp_path / "run", {"minutes": 2.0}, resume=False)
    assert journal.settings == written.settings and journal.stage("base") == {"steps": 7}
    assert journal.seconds() == written.seconds() == journal.seconds("base") > 0 == journal.seconds("instruct")
    assert not journal.finished("base")


def test_a_killed_period_ends_when_its_folder_was_last_written(tmp_path: Path) -> None:
    begun(tmp_path / "run")
    path = tmp_path / "run" / JOURNAL
    content = json.loads(path.read_text())
    began = time.time() - 1000
    content["periods"] = [{"stage": "base", "began": began, "seconds": None, "cpu_seconds": None, "load": 1.0}]
    path.write_text(json.dumps(content))
    assert Journal.open(tmp_path / "run").seconds() == 0  # nothing was written
    (tmp_path / "run" / "base").mkdir()
    (tmp_path / "run" / "base" / "metrics.jsonl").touch()
    os.utime(tmp_path / "run" / "base" / "metrics.jsonl", (began + 30, began + 30))
    assert Journal.open(tmp_path / "run").seconds("base") == pytest.approx(30)
    (tmp_path / "run" / "base" / "gone").symlink_to(tmp_path / "nothing")  # as a file that is deleted meanwhile
    assert Journal.open(tmp_path / "run").seconds("base") == pytest.approx(30)


def test_an_interrupted_period_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path, SpeedrunSettings())
    with pytest.raises(KeyboardInterrupt), journal.working("size"):
        raise KeyboardInterrupt
    assert Journal.open(tmp_path).periods[0]["cpu_seconds"] >= 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"minutes": 3.0}, "--minutes was 2.0, got 3.0"),
        ({"seed": 1}, "--seed was 0, got 1"),
        ({"workers": 2}, "--workers was auto, got 2"),
        ({"data": "other.txt"}, "--data was .*, got .*other.txt"),
    ],
)
def test_other_settings_are_refused(tmp_path: Path, given: dict[str, object], words: str) -> None:
    begun(tmp_path / "run")
    with pytest.raises(ConfigError, match=words):
        open_or_begin(tmp_path / "run", given, resume=False)


def test_only_a_speedrun_is_resumed_and_no_other_folder_is_written_into(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="leave out --resume"):
        open_or_begin(tmp_path / "none", {}, resume=True)
    (tmp_path / "letters.txt").write_text("dear")
    for folder in (tmp_path, tmp_path / "letters.txt"):
        with pytest.raises(ConfigError, match="--out must be a new or empty folder"):
            open_or_begin(folder, {}, resume=False)


@pytest.mark.parametrize(
    "content", ["{}", "[1]", '{"version": 1, "settings": {}, "stages": 3}', '{"version": "1"}', '{"version": 9}']
)
def test_a_damaged_journal_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / JOURNAL).write_text(content)
    with pytest.raises((CheckpointError, FormatError), match=JOURNAL):
        Journal.open(tmp_path)
