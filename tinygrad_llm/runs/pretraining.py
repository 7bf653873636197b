"""Pretraining: the task of training a language model on a text, from its tokenizer to a sample of what it writes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_llm.architectures import ARCHITECTURES, Architecture, taken_by
from tinygrad_llm.data import LongText, WindowBatches, WindowLoader
from tinygrad_llm.errors import CheckpointError, ConfigError, DataError, TinygradLLMError
from tinygrad_llm.random import Generator
from tinygrad_llm.runs.encoding import encode_once, encoded_before, split_of
from tinygrad_llm.runs.life_cycle import Training, with_model
from tinygrad_llm.runs.memory import expect_batch, expect_memory
from tinygrad_llm.runs.model_size import SET_BY_SIZE, sizes_for
from tinygrad_llm.runs.plan import RunPlan, absolute, change_refused
from tinygrad_llm.runs.pretraining_report import PretrainingReport, Sampler
from tinygrad_llm.runs.progress import StatusLine
from tinygrad_llm.runs.vocabulary_sample import pieces_of_sample, vocabulary_sample
from tinygrad_llm.settings import Settings, setting
from tinygrad_llm.text import (
    END_OF_TEXT,
    BPETokenizer,
    CharTokenizer,
    GPT2Tokenizer,
    SimpleTokenizerV2,
    Tokenizer,
    corpora,
)
from tinygrad_llm.train.settings import TrainingSettings

DEFAULT_ARCHITECTURE = "gpt"
DEFAULT_TEXT = corpora.PYTHON_LIBRARY
# Measured with the default text and model: of vocabularies, widths, batches and rates, what ends lowest in equal time.
DEFAULT_TRAINING = TrainingSettings(
    steps=1200, optimizer="muon", learning_rate=6e-3, min_learning_rate=1e-4, warmup_steps=50, eval_interval=300
)
IDS = "ids"  # the folder in the run folder
ROUND_TRIP = 10_000  # characters that are encoded and decoded, to test whether a tokenizer is lossless
VOCABULARIES = {"char": 100, "words": 10_000, "gpt2": 50_257}  # usual sizes, for --size; --vocab-size for bpe
SIZES = ("embedding_dim", "num_layers", "num_heads")  # that distinguish the presets


@dataclass(frozen=True)
class TextOptions(Settings):
    """The text of a pretraining run and its tokenizer, as config.json records them."""

    data: str = setting(
        DEFAULT_TEXT,
        "a UTF-8 text file, folder or glob; or python-docs, the topics of Python's documentation; or python-library, "
        "these and the docstrings of its library and of NumPy. The last tenth is for validation; in python-library, it "
        "is topics and docstrings that the rest does not repeat (default: python-library)",
        metavar="PATH",
    )
    ids: str | None = setting(
        None, "folder of the text's token ids, for use by several runs (default: OUT/ids)", metavar="FOLDER"
    )
    tokenizer: str = setting(
        "bpe",
        "unit of a token: char, a character; bpe, byte pair encoding trained on the text; gpt2, GPT-2's byte pair "
        "encoding; words, a word",
        choices=("char", "bpe", "gpt2", "words"),
    )
    vocab_size: int = setting(4096, "vocabulary size of the BPE tokenizer", least=257)  # 256 bytes and <|endoftext|>
    # A vocabulary of 2,048 (16,384) tokens learned from 10 of 41 MB of Python sources needs 0.4% (1.0%) more tokens for
    # other sources than one learned from all 41, in a third (a fifth) of the time; learned from 1 MB, 3.2% (7.5%) more.
    vocab_sample: float = setting(
        10.0, "amount of text that the BPE tokenizer is trained on, sampled evenly", above=0, unit="MB", metavar="MB"
    )


class Pretraining:
    """The task of `train`. `processes` on this machine train together, each with its own copy of the model."""

    name = ""

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes

    def new_plan(self, given: Mapping[str, Any]) -> RunPlan:
        """The plan of a new run, from flags and defaults. Raises: ConfigError"""
        architecture = ARCHITECTURES[given.get("architecture", DEFAULT_ARCHITECTURE)]
        names = [field.name for field in dataclasses.fields(TextOptions)]
        options = TextOptions.from_dict({name: given[name] for name in names if given.get(name) is not None})
        if options.tokenizer != "bpe":
            for flag in ("vocab_size", "vocab_sample"):
                if flag in given:
                    raise ConfigError(f"--{flag.replace('_', '-')} is for --tokenizer bpe; got {options.tokenizer}")
        if "data" in given and not is_named(options.data):
            options = dataclasses.replace(options, data=absolute(options.data))
        if options.ids is not None:
            options = dataclasses.replace(options, ids=absolute(options.ids))
        names = [field.name for field in dataclasses.fields(TrainingSettings) if field.name in given]
        training = dataclasses.replace(DEFAULT_TRAINING, **{name: given[name] for name in names})
        return RunPlan("", options, training, architecture.name, _model_settings(architecture, given, options))

    def resumed_plan(self, config: Mapping[str, Any], given: Mapping[str, Any]) -> RunPlan:
        """The plan of a run, with the changes that resuming allows. Raises: ConfigError, CheckpointError"""
        plan = RunPlan.from_config(config, self.name, TextOptions(), given["out"])
        known = [architecture.name for architecture in taken_by("train")]
        if plan.model_type not in known:
            raise CheckpointError(
                f"the run's config.json: model_type must be one of {', '.join(known)}; got {plan.model_type}"
            )
        if "size" in given:
            raise ConfigError("--resume continues a run with its own settings; leave out --size")
        if "preset" in given:
            sizes = ARCHITECTURES[plan.model_type].preset(given["preset"])
            if any(plan.model.get(size) != sizes.get(size) for size in SIZES if size not in given):
                raise change_refused("preset", "another size", given["preset"])
        return plan.resumed_with(given)

    def prepare(self, plan: RunPlan, out: Path, tokenizer: Tokenizer | None, status: StatusLine) -> Training:
        """Model, data and report. Raises: ConfigError, DataError, CheckpointError"""
        architecture = ARCHITECTURES[plan.model_type]
        folder = plan.options.ids or out / IDS
        text = None if tokenizer is not None and _text_is_missing(plan) else training_text(plan, status)
        if tokenizer is None:
            tokenizer = make_tokenizer(plan, text or training_text(plan, status), status)
        elif plan.model.get("vocab_size") != tokenizer.vocab_size:
            raise CheckpointError(
                f"{out}: config.json and the tokenizer do not fit each other: vocab_size is "
                f"{plan.model.get('vocab_size')!r}, the tokenizer has {tokenizer.vocab_size} tokens"
            )
        config = architecture.config_from({**plan.model, "vocab_size": tokenizer.vocab_size})
        expect_memory(config, self.processes)
        if text is None:
            encoded = encoded_before(folder, str(plan.data_sha256), tokenizer)
            if encoded is None:
                training_text(plan, status)  # raises a DataError that names the missing file
                raise DataError(f"{plan.options.data}: cannot be read")
            status.say(f"{plan.options.data} is gone; using its ids in {encoded.path}")
        else:
            encoded = encode_once(text, tokenizer, folder, status, workers_asked_for(plan))
        status.say(f"{len(encoded.train):,} training tokens, {len(encoded.validation):,} validation tokens")
        settings = plan.training
        model: Any = architecture.begin(config)
        shuffling = Generator(settings.seed).spawn("shuffling")
        for part, ids in (("training", encoded.train), ("validation", encoded.validation)):
            expect_a_window(ids, config.context_length, part)
        loader = WindowLoader(encoded.train, config.context_length, settings.batch_size, shuffling)
        expect_batch(config, loader.rows_per_batch)
        sampler = Sampler(tokenizer, status)
        sha256 = plan.data_sha256 if text is None else text.survey.sha256
        return Training(
            with_model(dataclasses.replace(plan, data_sha256=sha256), model),
            model,
            loader,
            WindowBatches(encoded.validation, config.context_length, settings.batch_size),
            PretrainingReport(out, model, loader, encoded, gives_text_back(tokenizer, text), sampler, status),
            tokenizer,
            callbacks=[sampler],
        )


def _model_settings(architecture: Architecture, given: Mapping[str, Any], options: TextOptions) -> dict[str, Any]:
    """The model's settings: those of a preset or a size, with the changes that the flags ask for.

    Raises: ConfigError
    """
    settings = architecture.preset(given.get("preset"))
    for other in taken_by("train"):
        for name in other.config.__dataclass_fields__:
            if name in given and name not in (*settings, "vocab_size"):
                raise ConfigError(f"--{name.replace('_', '-')} is no setting of --architecture {architecture.name}")
    settings |= {name: given[name] for name in settings if name in given and name != "vocab_size"}
    if "size" in given:
        if named := [f"--{name.replace('_', '-')}" for name in ("preset", *SET_BY_SIZE) if name in given]:
            raise ConfigError(f"--size chooses layers, heads and width; got {', '.join(named)} as well")
        vocabulary = VOCABULARIES.get(options.tokenizer, options.vocab_size)
        settings |= sizes_for(architecture, {**settings, "vocab_size": vocabulary}, given["size"])
    return architecture.settings_from(settings)


def is_named(data: str) -> bool:
    """Whether `data` is one of the named texts that come with Python, and no file of that name exists."""
    return data in corpora.WITH_PYTHON and not Path(data).exists()


def _text_is_missing(plan: RunPlan) -> bool:
    """Whether the files of the text were deleted or moved."""
    data = plan.options.data
    if is_named(data):
        return False
    try:
        LongText.of_files(data)
    except DataError:
        return True
    return False


def training_text(plan: RunPlan, status: StatusLine) -> LongText:
    """The text that the plan names: files in the order of their paths, a blank line between two.

    Raises: DataError if no file is found, ConfigError if the text of a resumed run has changed
    """
    data = plan.options.data
    status.say(f"reading {data} ...")
    text = LongText.of_string(data, corpora.load_text(data)) if is_named(data) else LongText.of_files(data)
    for note in text.notes:
        status.say(note)
    digest = text.survey.sha256
    if plan.data_sha256 not in (None, digest):
        raise ConfigError(
            f"--resume needs the text that the run began with; {data} has changed (sha256 {digest[:16]}, was "
            f"{str(plan.data_sha256)[:16]}); restore it, or start a new run in another --out"
        )
    return text


def make_tokenizer(plan: RunPlan, text: LongText, status: StatusLine) -> Tokenizer:
    """The tokenizer that the plan's options name: trained on the text, or GPT-2's."""
    options = plan.options
    if options.tokenizer == "gpt2":
        return GPT2Tokenizer()
    if options.tokenizer == "char":
        return CharTokenizer.train(text.blocks())
    split = split_of(text)
    if options.tokenizer == "words":
        return SimpleTokenizerV2.train(vocabulary_sample(text, split, math.inf))
    size, sample = options.vocab_size, 1e6 * options.vocab_sample
    whole = text.survey.bytes * split / text.survey.characters
    part = f"{split:,} characters"
    if sample < whole:
        part = f"a sample of {sample / 1e6:,.3g} of {whole / 1e6:,.3g} MB, spread evenly over the training part"
    status.say(f"training a BPE tokenizer of {size:,} tokens on {part} ...")

    def progress(done: int, total: int) -> None:
        status.renew(lambda: status.share("  merges", done, total))

    pieces = pieces_of_sample(text, split, sample, [END_OF_TEXT], workers_asked_for(plan))
    return BPETokenizer.train(pieces, size, progress=progress)


def expect_a_window(ids: Any, context_length: int, part: str) -> None:
    """Raises: DataError if the ids of a `part` of the text are too few for one window"""
    if len(ids) <= context_length:
        raise DataError(
            f"--context-length {context_length} needs a text of more than so many {part} tokens; got {len(ids):,}: use "
            "a longer text or a smaller --context-length"
        )


def workers_asked_for(plan: RunPlan) -> int | None:
    """The number of processes for work before the training; None for one per core."""
    return plan.training.workers if isinstance(plan.training.workers, int) else None


def gives_text_back(tokenizer: Tokenizer, text: LongText | None) -> bool:
    """Whether decoding restores the encoded text; otherwise bits per byte would count bytes that no token encodes."""
    if text is None:
        return False
    sample = "".join(text.blocks(0, ROUND_TRIP))
    try:
        return tokenizer.decode(tokenizer.encode_ordinary(sample)) == sample
    except TinygradLLMError:
        return False
