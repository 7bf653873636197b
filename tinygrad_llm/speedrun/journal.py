"""The journal of a speedrun, `speedrun.json`: what was asked for, what each stage planned, and the time it took.

It is written after every decision, so a process that is killed loses none of them. A period of work is recorded when it
begins; if its process was killed, the period is taken to have ended when the stage's folder was last written.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import CheckpointError, ConfigError, DataError
from tinygrad_llm.formats import read_json_object, write_json
from tinygrad_llm.runs.plan import absolute
from tinygrad_llm.runs.pretraining import DEFAULT_TEXT
from tinygrad_llm.settings import Settings, setting, setting_of
from tinygrad_llm.text import corpora
from tinygrad_llm.train.settings import TrainingSettings

JOURNAL = "speedrun.json"
VERSION = 1


@dataclass(frozen=True)
class SpeedrunSettings(Settings):
    """What is asked for. The same settings continue a speedrun; others need another folder."""

    minutes: float = setting(60.0, "time for the whole road", least=0.25, most=1440, unit="minutes", metavar="N")
    data: str = setting(DEFAULT_TEXT, "text of the base model, as `train` takes it", metavar="PATH")
    workers: int | str = setting_of(TrainingSettings, "workers", "auto")
    seed: int = setting(0, "seed of all random numbers", least=0, below=2**32)

    @property
    def seconds(self) -> float:
        return 60 * self.minutes


class Journal:
    """`settings`, a record for each stage, and the periods of work; `save` after changing a record.

    Units: seconds of wall time; CPU seconds of this process and its workers, None where the process was killed
    """

    def __init__(self, folder: Path, settings: SpeedrunSettings) -> None:
        self.folder, self.settings = folder, settings
        self.stages: dict[str, dict[str, Any]] = {}
        self.periods: list[dict[str, Any]] = []
        self.machine: dict[str, Any] = {}

    @classmethod
    def open(cls, folder: Path) -> Journal:
        """The journal of the speedrun in `folder`. Raises: CheckpointError, FormatError if no speedrun wrote it"""
        path = folder / JOURNAL
        content = read_json_object(path)
        try:
            if content["version"] > VERSION:
                raise CheckpointError(f"{path}: written by a newer version of this package; update the package")
            journal = cls(folder, SpeedrunSettings.from_dict(content["settings"]))
            journal.stages = {name: dict(record) for name, record in content["stages"].items()}
            journal.periods = list(content["periods"])
            journal.machine = dict(content["machine"])
            for period in journal.periods:
                if period["seconds"] is None:
                    period["seconds"] = _last_change(folder / period["stage"], period["began"]) - period["began"]
        except (AttributeError, KeyError, TypeError, ValueError, ConfigError) as error:
            raise CheckpointError(f"{path}: must be the journal that a speedrun wrote; {error!r}") from error
        return journal

    def save(self) -> None:
        content = {"version": VERSION, "settings": self.settings.to_dict(), "machine": self.machine}
        write_json(self.folder / JOURNAL, {**content, "stages": self.stages, "periods": self.periods})

    def stage(self, name: str) -> dict[str, Any]:
        """The record of a stage, to be changed."""
        return self.stages.setdefault(name, {})

    def finished(self, name: str) -> bool:
        return bool(self.stages.get(name, {}).get("finished"))

    def seconds(self, stage: str | None = None) -> float:
        """Wall time spent on a stage, or on all of them, up to now."""
        now = time.time()
        return sum(
            now - period["began"] if period["seconds"] is None else period["seconds"]
            for period in self.periods
            if stage in (None, period["stage"])
        )

    @contextmanager
    def working(self, stage: str) -> Iterator[None]:
        """A period of work on a stage, whose time is recorded also if it is interrupted."""
        began, cpu = time.time(), _cpu_seconds()
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        period: dict[str, Any] = {"stage": stage, "began": began, "seconds": None, "cpu_seconds": None, "load": load}
        self.periods.append(period)
        self.save()
        try:
            yield
        finally:
            period["seconds"], period["cpu_seconds"] = time.time() - began, _cpu_seconds() - cpu
            self.save()


def open_or_begin(folder: Path, given: Mapping[str, Any], resume: bool) -> Journal:
    """The journal of the speedrun in `folder`, or a new one; `given` are the settings that the command names.

    Raises: ConfigError for settings that differ from those of the speedrun in the folder, or a folder of something
            else; DataError if `resume` finds no speedrun
    """
    names = [field.name for field in dataclasses.fields(SpeedrunSettings) if field.name in given]
    asked = {name: given[name] for name in names}
    if "data" in asked:
        asked["data"] = named_or_absolute(asked["data"])
    if (folder / JOURNAL).exists():
        journal = Journal.open(folder)
        for name, value in asked.items():
            if (was := getattr(journal.settings, name)) != value:
                raise ConfigError(
                    f"{folder} holds a speedrun with its own settings; --{name} was {was}, got {value}: "
                    "leave it out to continue, or begin another with --out"
                )
        return journal
    if resume:
        raise DataError(
            f"--resume continues the speedrun in --out; {folder} holds none: leave out --resume to begin one there"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"--out must be a new or empty folder, or that of a speedrun; got {folder}")
    return Journal(folder, SpeedrunSettings.from_dict(asked))


def named_or_absolute(data: str) -> str:
    """A text by its name, or by a path that means the same from every working directory."""
    return data if data in corpora.WITH_PYTHON and not Path(data).exists() else absolute(data)


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _last_change(folder: Path, at_least: float) -> float:
    """When a file in the folder was last written, as seconds since 1970."""
    last = at_least
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):  # deleted meanwhile: another process may carry out the speedrun
                last = max(last, os.stat(os.path.join(parent, name)).st_mtime)
    return last
