"""Train a text classifier on a pretrained model, and use it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinygrad_llm.cli.finetuning import add_action, add_training_arguments, train
from tinygrad_llm.cli.lora_options import LoRAOptions
from tinygrad_llm.cli.run_argument import add_model_argument, open_chosen_run
from tinygrad_llm.data import (
    ClassificationDataset,
    LabelledText,
    balance,
    label_names,
    random_split,
    read_labelled_texts,
    sentiment_texts,
)
from tinygrad_llm.data.sentiment import KINDS
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.finetune import BagOfWords, Classifier, classify, evaluate_classifier
from tinygrad_llm.finetune.accuracy import CountingLoss
from tinygrad_llm.models import GPT, Bert, BertConfig, GPTConfig
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import RunFolder, StatusLine
from tinygrad_llm.runs.fine_tuning import REPORT, Base, FineTuning, Job, held_out_batches, training_batches
from tinygrad_llm.runs.memory import expect_memory
from tinygrad_llm.settings import setting
from tinygrad_llm.terminal import for_terminal
from tinygrad_llm.text import END_OF_TEXT, BPETokenizer, Tokenizer
from tinygrad_llm.text.tokenizer import FRAME
from tinygrad_llm.train import TrainingSettings

MOST_SHOWN = 20  # classes whose confusion matrix is printed, and for which there is a baseline
SENTIMENT = "sentiment"  # as --data: generated reviews
MOST_GENERATED = 1_000_000
# The model without a base, and its tokenizer, trained on the first texts.
NEW_WIDTH = 64
NEW_SIZES = {"embedding_dim": NEW_WIDTH, "num_layers": 2, "num_heads": 4, "dropout": 0.0}
NEW_CONTEXT, VOCAB_SIZE, CHARACTERS_FOR_TOKENIZER = 256, 2048, 2_000_000


@dataclass(frozen=True)
class Options(LoRAOptions):
    data: str = setting(
        "",
        f"a CSV or TSV file with a text and a label in each row; or {SENTIMENT}: generated film reviews, of which all "
        f"but the simplest need more than their words; needed for a new run (a file of that name: ./{SENTIMENT})",
        metavar="FILE",
    )
    texts: int = setting(4000, f"number of reviews to generate for training, with --data {SENTIMENT}", least=1)
    text_column: str = setting("text", "name of the column of texts, or its number from 0 if there is no header")
    label_column: str = setting("label", "name or number of the column of labels")
    new_model: str = setting("gpt", "kind of the new model that is trained without --model", choices=("gpt", "bert"))
    trainable: str = setting(
        "auto",
        "parameters to train besides the head; last_block includes the final norm; with LoRA its updates instead; "
        "auto: last_block of a pretrained model, all of a new one",
        choices=("auto", "head", "last_block", "all"),
    )
    pooling: str | None = setting(
        None, "hidden state that the head reads (default: last; first for a BERT)", choices=("last", "first", "mean")
    )
    causal: bool = setting(True, "causal attention: each token sees only those before it; a BERT's always see all")
    balance: bool = setting(True, "undersample: as many texts of each class as the smallest has")
    max_length: int = setting(
        0,
        "maximum length of a text in tokens, longer ones are cut; 0: the model's context length, a new one's is "
        f"{NEW_CONTEXT}",
        least=0,
    )
    test_texts: int = setting(
        2000, "maximum number of texts of each part to evaluate before and after training; 0: all", least=0
    )
    train_fraction: float = setting(0.7, "share of the texts for training", above=0, below=1)
    validation_fraction: float = setting(
        0.1, "share of the texts for validation; the rest is the test set", above=0, below=1
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.train_fraction + self.validation_fraction > 1:
            raise self.refusal(
                "{train_fraction} and {validation_fraction} must be at most 1 together",
                f"{self.train_fraction} and {self.validation_fraction}",
            )


def prepare_job(
    base: Base | None,
    tokenizer: Tokenizer | None,
    options: Options,
    settings: TrainingSettings,
    status: StatusLine,
) -> Job:
    """A classifier on the body of `base` or on a new one, with training, validation and test set."""
    if not options.data:
        raise ConfigError(f"--data must name a CSV or TSV file with a text and a label in each row, or be {SENTIMENT}")
    context = base.model.config.context_length if base else options.max_length or NEW_CONTEXT
    if not 0 <= options.max_length <= context:
        raise ConfigError(f"--max-length must be 0 to {context}, the model's context; got {options.max_length}")
    options.expect_rank_within(base.model.config.embedding_dim if base else NEW_WIDTH)
    parts = parts_of(options, settings.seed, status)
    labels = label_names([text for part in parts.values() for text in part])
    if tokenizer is None:
        tokenizer = new_tokenizer(parts["train"], status)
    body: Any = base.model if base else new_body(options, settings, tokenizer, status)
    judged = {name: part[: options.test_texts or None] for name, part in parts.items()}
    longest = 2 + max(len(text.text.encode()) for part in parts.values() for text in part)  # a token has a byte or more
    width = min(options.max_length or context, longest)
    with status.working("encoding the texts"):
        training, *others = (
            ClassificationDataset(part, tokenizer, labels, width, tokenizer.end_of_text or 0)
            for part in (parts["train"], *judged.values())
        )
    in_order = {name: held_out_batches(dataset, settings) for name, dataset in zip(judged, others, strict=True)}
    baseline = {}
    if len(labels) <= MOST_SHOWN:
        with status.working("training the baseline, a bag of words"):
            bag = BagOfWords.train(parts["train"], labels)
            baseline = {name: bag.evaluate(part).to_dict() for name, part in judged.items()}
    causal = options.causal and bool(body.blocks[0].attention.causal)
    trainable = options.trainable if options.trainable != "auto" else "last_block" if base else "all"
    model = Classifier(body, labels, options.pooling, trainable, causal)
    finished_weights = options.add_updates(model)
    model.body.head.requires_grad_(True)
    return Job(
        model,
        training_batches(training, settings),
        in_order["validation"],
        lambda workers: {
            name: evaluate_classifier(model, status.track(batches, f"evaluating {name}"), workers).to_dict()
            for name, batches in in_order.items()
        },
        partial(describe, labels, baseline),
        CountingLoss(),
        "classify predict --model {model} 'some text'",
        tokenizer=tokenizer,
        finished_weights=finished_weights,
        baselines={"bag_of_words": baseline} if baseline else {},
    )


def parts_of(options: Options, seed: int, status: StatusLine) -> dict[str, list[LabelledText]]:
    """The texts for "train", "validation" and "test": of the file `data`, or generated, then also each kind of test.

    Raises: ConfigError for more generated texts than are held in memory; DataError for a file without enough texts
    """
    if options.data == SENTIMENT:
        if options.texts > MOST_GENERATED:
            raise ConfigError(
                f"--texts must be at most {MOST_GENERATED:,}, for all are held in memory; got {options.texts:,}"
            )
        source = Generator(seed).spawn("reviews")
        train, validation = sentiment_texts(options.texts, source), sentiment_texts(500, source)
        test = sentiment_texts(1000, source, held_out=True)
        parts = {"train": train, "validation": validation, "test": test}
        parts |= {kind: test[place :: len(KINDS)] for place, kind in enumerate(KINDS)}
    else:
        texts = read_labelled_texts(
            options.data, _column(options.text_column), _column(options.label_column), say=status.say
        )
        if options.balance:
            texts = balance(texts, seed)
        labels = label_names(texts)
        if len(labels) < 2:
            raise DataError(f"--data must hold texts of at least two classes; got {len(texts)} of {labels[0]!r} only")
        if len(texts) < 2 * len(labels):
            raise DataError(
                f"--data must hold two texts of each class or more, on average; got {len(texts):,} of {len(labels):,} "
                "classes: check --label-column" + ", or try --no-balance" * options.balance
            )
        split = random_split(texts, options.train_fraction, options.validation_fraction, seed)
        parts = dict(zip(("train", "validation", "test"), split, strict=True))
    main = {name: parts[name] for name in ("train", "validation", "test")}
    count, classes = sum(map(len, main.values())), len(label_names([text for part in main.values() for text in part]))
    status.say(
        f"{count:,} texts of {classes} classes: "
        + ", ".join(f"{len(part):,} for {name}" for name, part in main.items())
    )
    for name, part in main.items():
        if not part:
            raise DataError(
                f"at least one text must be left for {name}; got {count} in all: give more, or change "
                "--train-fraction and --validation-fraction"
            )
    return parts


def new_tokenizer(texts: Sequence[LabelledText], status: StatusLine) -> Tokenizer:
    """A BPE tokenizer for a new model, which puts each text between [CLS] and [SEP]."""
    sample, characters = [], 0
    for text in texts:
        if characters >= CHARACTERS_FOR_TOKENIZER:
            break
        sample.append(text.text)
        characters += len(text.text)
    status.say(f"training a BPE tokenizer of {VOCAB_SIZE:,} tokens on {characters:,} characters ...")
    return BPETokenizer.train(sample, VOCAB_SIZE, special_tokens=(END_OF_TEXT, *FRAME))


def new_body(options: Options, settings: TrainingSettings, tokenizer: Tokenizer, status: StatusLine) -> GPT | Bert:
    """An untrained model, to be trained together with its head. Raises: ConfigError if it does not fit the memory"""
    context = options.max_length or NEW_CONTEXT
    sizes: dict[str, Any] = {**NEW_SIZES, "context_length": context, "vocab_size": tokenizer.vocab_size}
    config = BertConfig(**sizes) if options.new_model == "bert" else GPTConfig(**sizes, tie_weights=True)
    expect_memory(config)
    body = Bert(config) if isinstance(config, BertConfig) else GPT(config, "gpt2")
    words = "BERT" if options.new_model == "bert" else "GPT"
    status.say(f"no --model: a new {words} of {body.num_parameters():,} parameters, {tokenizer.vocab_size:,} tokens")
    return body


def describe(labels: Sequence[str], baseline: Mapping[str, Any], before: dict[str, Any], after: dict[str, Any]) -> str:
    """Loss and accuracy of each part, with the baseline's accuracy, then the test's confusion matrix, a row for each
    true class, and F1. The matrix of many classes is left to the report.
    """
    lines = [
        f"{name:<10} loss {before[name]['loss']:.3f} -> {figures['loss']:.3f} nats per text, "
        f"accuracy {before[name]['accuracy']:.2%} -> {figures['accuracy']:.2%} of {figures['count']:,}"
        + (f"; bag of words {baseline[name]['accuracy']:.2%}" if baseline else "")
        for name, figures in after.items()
    ]
    test = after["test"]
    if len(labels) > MOST_SHOWN:
        return "\n".join([*lines, f"the confusion matrix of {len(labels):,} classes is in {REPORT}"])
    width = max(5, *map(len, labels))
    lines.append("\n" + " " * width + "  predicted" + "".join(f" {label:>{width}}" for label in labels) + "     F1")
    for label, row, f1 in zip(labels, test["confusion"], test["f1"], strict=True):
        lines.append(f"{label:<{width}}           " + "".join(f" {count:>{width}}" for count in row) + f"  {f1:.3f}")
    return "\n".join(lines)


def _column(name: str) -> str | int:
    return int(name) if name.isdecimal() else name


TRAINING = FineTuning(
    "classify",
    Options(),
    TrainingSettings(
        steps=300, batch_size=8, learning_rate=5e-4, min_learning_rate=5e-5, warmup_steps=20, eval_interval=50
    ),
    prepare_job,
    from_nothing=TrainingSettings(
        steps=800, batch_size=32, learning_rate=2e-3, min_learning_rate=2e-4, warmup_steps=50, eval_interval=100
    ),
    generated=(SENTIMENT,),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="train|predict", required=True)
    summary = "Train a classifier: a head on a pretrained model, or a new model."
    add_training_arguments(add_action(actions, "train", summary), TRAINING)
    predict = add_action(actions, "predict", "Print the class of each text and its probability.")
    add_model_argument(predict, "a classifier")
    predict.add_argument("texts", nargs="*", metavar="TEXT", help="texts (default: the lines of standard input)")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "train":
        return train(TRAINING, arguments)
    model, tokenizer = open_chosen_run(arguments, "classify predict")
    options = RunFolder.open(arguments.model).config.get("options")
    longest = options.get("max_length") if isinstance(options, dict) else None
    context = model.body.config.context_length
    max_length = longest if isinstance(longest, int) and 0 < longest <= context else None
    texts = arguments.texts or lines_of_standard_input()
    with StatusLine(sys.stderr).working(f"classifying {len(texts):,} texts"):
        probabilities = classify(model, tokenizer, texts, max_length, 0)
    for text, shares in zip(texts, probabilities, strict=True):
        best = int(shares.argmax())
        print(f"{model.config.labels[best]}\t{shares[best]:.4f}\t{for_terminal(text)}")
    return 0


def lines_of_standard_input() -> list[str]:
    """The lines of standard input that are not blank."""
    if sys.stdin is None:
        raise DataError("standard input must be open where no text is given; it is closed: give the text in quotes")
    try:
        lines = [line.rstrip("\r\n") for line in sys.stdin]
        "".join(lines).encode()  # with the C locale, invalid bytes are read as surrogates
    except UnicodeDecodeError as error:
        raise DataError(f"standard input must be UTF-8; {error.reason} at byte {error.start}") from None
    except UnicodeEncodeError as error:
        raise DataError(f"standard input must be UTF-8; {error.object[error.start]!r} is no character") from None
    return [line for line in lines if line.strip()]
