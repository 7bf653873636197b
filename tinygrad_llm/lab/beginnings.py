"""What a lab begins with: a new small GPT on a text, or a model that exists and what it is trained on.

`start()` makes a Trainer at the first step, the same each time: timelines, twins and replicas begin from it.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.architectures import architecture_of
from tinygrad_llm.arrays import Array
from tinygrad_llm.data import LongText, WindowBatches, WindowLoader, train_validation_split
from tinygrad_llm.errors import DataError
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.random import Generator, manual_seed
from tinygrad_llm.text import CharTokenizer, Tokenizer
from tinygrad_llm.text.corpora import PYTHON_DOCS, load_text
from tinygrad_llm.train import Trainer, TrainingSettings

MOST_CHARACTERS = 4_000_000  # of a text; a lab shows the first minutes of a training
VALIDATION_SHARE = 0.1
ENDLESS = 1_000_000_000  # steps: a lab trains for as long as somebody looks
WARMUP = 20  # steps
RATE = 5e-3  # of the small GPT
MODEL = {"context_length": 64, "embedding_dim": 32, "num_heads": 4, "num_layers": 2, "dropout": 0.1}
ROWS = 12  # windows in a batch
PROMPT = 19  # characters of the first prompt
SETTINGS = TrainingSettings(
    steps=ENDLESS,
    batch_size=ROWS,
    learning_rate=RATE,
    min_learning_rate=RATE,
    warmup_steps=WARMUP,
    weight_decay=0.01,
    eval_interval=25,
    eval_batches=4,
    workers=1,  # processes would be forked among the threads of a server
)

# For a model that is trained already.
FURTHER = dataclasses.replace(SETTINGS, batch_size=4, learning_rate=3e-5, min_learning_rate=3e-5)


@dataclass(frozen=True)
class Text:
    """A text to train on, as ids. `unigram_entropy` is the loss of knowing the frequencies of tokens alone, in nats."""

    name: str
    training: Array
    validation: Array
    beginning: str  # for a tokenizer of its own, and a prompt

    @property
    def unigram_entropy(self) -> float:
        counts = np.bincount(self.training)
        shares = counts[counts > 0] / self.training.size
        return float(-(shares * np.log(shares)).sum())


@dataclass(frozen=True)
class Beginning:
    """A model with its tokenizer, its text, and how a training of it starts."""

    title: str
    model: Any
    tokenizer: Tokenizer
    text: Callable[[], Text] | None = None  # it is read when it is first needed
    start: Callable[[], Trainer] | None = None
    why_not: str = "this lab shows a model, and does not train it"  # where `start` is None
    starts_at_once: bool = False
    prompt: str = "The "
    chat: Any = None  # the `ChatModel` of a model that can be talked to


def read_beginning(data: str | None) -> tuple[str, str]:
    """The name of a text and its first MOST_CHARACTERS characters: a file, folder or glob, or Python's documentation.

    Raises: DataError if it cannot be read, or holds nothing
    """
    if data is None:
        return PYTHON_DOCS, load_text(PYTHON_DOCS)
    long = LongText.of_files(data)
    text = "".join(long.blocks(0, MOST_CHARACTERS))
    if not text.strip():
        raise DataError(f"{data} must hold text to train on; it holds only white space")
    return data, text


def new_model(data: str | None) -> Beginning:
    """A GPT of about 30,000 parameters that is to learn the characters of a text.

    Raises: DataError for a text that is too short
    """
    name, text = read_beginning(data)
    tokenizer = CharTokenizer.train(text)
    encoded = encoded_text(name, text, tokenizer, int(MODEL["context_length"]))
    config = GPTConfig.from_dict({**MODEL, "vocab_size": tokenizer.vocab_size, "tie_weights": True})

    def start() -> Trainer:
        manual_seed(SETTINGS.seed)
        return new_trainer(GPT(config, init="gpt2"), encoded, SETTINGS)

    model = start().model
    title = f"a GPT of {model.num_parameters():,} parameters that learns the characters of {name}"
    return Beginning(title, model, tokenizer, lambda: encoded, start, starts_at_once=True, prompt=text.strip()[:PROMPT])


def trained_model(model: Any, tokenizer: Tokenizer, name: str, data: str | None) -> Beginning:
    """A model that exists, to be trained further on a text, with new moments. Raises: DataError for a useless text"""
    title = f"{architecture_of(model).words} of {model.num_parameters():,} parameters, {name}"
    if any(p.dtype != np.float32 for p in model.parameters()):
        return Beginning(title, model, tokenizer, why_not="training needs weights in float32")

    @functools.cache
    def text() -> Text:
        return encoded_text(*read_beginning(data), tokenizer, model.config.context_length)

    def start() -> Trainer:
        return new_trainer(copy.deepcopy(model), text(), FURTHER)

    if data is not None:
        text()  # a text that cannot be used is refused at once
    return Beginning(title, model, tokenizer, text, start)


def encoded_text(name: str, text: str, tokenizer: Tokenizer, context: int) -> Text:
    """Raises: DataError if training or validation part do not fill one window"""
    ids = np.asarray(tokenizer.encode_to_array(text))
    training, validation = train_validation_split(ids, VALIDATION_SHARE)
    for part, length in (("training", len(training)), ("validation", len(validation))):
        if length <= context:
            raise DataError(
                f"{name} must give more than {context} {part} tokens (the context), with one of ten parts for "
                f"validation; got {length}: use a longer text"
            )
    return Text(name, training, validation, text[:200_000])


def new_trainer(model: Any, text: Text, settings: TrainingSettings) -> Trainer:
    """A Trainer without callbacks on a text, with random numbers of its own."""
    context = model.config.context_length
    shuffling = Generator(settings.seed).spawn("shuffling")
    loader = WindowLoader(text.training, context, settings.batch_size, shuffling)
    return Trainer(model, loader, settings, WindowBatches(text.validation, context, settings.batch_size))
