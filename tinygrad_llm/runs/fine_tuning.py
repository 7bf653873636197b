"""Fine-tuning: the task of a command that trains a model, pretrained or new, on its own kind of data.

A command declares its options and prepares a `Job` from them. The run has the life cycle of every run. Its report.json
holds the metrics from before and after the training.
"""

from __future__ import annotations

import dataclasses
import hashlib
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

from tinygrad_llm.data.loader import DataLoader, Dataset
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.formats import open_regular, read_optional_json_object, write_json
from tinygrad_llm.interop.conventions import Conventions
from tinygrad_llm.random import Generator
from tinygrad_llm.runs.hints import program
from tinygrad_llm.runs.life_cycle import Report, Training, sharing, with_model
from tinygrad_llm.runs.open_model import conventions_of, open_model, weight_files
from tinygrad_llm.runs.plan import PATHS, RunPlan, absolute
from tinygrad_llm.runs.progress import StatusLine
from tinygrad_llm.settings import Settings
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train.batch_loss import Loss, language_model_loss
from tinygrad_llm.train.settings import TrainingSettings
from tinygrad_llm.train.trainer import ResumableLoader, Trainer

Options = TypeVar("Options", bound=Settings)
Collate: TypeAlias = Callable[[list[Any]], Any]  # makes a batch of items
REPORT = "report.json"


@dataclass(frozen=True)
class Job:
    """Model, data, loss and evaluation of one fine-tuning.

    `evaluate(workers)` returns metrics for JSON, computed by as many workers as train; `describe(before, after)` is a
    text that compares those from before and after the training. `next_command` uses the trained model; `{model}` in it
    is replaced by the run folder.
    """

    model: Any  # a Module with a config
    loader: ResumableLoader
    validation: Sequence[Any]
    evaluate: Callable[[int], dict[str, Any]]
    describe: Callable[[dict[str, Any], dict[str, Any]], str]
    loss: Loss = language_model_loss
    next_command: str = ""
    tokenizer: Tokenizer | None = None  # if it is not the base's
    finished_weights: Callable[[Any], Mapping[str, Any]] | None = None  # see RunFolder
    baselines: Mapping[str, Any] = field(
        default_factory=dict
    )  # baselines in the report, which do not depend on the training


def training_batches(dataset: Dataset, settings: TrainingSettings, collate: Collate | None = None) -> DataLoader:
    """Batches in an order that the seed of the run decides."""
    generator = Generator(settings.seed).spawn("shuffling")
    return DataLoader(dataset, settings.batch_size, shuffle=True, collate_fn=collate, generator=generator)


def held_out_batches(dataset: Dataset, settings: TrainingSettings, collate: Collate | None = None) -> list[Any]:
    """Batches in the order of the data, made without numbers from the run's random stream."""
    return list(DataLoader(dataset, settings.batch_size, collate_fn=collate, generator=Generator(0)))


@dataclass(frozen=True)
class Base:
    """The pretrained model that a fine-tuning starts from, and what its files say of its texts."""

    model: Any
    conventions: Conventions


@dataclass(frozen=True)
class FineTuning(Generic[Options]):
    """The task of a command that fine-tunes: the defaults of its `options` and training `settings`, and `prepare_job`,
    which returns the `Job` for (base, tokenizer, options, settings, status).

    The `Base` is a pretrained model of an architecture that the command takes. With `from_base` false there is no base.
    Without a base, a new model is trained with the settings `from_nothing`, if the command has them. `suits(DIR)`
    returns options that suit the base in DIR better than the defaults. The tokenizer is the base's, or that of the
    resumed run. `generated` are the values of the option `data` that name generated data, not a file.
    """

    name: str
    options: Options
    settings: TrainingSettings
    prepare_job: Callable[[Any, Any, Options, TrainingSettings, StatusLine], Job]
    from_base: bool = True
    from_nothing: TrainingSettings | None = None
    suits: Callable[[Path], dict[str, Any]] = lambda folder: {}
    generated: tuple[str, ...] = ()

    def new_plan(self, given: Mapping[str, Any]) -> RunPlan:
        """The plan of a new run, from flags and defaults. Raises: ConfigError"""
        settings, base = self.settings, given.get("model") if self.from_base else None
        if self.from_base and base is None:
            if self.from_nothing is None:
                raise ConfigError(
                    "--model must name a pretrained model: a run folder, or a Hugging Face folder; "
                    f"`{program()} train` makes a run"
                )
            settings = self.from_nothing
        suiting = {} if base is None else self.suits(Path(base))
        options = dataclasses.replace(self.options, **{**suiting, **_given_settings(self.options, given)})
        paths = {
            name: absolute(path)
            for name in PATHS
            if (path := getattr(options, name, "")) and not (name == "data" and path in self.generated)
        }
        options = type(options).from_dict({**options.to_dict(), **paths})
        training = dataclasses.replace(settings, **_given_settings(settings, given))
        return RunPlan(self.name, options, training, base=None if base is None else absolute(base))

    def resumed_plan(self, config: Mapping[str, Any], given: Mapping[str, Any]) -> RunPlan:
        """The plan of a run, with the changes that resuming allows. Raises: ConfigError, CheckpointError"""
        return RunPlan.from_config(config, self.name, self.options, given["out"]).resumed_with(given)

    def prepare(self, plan: RunPlan, out: Path, tokenizer: Tokenizer | None, status: StatusLine) -> Training:
        """Model, data and report. Raises: ConfigError, DataError"""
        base = None
        if plan.base is not None:
            model, tokenizer = open_model(plan.base, self.name)
            base = Base(model, conventions_of(plan.base, tokenizer))
            sha256 = _expect_unchanged("base", weight_files(plan.base), plan.base_sha256)
            plan = dataclasses.replace(plan, base_sha256=sha256)
        data = getattr(plan.options, "data", "")
        if data and data not in self.generated:
            plan = dataclasses.replace(plan, data_sha256=_expect_unchanged("data", [Path(data)], plan.data_sha256))
        job = self.prepare_job(base, tokenizer, plan.options, plan.training, status)
        return Training(
            with_model(plan, job.model),
            job.model,
            job.loader,
            job.validation,
            FineTuningReport(self.name, job, plan.base, out, status),
            job.tokenizer or tokenizer,
            job.loss,
            finished_weights=job.finished_weights,
            conventions=None if base is None else base.conventions,
        )


@dataclass
class FineTuningReport(Report):
    """Writes the metrics from before and after a training to report.json, and prints them."""

    task: str
    job: Job
    base: str | None
    out: Path
    status: StatusLine

    def before(self, trainer: Trainer) -> None:
        """Compute the metrics of the untrained model, unless report.json has them."""
        figures = self._recorded().get("before")
        if not isinstance(figures, dict):
            self.status.say("evaluating before the training ...")
            figures = self.job.evaluate(trainer.workers)
        self.figures = figures

    def introduce(self, trainer: Trainer) -> None:
        model, steps = self.job.model, trainer.settings.steps - trainer.step
        self._write({})
        self.status.say(
            f"training {model.num_parameters(trainable_only=True):,} of {model.num_parameters():,} parameters "
            f"from {self.base or 'scratch'}, {steps:,} steps to go"
        )
        if trainer.processes > 1:
            self.status.say(sharing(trainer, trainer.settings.batch_size))

    def after(self, trainer: Trainer) -> None:
        self.status.say("evaluating after the training ...")
        after = self.job.evaluate(trainer.workers)
        self._write({"after": after})
        self.status.say(self.job.describe(self.figures, after))
        self.status.say(f"the figures are in {self.out / REPORT}")

    def suggest(self) -> None:
        if self.job.next_command:
            words = self.job.next_command.replace("{model}", shlex.quote(str(self.out)))
            self.status.hint("try it", f"{program()} {words}")

    def is_complete(self) -> bool:
        return "after" in self._recorded()

    def _recorded(self) -> dict[str, Any]:
        """The report on disk, empty if there is none; "after" is missing until the trained model has been evaluated."""
        return read_optional_json_object(self.out / REPORT)

    def _write(self, after: Mapping[str, Any]) -> None:
        write_json(self.out / REPORT, {"task": self.task, **self.job.baselines, "before": self.figures, **after})


def _given_settings(settings: Settings, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values in `given` that belong to `settings`."""
    names = [field.name for field in dataclasses.fields(settings)]
    return {name: given[name] for name in names if name in given}


def _expect_unchanged(name: str, paths: Sequence[Path], recorded: str | None) -> str:
    """The sha256 of the files that a run depends on. Raises: ConfigError if the run recorded another one"""
    digests = []
    for path in paths:
        with open_regular(path, error=DataError) as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
    digest = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    if recorded not in (None, digest):
        raise ConfigError(
            f"--resume needs the {name} that the run began with; {paths[0]} has changed: restore it, or start "
            "a new run in another --out"
        )
    return digest
