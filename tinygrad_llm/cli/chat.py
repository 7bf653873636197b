"""Talk with a trained model in the terminal."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinygrad_llm.checks import expect_count
from tinygrad_llm.cli.instruct import STYLES, style_of
from tinygrad_llm.cli.open_model import open_language_model
from tinygrad_llm.data import prompt_style
from tinygrad_llm.errors import ConfigError, DataError, TinygradLLMError
from tinygrad_llm.generate import stream
from tinygrad_llm.generate.sampling import Sampling
from tinygrad_llm.generate.streaming import whole_characters
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.random import Generator
from tinygrad_llm.text import StreamDecoder, Tokenizer

HELP = """/reset            forget what was said
/temperature X    0 takes the likeliest token, larger is bolder
/seed N           begin the random numbers anew: the same seed gives the same answers
/help             this list
/quit             end, as does the end of the input (Ctrl-D)
Ctrl-C stops an answer."""


class Conversation:
    """What was said so far as token ids, one list a turn, and how the model goes on from it.

    A turn is a question in the run's prompt style, its answer and the token that ends it; with a model that was not
    taught to follow instructions it is a line of text and what the model continues it with.
    """

    def __init__(
        self, model: LanguageModel, tokenizer: Tokenizer, style: str | None, temperature: float, seed: int
    ) -> None:
        self.model, self.tokenizer, self.style = model, tokenizer, style
        self.turns: list[list[int]] = []
        self.set_temperature(temperature)
        self.set_seed(seed)

    def set_temperature(self, temperature: float) -> None:
        Sampling(temperature)  # refuses what is none
        self.temperature = temperature

    def set_seed(self, seed: int) -> None:
        self.generator = Generator(seed)

    def answer(self, text: str, max_new_tokens: int) -> Iterator[str]:
        """The answer as it comes. Turns that no longer fit beside it are forgotten, the oldest first.

        However the answer ends, what there is of it becomes part of the history.

        Raises: ConfigError for a text that leaves no room for an answer
        """
        context = self.model.config.context_length
        if self.style is None:
            question = self.tokenizer.encode_ordinary(text if not self.turns else f"\n{text}")
        else:
            question = self.tokenizer.encode_ordinary(
                prompt_style(self.style).question({"instruction": text, "input": ""})
            )
        if len(question) >= context:
            raise ConfigError(
                f"what you say must be shorter than the context, {context} tokens; got {len(question)}: say less"
            )
        room = context - min(max_new_tokens, context - len(question))
        while sum(map(len, self.turns)) + len(question) > room:
            del self.turns[0]
        prompt = np.array([token for turn in (*self.turns, question) for token in turn])
        turn, end = list(question), self.tokenizer.end_of_text
        self.turns.append(turn)

        def remembered() -> Iterator[int]:
            allowed = min(max_new_tokens, context - len(prompt))
            for token in stream(self.model, prompt, allowed, self.temperature, eos_id=end, generator=self.generator):
                turn.append(token)
                yield token

        try:
            yield from whole_characters(remembered(), StreamDecoder(self.tokenizer, after=prompt))
        finally:
            if self.style is not None and end is not None:
                turn.append(end)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", required=True, type=Path, metavar="DIR", help="the run folder of a GPT or Llama")
    parser.add_argument("--style", choices=STYLES, help="the prompt style, if not the one that the run has")
    parser.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="tokens of an answer, at most")
    parser.add_argument("--temperature", type=float, default=0.7, metavar="X", help="0 takes the likeliest token")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same answers")


def run(arguments: argparse.Namespace) -> int:
    expect_count("chat", "max_new_tokens", arguments.max_new_tokens, at_least=1)
    model, tokenizer = open_language_model(arguments.model)
    style = arguments.style or style_of(arguments.model)
    talk = Conversation(model, tokenizer, style, arguments.temperature, arguments.seed)
    manner = "it continues what you write" if style is None else f"it answers what you ask, in the {style} style"
    print(f"{arguments.model}: {model.num_parameters():,} parameters; {manner}. /help lists commands, /quit ends.")
    while True:
        try:
            line = _read_line()
            if line is None:
                return 0
            if line.startswith("/"):
                if line.split()[0] == "/quit":
                    return 0
                print(obey(talk, line))
            elif line:
                for piece in talk.answer(line, arguments.max_new_tokens):
                    print(piece, end="", flush=True)
                print(flush=True)
        except KeyboardInterrupt:
            print("\n(stopped; /quit ends)", flush=True)
        except TinygradLLMError as error:
            if isinstance(error, DataError):
                raise
            print(f"({error})", flush=True)


def obey(talk: Conversation, line: str) -> str:
    """Do what a line that begins with a slash asks for; returns what to say about it."""
    command, _, value = line.partition(" ")
    try:
        if command == "/reset":
            talk.turns.clear()
            return "(forgotten)"
        if command == "/temperature":
            talk.set_temperature(float(value))
            return f"(temperature {talk.temperature:g})"
        if command == "/seed":
            talk.set_seed(int(value))
            return f"(seed {int(value)})"
    except TinygradLLMError as error:
        return f"({error})"
    except ValueError:
        return f"({command} needs a number, as in `{command} 1`; got {value[:50]!r})"
    return HELP if command == "/help" else f"(there is no command {command[:50]}; /help lists them)"


def _read_line() -> str | None:
    """The next line, None at the end of the input."""
    if sys.stdin is None:  # closed before we began
        return None
    if sys.stdin.isatty():
        print("> ", end="", flush=True)
    try:
        line = sys.stdin.readline()
    except UnicodeDecodeError as error:
        raise DataError(f"standard input must be UTF-8; {error.reason} at byte {error.start}") from None
    return line.strip() if line else None
