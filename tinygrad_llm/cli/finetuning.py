"""What the commands that teach a task share: their flags, and a run that begins or resumes, trains, and reports.

A command says what its options are and makes a `Job` of them, from a pretrained model or from nothing; the loop, the
log, the checkpoints, `--resume` and Ctrl-C are those of pretraining.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from tinygrad_llm.architectures import architecture_of
from tinygrad_llm.cli.flags import CHANGEABLE, HelpFormatter, add_flags, change_refused, expect_run_of
from tinygrad_llm.cli.open_model import open_model
from tinygrad_llm.errors import CheckpointError, ConfigError, DataError
from tinygrad_llm.formats import open_regular, read_json_object, write_json
from tinygrad_llm.random import manual_seed
from tinygrad_llm.runs import ProgressLog, RunFolder, StatusLine, duration
from tinygrad_llm.settings import Settings
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import Loss, ResumableLoader, Trainer, TrainingSettings, language_model_loss

Options = TypeVar("Options", bound=Settings)
REPORT = "report.json"
UNUSED_SETTINGS = ("sample_interval",)  # nothing is written on the way


@dataclass(frozen=True)
class Job:
    """What is to be trained, on what, and how it is judged: `evaluate()` gives figures that JSON can hold, and
    `describe(before, after)` puts those from before the training and from after it into words."""

    model: Any  # a Module with a config
    loader: ResumableLoader
    validation: Sequence[Any]
    evaluate: Callable[[], dict[str, Any]]
    describe: Callable[[dict[str, Any], dict[str, Any]], str]
    loss: Loss = language_model_loss
    next_command: str = ""  # what to try with the trained model, after the program's name
    tokenizer: Tokenizer | None = None  # where it is not the base's
    finished_weights: Callable[[Any], Mapping[str, Any]] | None = None  # see RunFolder
    yardsticks: Mapping[str, Any] = field(default_factory=dict)  # figures for the report that no training changes


@dataclass(frozen=True)
class FineTuning(Generic[Options]):
    """A command that trains for a task: `options`, a dataclass with a default for each flag, `settings` for the
    training, and `prepare(base, tokenizer, options, settings, status)`, which makes the job.

    The `base` is a pretrained model of an architecture that the command takes. A command that does not start
    `from_base` has none; one with settings for a start `from_nothing` has none where no --model is given; `suits(DIR)`
    gives the options that suit the base better than the defaults. A `tokenizer` comes with the base, or with a run that
    is resumed: the one that its job made.
    """

    name: str
    options: Options
    settings: TrainingSettings
    prepare: Callable[[Any, Any, Options, TrainingSettings, StatusLine], Job]
    from_base: bool = True
    from_nothing: TrainingSettings | None = None
    suits: Callable[[Path], dict[str, Any]] = lambda folder: {}

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.argument_default = argparse.SUPPRESS  # so that a resumed run can tell what was asked for
        run = parser.add_argument_group("run")
        if self.from_base:
            run.add_argument(
                "--model",
                metavar="DIR",
                help="the run folder of the pretrained model to start from" + self._start_from_nothing(),
            )
        run.add_argument("--out", metavar="DIR", help=f"the new run folder (default: runs/{self.name})")
        run.add_argument("--resume", action="store_true", help="continue the run in --out, with the settings it has")
        run.add_argument("--stop-at", type=int, metavar="STEP", help="stop after this step; --resume goes on")
        run.add_argument("--keep", type=int, metavar="N", help="checkpoints to keep (default: 2)")
        add_flags(parser.add_argument_group("options"), self.options)
        add_flags(parser.add_argument_group("training"), self.settings, leave_out=UNUSED_SETTINGS)

    def _start_from_nothing(self) -> str:
        """For the help: whether a model must be given, and which settings the training has without one."""
        if self.from_nothing is None:
            return "; needed for a new run"
        usual = self.settings.to_dict()
        differing = {name: value for name, value in self.from_nothing.to_dict().items() if value != usual[name]}
        settings = ", ".join(f"--{name.replace('_', '-')} {value}" for name, value in differing.items())
        return f"; without one, a new small model is trained with {settings}, where nothing else is said"

    def run(self, arguments: argparse.Namespace) -> int:
        """Begin or resume the run that was asked for. Returns the exit code."""
        given = vars(arguments)
        if given.get("stop_at", 0) < 0:
            raise ConfigError(f"--stop-at must be a step, at least 0; got {given['stop_at']}")
        resume = given.get("resume", False)
        out, keep = Path(given.get("out", f"runs/{self.name}")), given.get("keep", 2)
        started, status = time.monotonic(), StatusLine()
        if resume:
            if not out.is_dir():
                raise DataError(f"--resume goes on with the run in --out; there is no folder {out}: check the spelling")
            folder = RunFolder.open(out, keep)
            expect_run_of(f"{self.name} train", folder.config, out)
            plan = self._resumed_plan(folder.config, given)
        else:
            plan = self._new_plan(given)
            folder = RunFolder.create(out, keep)
        with folder:
            options = dataclasses.replace(self.options, **plan["options"])
            settings = TrainingSettings.from_dict(plan["training"])
            base, tokenizer = None, folder.tokenizer if resume else None
            if "base" in plan:
                base, tokenizer = open_model(plan["base"], self.name)
                _expect_unchanged(plan, "base", Path(plan["base"]) / "model.safetensors")
            if data := plan["options"]["data"]:
                _expect_unchanged(plan, "data", Path(data))
            manual_seed(settings.seed)
            job = self.prepare(base, tokenizer, options, settings, status)
            architecture = architecture_of(job.model)
            plan |= {"model_type": architecture.name, "model": architecture.settings_of(job.model)}
            folder.finished_weights = job.finished_weights
            trainer = Trainer(
                job.model, job.loader, settings, job.validation, job.loss, callbacks=[ProgressLog(status), folder]
            )
            if resume:
                before = _before(out, job, status)
                for notice in folder.restore(trainer):
                    status.say(notice)
                if trainer.step >= settings.steps and "after" in _report_of(out):
                    status.say(f"{out} is finished: {trainer.step}/{settings.steps} steps; --steps extends it")
                    return 0
                folder.update_config(plan)
            else:
                before = _before(out, job, status)
                folder.begin(plan, job.tokenizer or tokenizer)  # only now, when all asked for has proved possible
            report = {"task": self.name, **job.yardsticks, "before": before}
            write_json(out / REPORT, report)
            status.say(
                f"training {job.model.num_parameters(trainable_only=True):,} of {job.model.num_parameters():,} "
                f"parameters from {plan.get('base', 'scratch')}, {settings.steps - trainer.step:,} steps to go"
            )
            go_on = f"Continue with: tinygrad-llm {self.name} train --resume --out {out}"
            try:
                trainer.train(given.get("stop_at"))
            except KeyboardInterrupt as interruption:
                status.say(f"interrupted; saved after step {trainer.step}. {go_on}")
                return 128 + (interruption.args[0] if interruption.args else signal.SIGINT)
            if trainer.step < settings.steps:
                status.say(f"stopped after step {trainer.step} of {settings.steps}. {go_on}")
                return 0
            after = job.evaluate()
            write_json(out / REPORT, {**report, "after": after})
            status.say(job.describe(before, after))
            status.say(f"{duration(time.monotonic() - started)} in all, saved in {out} with {REPORT}")
            if job.next_command:
                status.say(f"try it: tinygrad-llm {job.next_command.replace('{model}', str(out))}")
        return 0

    def _new_plan(self, given: dict[str, Any]) -> dict[str, Any]:
        """All that decides a run, from the flags and the defaults."""
        settings = self.settings
        if self.from_base and "model" not in given:
            if self.from_nothing is None:
                raise ConfigError(
                    "--model must name the run folder of a pretrained model; `tinygrad-llm train` makes one"
                )
            settings = self.from_nothing
        options = dataclasses.asdict(self.options)
        if "model" in given:
            options |= self.suits(Path(given["model"]))
        training = settings.to_dict()
        TrainingSettings.from_dict(training | {name: given[name] for name in training if name in given})
        return {
            "task": self.name,
            **({"base": str(given["model"])} if "model" in given else {}),
            "options": {name: given.get(name, default) for name, default in options.items()},
            "training": {name: given.get(name, default) for name, default in training.items()},
        }

    def _resumed_plan(self, config: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        """The run's own plan; a flag may repeat what it says, and change only what leaves the training so far as it is.

        Raises: ConfigError for a change that is none of CHANGEABLE, CheckpointError for a plan that this command did
                not write
        """
        defaults = dataclasses.asdict(self.options)
        expected: dict[str, Any] = {"options": defaults, "training": self.settings.to_dict()}
        if self.from_base and ("base" in config or self.from_nothing is None):
            expected |= {"base": "", "base_sha256": ""}
        for name, example in expected.items():
            if not _alike(config.get(name), example):
                raise CheckpointError(f"the run's config.json: {name} must be what `{self.name} train` wrote")
        plan = {**config, "training": dict(config["training"])}
        plan["options"] = {
            name: value if defaults[name] is not None else value or None for name, value in config["options"].items()
        }
        was = {**plan["options"], **plan["training"], "model": plan.get("base", "none")}
        for name, value in given.items():
            if name in CHANGEABLE:
                plan["training"][name] = value
            elif name in was and was[name] != value:
                changeable = [other for other in CHANGEABLE if other not in UNUSED_SETTINGS]
                raise change_refused(name, was[name], value, changeable)
        return plan


def add_action(actions: Any, name: str, summary: str) -> argparse.ArgumentParser:
    """A command's own command, as `train` of `classify`."""
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=summary, formatter_class=HelpFormatter
    )
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
    return parser


def _alike(value: Any, example: Any) -> bool:
    """Whether a value from a file has the type of `example`, and if a dict, the same keys with values alike."""
    if isinstance(example, dict):
        return (
            isinstance(value, dict)
            and value.keys() == example.keys()
            and all(_alike(value[name], example[name]) for name in example)
        )
    return example is None or type(value) is type(example) or (type(example) is float and type(value) is int)


def _expect_unchanged(plan: dict[str, Any], name: str, path: Path) -> None:
    """Put the sha256 of a file that the run depends on into the plan, or compare it with the one that is there."""
    with open_regular(path, error=DataError) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if plan.setdefault(f"{name}_sha256", digest) != digest:
        raise ConfigError(
            f"--resume needs the {name} that the run began with; {path} has changed: restore it, or start a new run in "
            "another --out"
        )


def _before(out: Path, job: Job, status: StatusLine) -> dict[str, Any]:
    """The figures from before the training: as the report has them, or taken now that nothing is restored yet."""
    before = _report_of(out).get("before")
    if isinstance(before, dict):
        return before
    status.say("evaluating what there is before training ...")
    return job.evaluate()


def _report_of(out: Path) -> dict[str, Any]:
    """The report so far; that of a run that was stopped, even after its last step, has no figures from after it."""
    return read_json_object(out / REPORT) if (out / REPORT).exists() else {}
