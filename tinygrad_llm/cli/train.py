"""Train a GPT or a Llama on text, from nothing to a sample of what it writes.

Under `mpiexec -n N` several processes share the work: the first one does all that is done here and tells the others
what to train (`_assist`); only it reads and writes files.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm.architectures import (
    ARCHITECTURES,
    DEFAULT_PRESET,
    architecture_of_config,
    taken_by,
)
from tinygrad_llm.cli.flags import CHANGEABLE, add_flags, change_refused, expect_run_of, flag_of
from tinygrad_llm.data import LongText, WindowBatches, WindowLoader
from tinygrad_llm.errors import CheckpointError, ConfigError
from tinygrad_llm.generate import Sampling, generate
from tinygrad_llm.generate.starting import ids_if_known
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.nn.init import no_initial_values
from tinygrad_llm.random import Generator, manual_seed
from tinygrad_llm.runs import ProgressLog, RunFolder, StatusLine, duration
from tinygrad_llm.runs.encoding import encode_once, split_of
from tinygrad_llm.runs.environment import crowding
from tinygrad_llm.runs.memory import expect_memory
from tinygrad_llm.runs.vocabulary_sample import vocabulary_sample
from tinygrad_llm.text import (
    BPETokenizer,
    CharTokenizer,
    GPT2Tokenizer,
    SimpleTokenizerV2,
    Tokenizer,
    corpora,
)
from tinygrad_llm.train import Callback, Communicator, Trainer, TrainingSettings, bits_per_byte, join_launch, perplexity
from tinygrad_llm.train.parallel import ParallelTrainer
from tinygrad_llm.train.parallel.mpi import MPICommunicator

DEFAULT_TEXT = "python-docs"
DEFAULT_VOCAB_SIZE = 2048  # for a BPE tokenizer trained here
# MB. A vocabulary of 2,048 (16,384) tokens learned from 10 of 41 MB of Python sources needs 0.4% (1.0%) more tokens for
# other sources than one learned from all 41, in a third (a fifth) of the time; learned from 1 MB, 3.2% (7.5%) more.
DEFAULT_VOCAB_SAMPLE = 10.0
IDS = "ids"  # the folder in the run folder
FINAL_EVALUATION_BATCHES = 200  # enough for two digits, and bounded however long the text
SAMPLE_TOKENS = 100
SAMPLING = Sampling(temperature=0.8, top_k=50)
NOTHING_TO_DO = None  # in place of a task for the other processes
DEFAULT_ARCHITECTURE = "gpt"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.argument_default = argparse.SUPPRESS  # so that a resumed run can tell what was asked for
    parser.epilog = (
        "Several processes can share the work, on one machine or many: mpiexec -n 2 tinygrad-llm train ..., with "
        "pip install 'tinygrad-llm[mpi]' and OPENBLAS_NUM_THREADS=1."
    )
    run = parser.add_argument_group("run")
    run.add_argument(
        "--data", metavar="PATH", help="a UTF-8 text file, folder or glob (default: Python's own documentation)"
    )
    run.add_argument("--out", metavar="DIR", help="the run folder (default: runs/gpt)")
    run.add_argument("--ids", metavar="FOLDER", help="where to keep the text's ids, for more runs (default: OUT/ids)")
    run.add_argument("--resume", action="store_true", help="continue the run in --out, with the settings it has")
    run.add_argument("--stop-at", type=int, metavar="STEP", help="stop after this step; --resume goes on")
    run.add_argument("--keep", type=int, metavar="N", help="checkpoints to keep (default: 2)")

    text = parser.add_argument_group("tokenizer")
    text.add_argument(
        "--tokenizer",
        choices=("char", "bpe", "gpt2", "words"),
        help="what becomes one token: a character, a frequent piece of text (bpe, trained here on the text; gpt2, as "
        "it was trained on much more) or a word (default: bpe)",
    )
    text.add_argument(
        "--vocab-size", type=int, metavar="N", help=f"tokens of the BPE tokenizer (default: {DEFAULT_VOCAB_SIZE})"
    )
    text.add_argument(
        "--vocab-sample",
        type=float,
        metavar="MB",
        help=f"of a longer text, how much the BPE tokenizer is trained on (default: {DEFAULT_VOCAB_SAMPLE:g})",
    )

    model = parser.add_argument_group("model")
    known = taken_by("train")
    model.add_argument(
        "--architecture",
        choices=[architecture.name for architecture in known],
        help=f"the kind of model (default: {DEFAULT_ARCHITECTURE})",
    )
    presets = dict.fromkeys(name for architecture in known for name in architecture.presets)
    model.add_argument(
        "--preset", metavar="NAME", help=f"the sizes to start from: {', '.join(presets)} (default: {DEFAULT_PRESET})"
    )
    explained = {"vocab_size"}  # which the tokenizer decides
    for architecture in known:
        settings = architecture.config
        group = model
        if architecture.name != DEFAULT_ARCHITECTURE:
            group = parser.add_argument_group(f"model of --architecture {architecture.name}")
        add_flags(group, settings, leave_out=tuple(explained))
        explained |= set(settings.__dataclass_fields__)

    training = parser.add_argument_group("training")
    add_flags(training, TrainingSettings())


def run(arguments: argparse.Namespace) -> int:
    communicator = join_launch()
    if communicator.rank:
        return _assist(communicator)
    given = vars(arguments)
    if given.get("stop_at", 0) < 0:
        raise ConfigError(f"--stop-at must be a step, at least 0; got {given['stop_at']}")
    resume = given.get("resume", False)
    out, keep = Path(given.get("out", "runs/gpt")), given.get("keep", 2)
    started = time.monotonic()
    status = StatusLine()
    here = 1
    if isinstance(communicator, MPICommunicator):
        here = communicator.processes_here
        if warning := crowding(here, communicator.cores_here):
            status.say(f"warning: {warning}")
    if resume:
        folder = RunFolder.open(out, keep)
        expect_run_of("train", folder.config, out)
        plan = _resumed_plan(folder.config, given)
    else:
        plan = new_plan(given)
        folder = RunFolder.create(out, keep)
    with folder:
        text = training_text(plan, status)
        plan["data_sha256"] = text.survey.sha256
        tokenizer = folder.tokenizer if resume else make_tokenizer(plan, text, status)
        if resume and plan["model"].get("vocab_size") != tokenizer.vocab_size:
            raise CheckpointError(
                f"{out}: config.json and the tokenizer do not fit each other: vocab_size is "
                f"{plan['model'].get('vocab_size')!r}, the tokenizer has {tokenizer.vocab_size} tokens"
            )
        plan["model"]["vocab_size"] = tokenizer.vocab_size
        architecture = ARCHITECTURES[plan["model_type"]]
        config = architecture.config_from(plan["model"])
        expect_memory(config, here)

        encoded = encode_once(text, tokenizer, plan.get("ids") or out / IDS, status)
        status.say(f"{len(encoded.train):,} training tokens, {len(encoded.validation):,} validation tokens")

        settings = TrainingSettings.from_dict(plan["training"])
        manual_seed(settings.seed)
        model: Any = architecture.begin(config)
        shuffling = Generator(settings.seed).spawn("shuffling")
        sampler = Sampler(tokenizer, status)
        trainer = ParallelTrainer(
            model,
            WindowLoader(encoded.train, config.context_length, settings.batch_size, shuffling),
            settings,
            WindowBatches(encoded.validation, config.context_length, settings.batch_size),
            callbacks=[ProgressLog(status), folder, sampler],
            communicator=communicator,
        )
        if resume:
            for notice in folder.restore(trainer):
                status.say(notice)
            if trainer.step >= settings.steps:
                status.say(f"the run in {out} is finished: {trainer.step}/{settings.steps} steps; --steps extends it")
                communicator.broadcast(NOTHING_TO_DO)
                return 0
            folder.update_config(plan)
        else:
            folder.begin(plan, tokenizer)  # only now, when all that was asked for has proved possible
        _introduce(model, trainer, status)
        communicator.broadcast((config, settings, given.get("stop_at")))
        go_on = f"Continue with: {_resume(out, communicator.size)}"
        try:
            trainer.train(given.get("stop_at"))
        except KeyboardInterrupt as interruption:
            status.say(f"interrupted; saved after step {trainer.step}. {go_on}")
            return 128 + (interruption.args[0] if interruption.args else signal.SIGINT)
        if trainer.step < settings.steps:
            status.say(f"stopped after step {trainer.step} of {settings.steps}. {go_on}")
            return 0
        status.say(f"\nwhat it writes:\n{sampler.sample(trainer)}\n")
        loss = trainer.evaluate(FINAL_EVALUATION_BATCHES)
        status.say(
            f"validation loss {loss:.4f} nats per token (perplexity {perplexity(loss):,.1f}), "
            f"{bits_per_byte(loss, len(encoded.validation), encoded.validation_bytes):.3f} bits per byte; "
            f"{duration(time.monotonic() - started)} in all, saved in {out}"
        )
        status.say(f"let it write: {_program()} generate --model {out} --prompt 'The '")
        status.say(f"continue:     {_resume(out, communicator.size)} --steps {2 * settings.steps}")
    return 0


def _assist(communicator: Communicator) -> int:
    """What every process but the first does: its share of the training and evaluation that the first tells it to do."""
    task = communicator.broadcast(NOTHING_TO_DO)
    if task is NOTHING_TO_DO:
        return 0
    config, settings, stop_at = task
    with no_initial_values():  # the weights, too, come from the first
        model = architecture_of_config(config).begin(config)
    trainer = ParallelTrainer(model, None, settings, communicator=communicator)
    try:
        trainer.train(stop_at)
    except KeyboardInterrupt as interruption:
        return 128 + (interruption.args[0] if interruption.args else signal.SIGINT)
    if trainer.step == settings.steps:
        trainer.evaluate(FINAL_EVALUATION_BATCHES)
    return 0


def new_plan(given: dict[str, Any]) -> dict[str, Any]:
    """All that decides a run, from the flags and the defaults."""
    architecture = ARCHITECTURES[given.get("architecture", DEFAULT_ARCHITECTURE)]
    model = architecture.preset(given.get("preset"))
    for other in taken_by("train"):
        for name in other.config.__dataclass_fields__:
            if name in given and name not in (*model, "vocab_size"):
                raise ConfigError(f"{flag_of(name)} is no setting of --architecture {architecture.name}")
    model |= {name: given[name] for name in model if name in given and name != "vocab_size"}
    architecture.config_from(model)
    training = {field.name: given[field.name] for field in dataclasses.fields(TrainingSettings) if field.name in given}
    tokenizer = given.get("tokenizer", "bpe")
    if "vocab_size" in given and tokenizer != "bpe":
        raise ConfigError(f"--vocab-size is for --tokenizer bpe; a {tokenizer} tokenizer has the size that it has")
    if "vocab_sample" in given and tokenizer != "bpe":
        raise ConfigError(f"--vocab-sample is for --tokenizer bpe; a {tokenizer} tokenizer needs none")
    sample = given.get("vocab_sample", DEFAULT_VOCAB_SAMPLE)
    if not 0 < sample < math.inf:
        raise ConfigError(f"--vocab-sample must be a number of MB above 0; got {sample:g}")
    return {
        "model_type": architecture.name,
        "model": model,
        "training": TrainingSettings.from_dict(training).to_dict(),
        "data": str(given.get("data", DEFAULT_TEXT)),
        "tokenizer": tokenizer,
        "tokenizer_vocab_size": given.get("vocab_size", DEFAULT_VOCAB_SIZE),
        "vocab_sample": sample,
        **({"ids": given["ids"]} if "ids" in given else {}),
    }


def _resumed_plan(config: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The run's own plan; a flag may repeat what it says, and change only what does not change the training so far."""
    expected = {"training": dict, "data": str, "data_sha256": str, "tokenizer": str, "tokenizer_vocab_size": int}
    if "ids" in config:
        expected["ids"] = str
    for name, kind in expected.items():
        if not isinstance(config.get(name), kind):
            raise CheckpointError(f"the run's config.json: {name} must be what `train` wrote; got {config.get(name)!r}")
    known = [architecture.name for architecture in taken_by("train")]
    if config["model_type"] not in known:
        raise CheckpointError(
            f"the run's config.json: model_type must be one of {', '.join(known)}; got {config['model_type']}"
        )
    plan = {**config, "training": dict(config["training"])}
    for name, value in given.items():
        if name in CHANGEABLE:
            plan["training"][name] = value
            continue
        if name == "ids":  # another place for the same ids
            plan["ids"] = value
            continue
        if name == "preset":
            same = all(
                plan["model"][size] == asked
                for size, asked in ARCHITECTURES[plan["model_type"]].preset(value).items()
                if size in ("embedding_dim", "num_layers", "num_heads") and size not in given
            )
            was: Any = "another size"
        elif name == "architecture":
            was = plan["model_type"]
            same = value == was
        elif name == "vocab_size":
            was = plan["tokenizer_vocab_size"]
            same = value == was
        else:
            place = next((part for part in (plan["model"], plan["training"], plan) if name in part), None)
            if place is None:
                continue
            was = place[name]
            same = was == value
        if not same:
            raise change_refused(name, was, value)
    return plan


def training_text(plan: dict[str, Any], status: StatusLine) -> LongText:
    """The text that the plan names: files in the order of their paths, a blank line between two.

    Raises: DataError where there is none, ConfigError where a resumed run's text has changed
    """
    data = plan["data"]
    status.say(f"reading {data} ...")
    if data == DEFAULT_TEXT and not Path(data).exists():
        text = LongText.of_string(data, corpora.load_text(DEFAULT_TEXT))
    else:
        text = LongText.of_files(data)
        for note in text.notes:
            status.say(note)
    digest = text.survey.sha256
    if plan.get("data_sha256", digest) != digest:
        raise ConfigError(
            f"--resume needs the text that the run began with; {data} has changed (sha256 {digest[:16]}, was "
            f"{plan['data_sha256'][:16]}); restore it, or start a new run in another --out"
        )
    return text


def make_tokenizer(plan: dict[str, Any], text: LongText, status: StatusLine) -> Tokenizer:
    """The tokenizer that the plan names: trained on the text, or GPT-2's."""
    kind = plan["tokenizer"]
    if kind == "gpt2":
        return GPT2Tokenizer()
    if kind == "char":
        return CharTokenizer.train(text.blocks())
    split = split_of(text)
    if kind == "words":
        return SimpleTokenizerV2.train(vocabulary_sample(text, split, math.inf))
    size, sample = plan["tokenizer_vocab_size"], 1e6 * plan["vocab_sample"]
    there = text.survey.bytes * split / text.survey.characters
    of_what = f"{split:,} characters"
    if sample < there:
        of_what = f"a sample of {sample / 1e6:,.4g} of {there / 1e6:,.0f} MB, spread evenly over the training part"
    status.say(f"training a BPE tokenizer of {size:,} tokens on {of_what} ...")

    def progress(done: int, total: int) -> None:
        status.renew(lambda: f"  {done:,} of {total:,} merges")

    return BPETokenizer.train(vocabulary_sample(text, split, sample), size, progress=progress)


class Sampler(Callback):
    """Prints what the model writes every `sample_interval` steps, from a generator of its own."""

    def __init__(self, tokenizer: Tokenizer, status: StatusLine) -> None:
        self.tokenizer, self.status = tokenizer, status

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        interval = trainer.settings.sample_interval
        if interval and record["step"] % interval == 0 and record["step"] < trainer.settings.steps:
            self.status.say(f"  {self.sample(trainer)!r}")

    def sample(self, trainer: Trainer) -> str:
        """Some text after the beginning of a line."""
        model: Any = trainer.model
        prompt = ids_if_known(self.tokenizer, "\n") or [0]
        ids = generate(model, np.array(prompt), SAMPLE_TOKENS, SAMPLING, generator=trainer.generators["sampling"])
        return self.tokenizer.decode(ids[len(prompt) :]).strip("\n")


def _introduce(model: LanguageModel, trainer: Trainer, status: StatusLine) -> None:
    config, settings = model.config, trainer.settings
    tokens = settings.steps * settings.batch_size * settings.grad_accumulation * config.context_length
    status.say(
        f"a {type(model).__name__} of {model.num_parameters():,} parameters ({config.num_layers} layers, "
        f"{config.num_heads} heads, {config.embedding_dim} wide, context {config.context_length}); "
        f"{settings.steps:,} steps, {tokens:,} tokens"
    )
    if (processes := trainer.processes) > 1:
        status.say(f"{processes} processes share each batch of {settings.batch_size} rows")
    if trainer.step:
        status.say(f"continuing after step {trainer.step}")


def _program() -> str:
    return "python -m tinygrad_llm" if Path(sys.argv[0]).name == "__main__.py" else "tinygrad-llm"


def _resume(out: Path, processes: int) -> str:
    return f"mpiexec -n {processes} " * (processes > 1) + f"{_program()} train --resume --out {out}"
