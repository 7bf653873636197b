"""Let a trained model continue a prompt."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tinygrad_llm.cli.flags import expect_at_least
from tinygrad_llm.cli.run_argument import add_model_argument
from tinygrad_llm.cli.sampling_flags import add_sampling_flags, sampling_of, seed_of
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate.sampling_settings import SamplingSettings
from tinygrad_llm.terminal import fit_line, for_terminal, is_terminal

if TYPE_CHECKING:
    from tinygrad_llm.generate import Sampling
    from tinygrad_llm.text import Tokenizer

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
    parser.add_argument(
        "--explain",
        action="store_true",
        help="a line per token: candidates, surprise, and what the sampling settings cut",
    )


def run(arguments: argparse.Namespace) -> int:
    import numpy as np

    from tinygrad_llm.cli.run_argument import open_chosen_run
    from tinygrad_llm.generate import stream, until_stop
    from tinygrad_llm.generate.starting import prompt_ids
    from tinygrad_llm.generate.streaming import expect_stops, whole_characters
    from tinygrad_llm.random import Generator
    from tinygrad_llm.runs.open_model import conventions_of
    from tinygrad_llm.text import StreamDecoder

    if arguments.text is not None and arguments.prompt is not None:
        raise ConfigError("give the prompt once: as PROMPT or as --prompt")
    if arguments.explain and (arguments.json or arguments.stop):
        raise ConfigError("--explain prints a table; give it without --json and --stop")
    text = arguments.prompt or arguments.text or ""
    expect_at_least(0, max_new_tokens=arguments.max_new_tokens)
    sampling, stops = sampling_of(arguments, DEFAULTS), expect_stops("--stop", arguments.stop)
    model, tokenizer = open_chosen_run(arguments, "generate")
    prompt = prompt_ids(tokenizer, text)
    say_what_is_cut(len(prompt), model.config.context_length)
    seed = seed_of(arguments, sampling, silent=arguments.json)
    if arguments.explain:
        return explain_choices(arguments, model, tokenizer, prompt, sampling, seed)
    tokens = CountedTokens(
        stream(
            model,
            np.array(prompt),
            arguments.max_new_tokens,
            sampling.limited_to(tokenizer),
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
        settings = {field.name: getattr(sampling, field.name) for field in dataclasses.fields(SamplingSettings)}
        print(json.dumps({**report, **settings}, ensure_ascii=False))
        return 0
    sys.stdout.write(for_terminal(text))
    for piece in pieces:
        sys.stdout.write(for_terminal(piece))
        sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


def explain_choices(
    arguments: argparse.Namespace,
    model: Any,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    sampling: Sampling,
    seed: int,
) -> int:
    """Print a row for each new token; the arrow marks the chosen one among the candidates."""
    import numpy as np

    from tinygrad_llm.generate.explaining import explain
    from tinygrad_llm.random import Generator
    from tinygrad_llm.runs.open_model import conventions_of

    def word(token: int) -> str:
        return repr(tokenizer.decode([token]))[1:-1].replace(" ", "·")

    print(for_terminal(f"prompt: {tokenizer.decode(prompt)}"))
    settings = [name for name in ("top_k", "top_p", "min_p") if getattr(sampling, name) is not None]
    names = "".join(f"{name:>6}" for name in settings)
    print(f"{'token':<12} {'prob.':>6} {'nats':>5} {'rank':>4} {'spread':>9}{names}  candidates")
    made, total = 0, 0.0
    for choice in explain(
        model,
        np.array(prompt),
        arguments.max_new_tokens,
        sampling.limited_to(tokenizer),
        eos_id=conventions_of(arguments.model, tokenizer).end_ids,
        generator=Generator(seed),
    ):
        shown = "  ".join(
            f"{'→' * (one == choice.token)}{word(one)} {own:.0%}" + ("" if chance else " cut")
            for one, own, chance in choice.candidates
        )
        spread = "{:.1f}→{:.1f}".format(*choice.spread)
        left = "".join(f"{choice.left[name]:>6,}" for name in settings if name in choice.left)
        line = (
            f"{word(choice.token):<12} {choice.probability:>6.1%} {choice.surprise:>5.2f} {choice.rank:>4} "
            f"{spread:>9}{left}  {shown}"
        )
        print(fit_line(line) if is_terminal() else line, flush=True)
        made, total = made + 1, total + choice.surprise
    if made:
        print(f"{made} tokens, mean surprise {total / made:.2f} nats")
        print("prob., nats: the model's own probability of the token, and its surprise")
        print("spread: e^entropy, in tokens, before and after the temperature")
        print("top_k, top_p, min_p: tokens that each leaves; cut: a candidate excluded by them")
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
