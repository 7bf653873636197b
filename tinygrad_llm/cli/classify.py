"""Train a text classifier on a pretrained model, and use it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.cli.finetuning import add_action, add_training_arguments, train
from tinygrad_llm.cli.lora_options import LoRAOptions
from tinygrad_llm.cli.run_argument import add_model_argument, open_chosen_run
from tinygrad_llm.data import (
    ClassificationDataset,
    DataLoader,
    balance,
    label_names,
    random_split,
    read_labelled_texts,
)
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.finetune import Classifier, classify, evaluate_classifier
from tinygrad_llm.finetune.accuracy import CountingLoss
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import RunFolder, StatusLine
from tinygrad_llm.runs.fine_tuning import REPORT, Base, FineTuning, Job
from tinygrad_llm.settings import setting
from tinygrad_llm.terminal import for_terminal
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train import TrainingSettings

MOST_SHOWN = 20  # classes whose confusion matrix is printed


@dataclass(frozen=True)
class Options(LoRAOptions):
    data: str = setting(
        "", "a CSV or TSV file with a text and a label in each row; needed for a new run", metavar="FILE"
    )
    text_column: str = setting("text", "name of the column of texts, or its number from 0 if there is no header")
    label_column: str = setting("label", "name or number of the column of labels")
    trainable: str = setting(
        "last_block",
        "parameters to train besides the head; last_block includes the final norm; with LoRA its updates instead",
        choices=("head", "last_block", "all"),
    )
    pooling: str | None = setting(
        None, "hidden state that the head reads (default: last; first for a BERT)", choices=("last", "first", "mean")
    )
    causal: bool = setting(True, "causal attention: each token sees only those before it; a BERT's always see all")
    balance: bool = setting(True, "undersample: as many texts of each class as the smallest has")
    max_length: int = setting(0, "maximum length of a text in tokens; 0: the model's context length", least=0)
    train_fraction: float = setting(0.7, "share of the texts for training", above=0, below=1)
    validation_fraction: float = setting(
        0.1, "share of the texts for validation; the rest is the test set", above=0, below=1
    )


def prepare_job(
    base: Base, tokenizer: Tokenizer, options: Options, settings: TrainingSettings, status: StatusLine
) -> Job:
    """A classifier on the body of `base`, with training, validation and test set."""
    if not options.data:
        raise ConfigError("--data must name a CSV or TSV file with a text and a label in each row")
    body: Any = base.model
    context = body.config.context_length
    if not 0 <= options.max_length <= context:
        raise ConfigError(f"--max-length must be 0 to {context}, the model's context; got {options.max_length}")
    texts = read_labelled_texts(
        options.data, _column(options.text_column), _column(options.label_column), say=status.say
    )
    if options.balance:
        texts = balance(texts, settings.seed)
    labels = label_names(texts)
    if len(labels) < 2:
        raise DataError(f"--data must hold texts of at least two classes; got {len(texts)} of {labels[0]!r} only")
    if len(texts) < 2 * len(labels):
        raise DataError(
            f"--data must hold two texts of each class or more, on average; got {len(texts):,} of {len(labels):,} "
            "classes: check --label-column" + ", or try --no-balance" * options.balance
        )
    parts = random_split(texts, options.train_fraction, options.validation_fraction, settings.seed)
    names = ("train", "validation", "test")
    status.say(
        f"{len(texts):,} texts of {len(labels)} classes: "
        + ", ".join(f"{len(part):,} for {name}" for name, part in zip(names, parts, strict=True))
    )
    for name, part in zip(names, parts, strict=True):
        if not part:
            raise DataError(
                f"at least one text must be left for {name}; got {len(texts)} in all: give more, or change "
                "--train-fraction and --validation-fraction"
            )
    datasets = [
        ClassificationDataset(part, tokenizer, labels, options.max_length or context, tokenizer.end_of_text or 0)
        for part in parts
    ]
    in_order = {
        name: list(DataLoader(dataset, settings.batch_size, generator=Generator(0)))
        for name, dataset in zip(names, datasets, strict=True)
    }
    causal = options.causal and bool(body.blocks[0].attention.causal)
    options.expect_rank_within(body.config.embedding_dim)
    model = Classifier(body, labels, options.pooling, options.trainable, causal)
    finished_weights = options.add_updates(model)
    model.body.head.requires_grad_(True)
    return Job(
        model,
        DataLoader(
            datasets[0], settings.batch_size, shuffle=True, generator=Generator(settings.seed).spawn("shuffling")
        ),
        in_order["validation"],
        lambda: {
            name: evaluate_classifier(model, status.track(batches, f"evaluating {name}")).to_dict()
            for name, batches in in_order.items()
        },
        lambda before, after: describe(labels, before, after),
        CountingLoss(),
        "classify predict --model {model} 'some text'",
        finished_weights=finished_weights,
    )


def describe(labels: Sequence[str], before: dict[str, Any], after: dict[str, Any]) -> str:
    """Loss and accuracy of each split, then the test's confusion matrix, a row for each true class, and F1.

    The matrix of many classes is left to the report.
    """
    lines = [
        f"{name:<10} loss {before[name]['loss']:.3f} -> {figures['loss']:.3f} nats per text, "
        f"accuracy {before[name]['accuracy']:.2%} -> {figures['accuracy']:.2%} of {figures['count']:,}"
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
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="train|predict", required=True)
    summary = "Train a classification head on a pretrained model."
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
