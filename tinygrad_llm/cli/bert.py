"""Train a BERT on masked tokens; fill masks in a text."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tinygrad_llm.cli.classify import lines_of_standard_input
from tinygrad_llm.cli.finetuning import add_action, add_training_arguments, train
from tinygrad_llm.cli.flags import expect_at_least
from tinygrad_llm.cli.run_argument import add_model_argument, open_chosen_run
from tinygrad_llm.data import (
    IGNORE_INDEX,
    MASK,
    MaskedLoader,
    WindowBatches,
    WindowLoader,
    framed,
    mask_tokens,
    read_text,
    train_validation_split,
)
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.generate import fill_masks
from tinygrad_llm.models import Bert, BertConfig, GPTConfig
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.fine_tuning import FineTuning, Job
from tinygrad_llm.runs.memory import expect_batch, expect_memory
from tinygrad_llm.settings import Settings, setting, setting_of
from tinygrad_llm.terminal import for_terminal
from tinygrad_llm.text import END_OF_TEXT, BPETokenizer, Tokenizer, corpora
from tinygrad_llm.text.tokenizer import FRAME
from tinygrad_llm.train import TrainingSettings, evaluating
from tinygrad_llm.train.parallel.mapping import evaluate_in_workers, map_in_workers

JUDGED = 40  # batches of the validation part that are evaluated before and after the training


@dataclass(frozen=True)
class Options(Settings):
    data: str = setting("", "a UTF-8 text file (default: Python's own documentation)", metavar="FILE")
    vocab_size: int = setting(
        2048, "vocabulary size of the BPE tokenizer, which is trained on the text", least=260
    )  # with its special tokens
    # Twice the paper's share gives a short run more targets (Wettig et al. 2022, arXiv:2202.08005). A short context
    # helps, too: to attend to neighbouring positions is learned for each position apart.
    mask_share: float = setting(0.3, "share of the tokens that are masked and predicted", above=0, most=1)
    context_length: int = setting(
        18, "maximum sequence length in tokens, with [CLS] and [SEP]; longer ones need longer training", least=3
    )
    embedding_dim: int = setting_of(GPTConfig, "embedding_dim", 128)
    num_heads: int = setting_of(GPTConfig, "num_heads", 4)
    num_layers: int = setting_of(GPTConfig, "num_layers", 4)
    dropout: float = setting_of(GPTConfig, "dropout", 0.0)


def prepare_job(
    base: None, tokenizer: Tokenizer | None, options: Options, settings: TrainingSettings, status: StatusLine
) -> Job:
    """A new BERT, its tokenizer, and the masked text."""
    sizes = {
        name: getattr(options, name)
        for name in ("context_length", "embedding_dim", "num_heads", "num_layers", "dropout", "vocab_size")
    }
    config = BertConfig(**sizes)  # checked before anything is read
    expect_memory(config)
    text = read_text(options.data) if options.data else corpora.load_text(corpora.PYTHON_DOCS)
    train_text, validation_text = train_validation_split(text, 0.1)
    if tokenizer is None:
        status.say(f"training a BPE tokenizer of {options.vocab_size:,} tokens on {len(train_text):,} characters ...")
        tokenizer = BPETokenizer.train(
            train_text,
            options.vocab_size,
            special_tokens=(END_OF_TEXT, *FRAME, MASK),
            progress=lambda done, total: status.renew(lambda: status.share("merges", done, total)),
        )
    config = BertConfig(**{**sizes, "vocab_size": tokenizer.vocab_size})
    mask_id = tokenizer.special_tokens.get(MASK)
    if mask_id is None:
        raise ConfigError(f"the run's tokenizer must have the token {MASK}; it was replaced")
    words = tokenizer.vocab_size - len(tokenizer.special_tokens)  # special tokens have the last ids
    with status.working("encoding the text"):
        train_ids, validation_ids = (tokenizer.encode_to_array(part, "all") for part in (train_text, validation_text))
    status.say(f"{len(train_ids):,} training tokens, {len(validation_ids):,} validation tokens")
    model = Bert(config)
    model.begin_with_frequencies(train_ids)
    root, frame = Generator(settings.seed), tokenizer.framed([])
    window = config.context_length - len(frame)
    if min(len(train_ids), len(validation_ids)) <= window:
        raise DataError(
            f"--context-length {config.context_length} needs more than {window} tokens in each part of the text; got "
            f"{len(train_ids):,} for training and {len(validation_ids):,} for validation: use a longer text"
        )
    windows = WindowLoader(train_ids, window, settings.batch_size, root.spawn("shuffling"))
    expect_batch(config, windows.rows_per_batch)
    plain = WindowBatches(validation_ids, window, settings.batch_size)
    masking = Generator(0)  # the same masks at every evaluation
    chosen = np.linspace(0, len(plain) - 1, min(JUDGED, len(plain))).round().astype(int)
    validation = []
    for i in chosen.tolist():
        inputs, targets = framed(mask_tokens(plain[i][0], mask_id, words, masking, options.mask_share), frame)
        # only masked tokens are evaluated: a target that was left unmasked can be copied
        validation.append((inputs, np.where(inputs == mask_id, targets, IGNORE_INDEX)))

    def judge(workers: int) -> dict[str, Any]:
        followed = status.track(validation, "counting right tokens")
        counts = list(map_in_workers(partial(_count_right, model), followed, model, workers))
        loss = evaluate_in_workers(model, status.track(validation, "evaluating"), workers=workers)
        right, count = (sum(numbers) for numbers in zip(*counts, strict=True))
        return {"loss": loss, "right": right, "count": count}

    return Job(
        model,
        MaskedLoader(windows, mask_id, words, root.spawn("masking"), options.mask_share, frame),
        validation,
        judge,
        describe,
        next_command=f"bert fill --model {{model}} 'Return the {MASK} of the file.'",
        tokenizer=tokenizer,
    )


def _count_right(model: Bert, batch: Any) -> tuple[int, int]:
    """The number of masked tokens of a batch that are predicted right, and of all."""
    inputs, targets = batch
    places = targets >= 0
    with evaluating(model):
        right = (model(inputs).data[places].argmax(-1) == targets[places]).sum()
    return int(right), int(places.sum())


def describe(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Loss and accuracy on masked tokens of the validation part."""
    shares = [figures["right"] / max(figures["count"], 1) for figures in (before, after)]
    return (
        f"masked tokens of the validation text: loss {before['loss']:.3f} -> {after['loss']:.3f} nats each, accuracy "
        f"{shares[0]:.1%} -> {shares[1]:.1%} of {after['count']:,}"
    )


TRAINING = FineTuning(
    "bert",
    Options(),
    TrainingSettings(steps=600, batch_size=128, learning_rate=2e-3, min_learning_rate=1e-4, warmup_steps=60),
    prepare_job,
    from_base=False,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="train|fill", required=True)
    add_training_arguments(add_action(actions, "train", "Train a BERT to predict masked tokens of a text."), TRAINING)
    fill = add_action(actions, "fill", f"Predict each {MASK} of a text.")
    add_model_argument(fill, "a BERT")
    fill.add_argument("--top-k", type=int, default=5, metavar="N", help="number of predictions to show for each mask")
    fill.add_argument("texts", nargs="*", metavar="TEXT", help="texts (default: the lines of standard input)")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "train":
        return train(TRAINING, arguments)
    expect_at_least(1, top_k=arguments.top_k)
    model, tokenizer = open_chosen_run(arguments, "bert")
    for text in arguments.texts or lines_of_standard_input():
        filled, places = fill_masks(model, tokenizer, text, arguments.top_k)
        print(for_terminal(filled))
        for guesses in places:
            print("   " + "  ".join(f"{guess.text!r} {guess.probability:.3f}" for guess in guesses))
    return 0
