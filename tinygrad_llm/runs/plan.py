"""The plan of a run: all settings that it depends on, as its config.json records them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tinygrad_llm.errors import CheckpointError, ConfigError
from tinygrad_llm.runs.hints import command
from tinygrad_llm.settings import SettingError, Settings
from tinygrad_llm.train.settings import TrainingSettings

# Settings that may change when a run is resumed: its length and its evaluation, but nothing that the weights depend on.
CHANGEABLE = (
    *("steps", "eval_interval", "eval_batches", "sample_interval", "checkpoint_activations", "skip_bad_steps"),
    "workers",  # which changes last bits only, as a notice says
)
PATHS = ("data", "ids", "model", "reward_model")  # settings that are compared as paths
RECORDED_IF_KNOWN = ("base", "base_sha256", "data_sha256", "workers_chosen_by")  # by config.json
FLAT_NAMES = {"vocab_size": "tokenizer_vocab_size"}  # in the config.json of pretraining, which has no "options"


@dataclass(frozen=True)
class RunPlan:
    """The settings of a run: its command's options, its training, its model and its data.

    `task` is the command's name, "" for pretraining. `model_type` and `model`, the architecture and its settings, are
    set after the data were read. `base` is the run folder of the model that a fine-tuning started from. The sha256 sums
    show whether base and data have changed since the run began. `workers_chosen_by` is "auto" where that chose their
    number.
    """

    task: str
    options: Any
    training: TrainingSettings
    model_type: str = ""
    model: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None
    base_sha256: str | None = None
    data_sha256: str | None = None
    workers_chosen_by: str | None = None

    @property
    def command(self) -> str:
        """The command that makes and resumes such a run."""
        return command_of(self.task)

    def to_config(self) -> dict[str, Any]:
        """The plan as config.json holds it."""
        options = {name: value for name, value in self.options.to_dict().items() if value is not None}
        if not self.task:
            options = {FLAT_NAMES.get(name, name): value for name, value in options.items()}
        known = {name: getattr(self, name) for name in RECORDED_IF_KNOWN}
        return {
            **({"task": self.task, "options": options} if self.task else options),
            "model_type": self.model_type,
            "model": dict(self.model),
            "training": self.training.to_dict(),
            **{name: value for name, value in known.items() if value is not None},
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any], task: str, options: Settings, out: Any) -> RunPlan:
        """The plan that the config.json in `out` records; `options` are the defaults of the command's options.

        Raises: ConfigError for a run of another command, or an imported model; CheckpointError for a config.json that
                this command did not write
        """
        if "training" not in config:
            raise ConfigError(f"--resume continues a training run; the model in {out} was imported, and has none")
        if config.get("task", "") != task:
            maker = command_of(str(config.get("task", "")))
            raise ConfigError(
                f"{command_of(task)} --resume continues its own runs; {out} was made by `{maker}`: continue it with "
                f"`{command(*maker.split(), '--resume', '--out', out)}`"
            )
        found: Any = config.get("options")
        if not task:  # pretraining writes its options at the top level
            names = {name.name: FLAT_NAMES.get(name.name, name.name) for name in dataclasses.fields(options)}
            found = {name: config[written] for name, written in names.items() if written in config}
        training: Any = config["training"]
        if isinstance(training, dict):
            training = {"workers": 1, **training}  # runs from before there were workers had one process
        known = {name: config.get(name) for name in RECORDED_IF_KNOWN}
        model = config.get("model")
        for name, value in known.items():
            if value is not None and not isinstance(value, str):
                raise _foreign_config(task, name)
        if not isinstance(model, dict):
            raise _foreign_config(task, "model")
        return cls(
            task,
            _settings(type(options), found, task, "options"),
            _settings(TrainingSettings, training, task, "training"),
            str(config.get("model_type")),
            model,
            **known,
        )

    def resumed_with(self, given: Mapping[str, Any]) -> RunPlan:
        """The plan of the run resumed with these flags, which may repeat its settings and change the CHANGEABLE ones.

        Raises: ConfigError for a flag that contradicts the run
        """
        recorded = {
            **(self.model if not self.task else {}),
            **self.training.to_dict(),
            **self.options.to_dict(),
            "architecture": self.model_type,
            "model": self.base or "none",
        }
        for name, value in given.items():
            if name in recorded and name not in (*CHANGEABLE, "ids") and not _same(name, recorded[name], value):
                raise change_refused(name, recorded[name], value)
        changes = {name: value for name, value in given.items() if name in CHANGEABLE}
        options = self.options
        if given.get("ids") is not None:  # the same ids, in another folder
            options = dataclasses.replace(options, ids=given["ids"])
        training = dataclasses.replace(self.training, **changes)
        chosen_by = None if "workers" in given else self.workers_chosen_by
        return dataclasses.replace(self, training=training, options=options, workers_chosen_by=chosen_by)


def command_of(task: str) -> str:
    """The command that makes runs of a task: `train`, `classify train`, or `reinforce`, which does nothing else."""
    return f"{task} train" if task and task != "reinforce" else task or "train"


def change_refused(name: str, was: Any, value: Any) -> ConfigError:
    """The error for a flag of a resumed run that contradicts the run."""
    return ConfigError(
        f"--resume continues a run with its own settings; --{name.replace('_', '-')} was {was}, got {value}; only "
        f"{', '.join(CHANGEABLE)} may change; start a new run in another --out"
    )


def absolute(path: str | os.PathLike[str]) -> str:
    """A path that means the same from every working directory."""
    return os.path.abspath(os.fspath(path))


def _same(name: str, recorded: Any, value: Any) -> bool:
    if name in PATHS and isinstance(recorded, str) and isinstance(value, str | os.PathLike):
        return absolute(recorded) == absolute(value)
    return bool(recorded == value)


def _settings(cls: type[Any], found: Any, task: str, name: str) -> Any:
    """An object of the class `cls` from a part of config.json. Raises: CheckpointError"""
    if not isinstance(found, dict):
        raise _foreign_config(task, name)
    nullable = {one.name for one in dataclasses.fields(cls) if one.default is None}
    try:  # older runs wrote "" for None
        return cls.from_dict({key: None if value == "" and key in nullable else value for key, value in found.items()})
    except SettingError as error:
        raise CheckpointError(f"{_foreign_config(task, name)}: {error}") from error


def _foreign_config(task: str, name: str) -> CheckpointError:
    return CheckpointError(f"the run's config.json: {name} must be what `{command_of(task)}` wrote")
