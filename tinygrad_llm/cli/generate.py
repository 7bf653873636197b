"""Let a trained model continue a prompt."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator

from tinygrad_llm.cli.run_argument import add_model_argument
from tinygrad_llm.cli.sampling_flags import add_sampling_flags, sampling_of, seed_of
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate.sampling_settings import SamplingSettings
from tinygrad_llm.terminal import for_terminal

DEFAULTS = SamplingSettings(temperature=0.8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", nargs="?", metavar="PROMPT", help="the text to continue; without one, a new text")
    add_model_argument(parser, "a language model")
    parser.add_argument("--prompt", metavar="TEXT", help="the text to continue, as a flag")
    parser.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="maximum number of new tokens")
    add_sampling_flags(parser, DEFAULTS)
    parser.add_argument("--stop", action="append", default=[], metavar="TEXT", help="stop before this text; repeatable")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: prompt, text, seed, why the text ended, ..."
    )


def run(arguments: argparse.Namespace) -> int:
    import numpy as np

    from tinygrad_llm.checks import expect_count
    from tinygrad_llm.cli.run_argument import open_chosen_run
    from tinygrad_llm.generate import stream, until_stop
    from tinygrad_llm.generate.starting import prompt_ids
    from tinygrad_llm.generate.streaming import expect_stops, whole_characters
    from tinygrad_llm.random import Generator
    from tinygrad_llm.runs.open_model import conventions_of
    from tinygrad_llm.text import StreamDecoder

    if arguments.text is not None and arguments.prompt is not None:
        raise ConfigError("give the prompt once: as PROMPT or as --prompt")
    text = arguments.prompt or arguments.text or ""
    expect_count("generate", "--max-new-tokens", arguments.max_new_tokens, at_least=0)
    sampling, stops = sampling_of(arguments, DEFAULTS), expect_stops("--stop", arguments.stop)
    model, tokenizer = open_chosen_run(arguments, "generate")
    prompt = prompt_ids(tokenizer, text)
    say_what_is_cut(len(prompt), model.config.context_length)
    seed = seed_of(arguments, sampling, silent=arguments.json)
    tokens = CountedTokens(
        stream(
            model,
            np.array(prompt),
            arguments.max_new_tokens,
            sampling,
            eos_id=conventions_of(arguments.model, tokenizer).end_ids,
            generator=Generator(seed),
        )
    )
    pieces = until_stop(whole_characters(tokens, StreamDecoder(tokenizer, after=prompt)), stops)
    if arguments.json:
        report = {
            "prompt": text,
            "text": "".join(pieces),
            "prompt_tokens": len(prompt),
            "new_tokens": tokens.count,
            "ended_by": "length" if tokens.count == arguments.max_new_tokens else "stop",
            "seed": seed,
        }
        print(json.dumps({**report, **sampling.to_dict()}, ensure_ascii=False))
        return 0
    sys.stdout.write(for_terminal(text))
    for piece in pieces:
        sys.stdout.write(for_terminal(piece))
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


class CountedTokens:
    """An iterator over tokens that counts them."""

    def __init__(self, tokens: Iterator[int]) -> None:
        self._tokens, self.count = tokens, 0

    def __iter__(self) -> Iterator[int]:
        for token in self._tokens:
            self.count += 1
            yield token


def say_what_is_cut(tokens: int, context: int) -> None:
    """Tell on standard error how much of a prompt the model cannot read. Units: tokens"""
    if tokens > context:
        print(
            f"the prompt has {tokens:,} tokens, the context {context:,}: only the last {context:,} are read",
            file=sys.stderr,
        )
