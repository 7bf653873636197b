"""Search for good settings of a training: successive halving over ordinary runs."""

from __future__ import annotations

import argparse
import math
import os
import shutil
import statistics
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import ARCHITECTURES
from tinygrad_llm.cli.config_file import add_config_flag
from tinygrad_llm.cli.flags import add_flags, flag_of
from tinygrad_llm.cli.messages import message_of
from tinygrad_llm.cli.sizes import short_count
from tinygrad_llm.cli.train import add_model_flags
from tinygrad_llm.cli.vary import dimension_of
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.formats import RunLock, remove_leftovers
from tinygrad_llm.formats.atomic import TEMPORARY_NAME
from tinygrad_llm.formats.lock import LOCK_FILE
from tinygrad_llm.runs.checkpoints import CONFIG
from tinygrad_llm.runs.hints import command
from tinygrad_llm.runs.memory import expect_memory
from tinygrad_llm.runs.plan import absolute
from tinygrad_llm.runs.pretraining import DEFAULT_TRAINING, VOCABULARIES, Pretraining, TextOptions, is_named
from tinygrad_llm.runs.progress import StatusLine, duration
from tinygrad_llm.runs.search import Search, flags_of
from tinygrad_llm.runs.search_record import RECORD, Rung, SearchRecord, Trial, TrialRun, rungs_of, steps_of
from tinygrad_llm.runs.search_space import all_trials, in_words, random_trials

OUT = "runs/search"
TRIALS = 8
OF_THIS_CALL = {"command", "debug", "config", "out", "resume", "plan"}  # flags that the record does not keep
OF_THE_SEARCH = {"file", "vary", "trials", "grid", "factor", "seeds", "search_seed", "seed", "steps"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.argument_default = argparse.SUPPRESS
    parser.epilog = (
        "Example: tinygrad-llm search --vary learning_rate=log:1e-4..1e-2 --vary num_layers=2,4,6. All trials are "
        "trained for a few steps, the better half for twice as many, until one has had --steps. All have the schedule "
        "of the last rung, and stop on it early; unless given, the warm-up ends in the middle of the first rung at "
        "the latest, and the final learning rate is a tenth of one that is given or varied. DIR/trial-NN is an "
        "ordinary run: `generate`, `plot` and `train --resume` take it."
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="the text to train on, the same as --data")
    search = parser.add_argument_group("search")
    search.add_argument("--out", metavar="DIR", help=f"folder of the search and its runs (default: {OUT})")
    add_config_flag(search)
    search.add_argument("--resume", action="store_true", help="continue the search in --out where it ended")
    search.add_argument("--plan", action="store_true", help="print the trials, the rungs and their cost; train nothing")
    search.add_argument(
        "--vary",
        action="append",
        metavar="NAME=VALUES",
        help="a setting of `train` and its values: a list 2,4,6; a range 0..0.2; a range on a logarithmic scale "
        "log:1e-4..1e-2; repeat it for several settings",
    )
    search.add_argument("--trials", type=int, metavar="N", help=f"random choices of these settings (default: {TRIALS})")
    search.add_argument("--grid", action="store_true", help="try every combination in place of random ones")
    search.add_argument("--factor", type=int, metavar="N", help="keep one of N trials at each rung (default: 2)")
    search.add_argument("--seeds", type=int, metavar="N", help="runs per trial, compared by their mean (default: 1)")
    search.add_argument("--search-seed", type=int, metavar="N", help="seed of the random choices (default: 0)")
    add_flags(parser.add_argument_group("text and tokenizer"), TextOptions(), leave_out=("ids",), silent=("data",))
    add_model_flags(parser)
    add_flags(parser.add_argument_group("training"), DEFAULT_TRAINING)


def run(arguments: argparse.Namespace) -> int:
    given, status = vars(arguments), StatusLine()
    out = Path(given.get("out", OUT))
    if given.get("resume"):
        record = _resumed(out, given)
    else:
        record = new_record(given)
        if not given.get("plan"):
            _expect_new_folder(out)
    if given.get("plan"):
        for line in plan_of(record):
            status.say(line)
        return 0
    existed = out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"--out {out}: the folder cannot be made: {error.strerror}") from None
    again = command("search", "--resume", "--out", out)
    with RunLock(out):
        remove_leftovers(out)  # of a search that was killed while it wrote its record
        record.save(out)
        try:
            code = Search(out, record, base_of(record.request), status).run()
        except KeyboardInterrupt:
            status.clear()
            status.hint("continue", again)
            raise
        except (ConfigError, DataError):
            if not given.get("resume") and not any(run.losses for trial in record.trials for run in trial.runs):
                _empty(out, remove=not existed)  # the corrected command must not meet it
            raise
    if code in (0, 1):
        _report(record, out, status)
    else:
        status.say("interrupted; what was trained is saved")
        status.hint("continue", again)
    return code


# -- the plan of a search


def new_record(given: Mapping[str, Any]) -> SearchRecord:
    """The record of a new search, with its trials drawn and checked. Raises: ConfigError"""
    if not given.get("vary"):
        raise ConfigError("--vary names the settings to search, as in --vary learning_rate=log:1e-4..1e-2; got none")
    counts = {name: given.get(name, usual) for name, usual in (("trials", TRIALS), ("factor", 2), ("seeds", 1))}
    for name, least, most in (("trials", 1, 1000), ("factor", 2, 1000), ("seeds", 1, 100)):
        if not least <= counts[name] <= most:
            raise ConfigError(f"--{name} must be an integer from {least} to {most}; got {counts[name]}")
    seed = given.get("search_seed", 0)
    if not 0 <= seed < 2**32:
        raise ConfigError(f"--search-seed must be an integer from 0 to {2**32 - 1}; got {seed}")
    space = [dimension_of(spec) for spec in given["vary"]]
    if twice := next((one.name for one in space if [other.name for other in space].count(one.name) > 1), None):
        raise ConfigError(f"--vary names each setting once; got {twice} twice")
    if both := [dimension.name for dimension in space if dimension.name in given]:
        raise ConfigError(f"a setting either varies or has one value; got --vary and {flag_of(both[0])}")
    if given.get("grid") and "trials" in given:
        raise ConfigError("--grid tries every combination; leave out --trials")
    settings = all_trials(space) if given.get("grid") else random_trials(space, counts["trials"], seed)
    request = {name: _for_json(name, value) for name, value in given.items() if name not in OF_THIS_CALL}
    first_seed = given.get("seed", DEFAULT_TRAINING.seed)
    trials = []
    width = max(2, len(str(len(settings))))
    for number, values in enumerate(settings, 1):
        folder = f"trial-{number:0{width}}"
        seeds = range(first_seed, first_seed + counts["seeds"])
        runs = [TrialRun(seed, folder if len(seeds) == 1 else f"{folder}-seed-{seed}") for seed in seeds]
        trials.append(Trial(number, values, runs))
    rungs = rungs_of(len(trials), given.get("steps", DEFAULT_TRAINING.steps), counts["factor"])
    record = SearchRecord(request, rungs, trials)
    interval = given.get("eval_interval")
    if interval and rungs[0].steps % interval:
        raise ConfigError(f"--eval-interval must divide the first rung's {rungs[0].steps} steps; got {interval}")
    for trial in trials:
        _model_config(record, trial)
    return record


def base_of(request: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all trials share, by their flags' names."""
    shared = {name: value for name, value in request.items() if name not in OF_THE_SEARCH}
    return shared | ({"data": request["file"]} if request.get("file") else {})


def _for_json(name: str, value: Any) -> Any:
    """A flag's value as the record keeps it: paths mean the same from every working directory."""
    if name in ("file", "data") and not is_named(value):
        return absolute(value)
    return list(value) if isinstance(value, tuple) else os.fspath(value) if isinstance(value, Path) else value


def _model_config(record: SearchRecord, trial: Trial) -> Any:
    """The config of the trial's model, with the usual vocabulary of its tokenizer. Raises: ConfigError"""
    try:
        plan = Pretraining().new_plan(flags_of(record, base_of(record.request), trial, trial.runs[-1]))
        vocabulary = VOCABULARIES.get(plan.options.tokenizer, plan.options.vocab_size)
        config = ARCHITECTURES[plan.model_type].config_from({**plan.model, "vocab_size": vocabulary})
        expect_memory(config)
        return config
    except ConfigError as error:
        raise ConfigError(f"trial {trial.number} ({in_words(trial.settings)}): {message_of(error)}") from error


def _resumed(out: Path, given: Mapping[str, Any]) -> SearchRecord:
    """The record of the search in `out`, which flags given again must not contradict. Raises: ConfigError, DataError"""
    if not (out / RECORD).is_file():
        raise DataError(f"--resume continues the search in --out; there is no {RECORD} in {out}: check the spelling")
    record = SearchRecord.read(out)
    for name, value in given.items():
        if name in OF_THIS_CALL:
            continue
        value, was = _for_json(name, value), record.request.get(name)
        if was != value:
            raise ConfigError(
                f"--resume continues a search with its own settings; {flag_of(name)} was "
                f"{'not given' if was is None else was}, got {value}; start a new search in another --out"
            )
    return record


def _expect_new_folder(out: Path) -> None:
    if (out / RECORD).exists():
        raise ConfigError(f"{out} already holds a search; continue it with --resume, or give a new folder with --out")
    if (out / CONFIG).exists():
        raise ConfigError(f"--out must be a new folder; {out} holds a run")
    if out.exists() and not (out.is_dir() and all(_is_left_by_a_search(file.name) for file in out.iterdir())):
        raise ConfigError(f"--out must be a new or an empty folder; got {out}")


def _empty(out: Path, remove: bool) -> None:
    """Delete what a new search wrote into its folder, which was empty; or the folder too."""
    for path in [out] if remove else [path for path in out.iterdir() if path.name != LOCK_FILE]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _is_left_by_a_search(name: str) -> bool:
    """Whether a search that was killed before it had a record may have left this file."""
    return name == LOCK_FILE or TEMPORARY_NAME.fullmatch(name) is not None


# -- what is printed


def plan_of(record: SearchRecord) -> Iterator[str]:
    """The lines of `--plan`: trials, rungs, and the cost in steps, tokens and floating-point operations."""
    seeds, rungs = len(record.trials[0].runs), record.rungs
    flags = flags_of(record, base_of(record.request), record.trials[0], record.trials[0].runs[0])
    yield f"{len(record.trials)} trials, {seeds} seed{'s' * (seeds > 1)} each; warm-up of {flags['warmup_steps']} steps"
    yield "trial   size  settings"
    operations = tokens = 0.0
    for trial in record.trials:
        config = _model_config(record, trial)
        size = ARCHITECTURES[_architecture(record, trial)].parameters(config)
        yield f"{trial.number:>5}  {short_count(size):>5}  {in_words(trial.settings)}"
        flags = flags_of(record, base_of(record.request), trial, trial.runs[0])
        rows = flags.get("batch_size", DEFAULT_TRAINING.batch_size)
        rows *= flags.get("grad_accumulation", DEFAULT_TRAINING.grad_accumulation)
        share = steps_of(rungs) / len(record.trials) * seeds  # steps of a trial on average: any of them may survive
        tokens += share * rows * config.context_length
        operations += 6 * size * share * rows * config.context_length
    yield " rung  trials   steps"
    for number, rung in enumerate(rungs, 1):
        yield f"{number:>5}  {rung.trials:>6}  {rung.steps:>6,}"
    wanted = record.request.get("steps", DEFAULT_TRAINING.steps)
    if wanted != rungs[-1].steps:
        yield f"the last rung has {rungs[-1].steps:,} steps: --steps {wanted:,} rounded up for whole rungs"
    cost, whole = seeds * steps_of(rungs), seeds * len(record.trials) * rungs[-1].steps
    yield (
        f"{cost:,} steps in all, {cost / whole:.0%} of the {whole:,} that training every trial to the end takes; about "
        f"{short_count(round(tokens))} tokens, {operations:.1e} floating-point operations (6 per parameter and token)"
    )


def _architecture(record: SearchRecord, trial: Trial) -> str:
    return Pretraining().new_plan(flags_of(record, base_of(record.request), trial, trial.runs[0])).model_type


def table_of(record: SearchRecord) -> Iterator[str]:
    """The trials, the best first: loss at each rung (the mean of the seeds), time and settings."""
    widths = [max(7, len(f"{rung.steps:,}")) for rung in record.rungs]
    steps = "  ".join(f"{rung.steps:>{width},}" for rung, width in zip(record.rungs, widths, strict=True))
    yield f"trial  {steps}  {'time':>7}  settings"
    for trial in record.ranked():
        cells = [
            _cell(record, trial, rung, number).rjust(width)
            for number, (rung, width) in enumerate(zip(record.rungs, widths, strict=True))
        ]
        yield f"{trial.number:>5}  {'  '.join(cells)}  {duration(trial.seconds):>7}  {in_words(trial.settings)}"


def _cell(record: SearchRecord, trial: Trial, rung: Rung, number: int) -> str:
    loss = trial.loss_at(rung.steps)
    if math.isfinite(loss):
        return f"{loss:.4f}"
    return "nan" if trial in record.trials_of(number) and trial.seconds else "-"


def _report(record: SearchRecord, out: Path, status: StatusLine) -> None:
    last, best = record.rungs[-1].steps, record.best()
    status.say(f"\nvalidation loss (nats per token) after so many steps, in {out / RECORD}")
    for line in table_of(record):
        status.say(line)
    for trial in record.trials:
        if trial.diverged_after is not None:
            status.say(f"trial {trial.number} diverged after step {trial.diverged_after:,}")
    if best is None:
        status.say("no trial reached the last rung with a finite loss: lower the learning rates", "red")
        return
    losses = best.losses_at(last)
    spread = f" ± {statistics.stdev(losses):.4f} over {len(losses)} seeds" if len(losses) > 1 else ""
    status.say(
        f"best: trial {best.number}, {in_words(best.settings)}; validation loss {best.loss_at(last):.4f}{spread}"
    )
    found = out / record.to_dict()["best"]["run"]
    status.hint("generate text", command("generate", "--model", found))
    status.hint("continue it", command("train", "--resume", "--out", found, "--steps", str(2 * last)))
    status.hint("its settings", command("show", found, "--config"))
