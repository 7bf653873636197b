"""Train an encoder-decoder on pairs of texts, and translate."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from tinygrad_llm.cli.classify import lines_of_standard_input
from tinygrad_llm.cli.finetuning import add_action, add_training_arguments, train
from tinygrad_llm.cli.run_argument import add_model_argument, open_chosen_run
from tinygrad_llm.data import (
    NumberPairs,
    Pair,
    TranslationDataset,
    collate_translation,
    read_pairs,
    sentence_pairs,
)
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.finetune import bleu
from tinygrad_llm.generate import translate
from tinygrad_llm.models import EncoderDecoder, EncoderDecoderConfig, GPTConfig
from tinygrad_llm.random import Generator
from tinygrad_llm.runs import StatusLine
from tinygrad_llm.runs.fine_tuning import FineTuning, Job, held_out_batches, training_batches
from tinygrad_llm.runs.memory import expect_batch, expect_memory
from tinygrad_llm.settings import Settings, setting, setting_of
from tinygrad_llm.study import align
from tinygrad_llm.terminal import columns, for_terminal
from tinygrad_llm.text import END_OF_TEXT, UNKNOWN, BPETokenizer, CharTokenizer, Tokenizer
from tinygrad_llm.train import TrainingSettings
from tinygrad_llm.train.parallel.mapping import evaluate_in_workers, map_in_workers

NUMBERS, SENTENCES = "numbers", "sentences"  # as --data: generated pairs
GENERATED = (NUMBERS, SENTENCES)
NUMBER_PAIRS = 1_000_000  # generated one by one when they are read
MOST_SENTENCES = 1_000_000
PAIRS_FOR_TOKENIZER = 50_000
MOST_HELD_OUT = 1000  # pairs, enough for an exact loss
JUDGED = 100  # held-out pairs that are translated before and after the training
TOGETHER = 25  # of them that one worker translates at a time
SHOWN = 3
MOST_BEAMS = 256


@dataclass(frozen=True)
class Options(Settings):
    data: str = setting(
        NUMBERS,
        f"a file with a text, a tab and its translation on each line; or generated pairs: {NUMBERS}, in English and "
        f"French words; {SENTENCES}, in English and German (a file of that name: ./{NUMBERS})",
        metavar="FILE",
    )
    pairs: int = setting(20_000, f"number of pairs to generate for training, with --data {SENTENCES}", least=1)
    held_out: float = setting(0.05, "share of the pairs in --data that is held out for validation", above=0, below=1)
    tokenizer: str = setting("bpe", "tokenizer of both languages", choices=("bpe", "char"))
    vocab_size: int = setting(1024, "vocabulary size of the BPE tokenizer", least=257)
    context_length: int = setting(48, "maximum sequence length in tokens; longer pairs are left out", least=1)
    embedding_dim: int = setting_of(GPTConfig, "embedding_dim", 64)
    num_heads: int = setting_of(GPTConfig, "num_heads", 4)
    num_layers: int = setting(2, "transformer blocks of the encoder, and of the decoder", least=1)
    dropout: float = setting_of(GPTConfig, "dropout", 0.0)
    label_smoothing: float = setting_of(EncoderDecoderConfig, "label_smoothing", 0.1)


def prepare_job(
    base: None, tokenizer: Tokenizer | None, options: Options, settings: TrainingSettings, status: StatusLine
) -> Job:
    """A new encoder-decoder, its tokenizer, and training and held-out pairs."""
    names = EncoderDecoderConfig.__dataclass_fields__
    sizes = {name: value for name, value in options.to_dict().items() if name in names}
    config = EncoderDecoderConfig(**sizes)  # checked before anything is read
    expect_memory(config)
    training: Any
    held_out: Any
    if options.data in ("", NUMBERS):  # older runs recorded ""
        training = NumberPairs(NUMBER_PAIRS, seed=settings.seed)
        held_out = NumberPairs(MOST_HELD_OUT, held_out=True, seed=settings.seed)
    elif options.data == SENTENCES:
        if options.pairs > MOST_SENTENCES:
            raise ConfigError(
                f"--pairs must be at most {MOST_SENTENCES:,}, for all are held in memory; got {options.pairs:,}"
            )
        with status.working(f"generating {options.pairs:,} pairs"):
            source = Generator(settings.seed).spawn("sentences")
            training = sentence_pairs(options.pairs, source)
            held_out = sentence_pairs(min(options.pairs, MOST_HELD_OUT), source, held_out=True)
    else:
        training, held_out = split_pairs(read_pairs(options.data), options.held_out, settings.seed)
    from_file = options.data not in ("", *GENERATED)
    if tokenizer is None:
        sample = [training[i] for i in range(min(len(training), PAIRS_FOR_TOKENIZER if from_file else 2000))]
        tokenizer = new_tokenizer(options, sample)
    config = EncoderDecoderConfig(**{**config.to_dict(), "vocab_size": tokenizer.vocab_size})
    if options.data not in ("", NUMBERS):
        training, held_out = (
            _short_enough(pairs, tokenizer, options.context_length, status) for pairs in (training, held_out)
        )
    status.say(f"{len(training):,} pairs to train on, {len(held_out):,} held out, {tokenizer.vocab_size:,} tokens")
    end = tokenizer.end_of_text
    if end is None:
        raise ConfigError(f"the run's tokenizer must have the token {END_OF_TEXT}; it was replaced")
    expect_batch(config, min(settings.batch_size, len(training)))
    model = EncoderDecoder(config)
    validation = held_out_batches(TranslationDataset(held_out, tokenizer, end), settings, collate_translation)
    judged = [held_out[i] for i in range(min(JUDGED, len(held_out)))]

    def evaluate_translations(workers: int) -> dict[str, Any]:
        sources = [pair.source for pair in judged]
        parts = [sources[start : start + TOGETHER] for start in range(0, len(sources), TOGETHER)]
        translated = map_in_workers(partial(translate, model, tokenizer), parts, model, workers)
        followed = status.track(translated, f"translating {len(judged)} held-out texts", len(parts))
        written = [text for part in followed for text in part]
        exact = sum(text == pair.target for text, pair in zip(written, judged, strict=True))
        examples = [[pair.source, pair.target, text] for pair, text in zip(judged, written, strict=True)]
        return {
            "loss": evaluate_in_workers(model, status.track(validation, "evaluating"), workers=workers),
            "exact": exact,
            "count": len(judged),
            "bleu": bleu(written, [pair.target for pair in judged]),
            "examples": examples[:SHOWN],
        }

    return Job(
        model,
        training_batches(TranslationDataset(training, tokenizer, end), settings, collate_translation),
        validation,
        evaluate_translations,
        describe,
        next_command="translate run --model {model} " + shlex.quote(judged[0].source if judged else "a text"),
        tokenizer=tokenizer,
    )


def split_pairs(pairs: Sequence[Pair], share: float, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Training pairs and held-out pairs, drawn at random, at least one of each; no source is in both.

    Raises: DataError if all pairs have the same source
    """
    sources = sorted({pair.source for pair in pairs})
    if len(sources) < 2:
        raise DataError(f"--data must hold at least two different texts to translate; got {len(sources)}")
    count = min(max(1, round(share * len(sources))), MOST_HELD_OUT, len(sources) - 1)
    chosen = Generator(seed).spawn("held out").randperm(len(sources))[:count]
    held_out = {sources[int(place)] for place in chosen}
    return [p for p in pairs if p.source not in held_out], [p for p in pairs if p.source in held_out]


def new_tokenizer(options: Options, pairs: Sequence[Pair]) -> Tokenizer:
    """One tokenizer for both languages, trained on the pairs."""
    texts = [text for pair in pairs for text in pair]
    if options.tokenizer == "char":
        return CharTokenizer.train("".join(texts), [END_OF_TEXT, UNKNOWN])
    return BPETokenizer.train(texts, options.vocab_size)


def _short_enough(pairs: list[Pair], tokenizer: Tokenizer, longest: int, status: StatusLine) -> list[Pair]:
    """The pairs whose texts fit the context, with the id that ends each."""
    lengths = [max(len(tokenizer.encode_ordinary(text)) for text in pair) for pair in pairs]
    kept = [pair for pair, length in zip(pairs, lengths, strict=True) if length < longest]
    if not kept:
        raise DataError(
            f"--data must hold pairs of fewer than {longest} tokens, to fit --context-length {longest}; the shortest "
            f"has {min(lengths):,}: raise --context-length to more than that"
        )
    if len(kept) < len(pairs):
        status.say(
            f"{len(pairs) - len(kept):,} of {len(pairs):,} pairs left out, which have {longest} tokens or more; "
            f"--context-length {max(lengths) + 1} keeps all"
        )
    return kept


def describe(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Loss, exact matches and BLEU on held-out pairs, and a few translations."""
    lines = [
        f"held-out pairs: loss {before['loss']:.3f} -> {after['loss']:.3f} nats per token, exact matches "
        f"{before['exact']} -> {after['exact']} of {after['count']}, BLEU {_bleu_of(before)} -> {_bleu_of(after)}"
    ]
    for source, target, written in after["examples"]:
        lines.append(f"  {source} -> {written}" + ("" if written == target else f"   (expected: {target})"))
    return "\n".join(lines)


def _bleu_of(figures: dict[str, Any]) -> str:
    """100 times BLEU, as papers print it; "?" in the report of a run from before it was computed."""
    return f"{100 * figures['bleu']:.1f}" if "bleu" in figures else "?"


TRAINING = FineTuning(
    "translate",
    Options(),
    TrainingSettings(
        steps=1000,
        batch_size=32,
        learning_rate=3e-3,
        schedule="inverse_square_root",
        warmup_steps=150,
        beta2=0.98,
        weight_decay=0.01,
        eval_interval=250,
    ),
    prepare_job,
    from_base=False,
    generated=GENERATED,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="train|run", required=True)
    add_training_arguments(add_action(actions, "train", "Train an encoder-decoder on pairs of texts."), TRAINING)
    run = add_action(actions, "run", "Translate each text.")
    add_model_argument(run, "an encoder-decoder")
    run.add_argument("--beams", type=int, default=1, metavar="N", help="beam width; 1: greedy search")
    run.add_argument(
        "--length-penalty",
        type=float,
        default=1.0,
        metavar="X",
        help="exponent of the length that log-probabilities are divided by; 0 prefers short texts",
    )
    run.add_argument(
        "--alignment", action="store_true", help="show the source words that each translated word attends to"
    )
    run.add_argument("texts", nargs="*", metavar="TEXT", help="texts (default: the lines of standard input)")


def run(arguments: argparse.Namespace) -> int:
    if arguments.action == "train":
        return train(TRAINING, arguments)
    if not 1 <= arguments.beams <= MOST_BEAMS:
        raise ConfigError(f"--beams must be 1 to {MOST_BEAMS}; got {arguments.beams}: a few are enough")
    if not 0 <= arguments.length_penalty < math.inf:
        raise ConfigError(
            f"--length-penalty must be a finite number of at least 0; got {arguments.length_penalty}: 1 compares "
            "log-probabilities per token, 0 as they are"
        )
    model, tokenizer = open_chosen_run(arguments, "translate")
    texts = arguments.texts or lines_of_standard_input()
    with StatusLine(sys.stderr).working(f"translating {len(texts):,} texts"):
        translations = translate(model, tokenizer, texts, arguments.beams, arguments.length_penalty)
    for text, written in zip(texts, translations, strict=True):
        print(for_terminal(written))
        if arguments.alignment:
            for line in _alignment_lines(model, tokenizer, text, written):
                print(for_terminal(line))
    return 0


def _alignment_lines(model: EncoderDecoder, tokenizer: Tokenizer, text: str, written: str) -> list[str]:
    try:
        return align(model, tokenizer, text, written).picture(columns=columns()).splitlines()
    except DataError as error:  # an untrained model writes nothing, or bytes that are no text
        return [f"no alignment: {error}"]
