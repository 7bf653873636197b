"""Talk with a trained model in the terminal."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np

from tinygrad_llm.checks import expect_count
from tinygrad_llm.cli.instruct import STYLES, style_of
from tinygrad_llm.cli.run_argument import add_model_argument, open_chosen_run
from tinygrad_llm.cli.sampling_flags import add_sampling_flags, sampling_of, seed_of
from tinygrad_llm.data import prompt_style
from tinygrad_llm.errors import ConfigError, DataError, TinygradLLMError
from tinygrad_llm.generate import Sampling, stream
from tinygrad_llm.generate.decodable import Decodable
from tinygrad_llm.generate.starting import ids_if_known
from tinygrad_llm.generate.streaming import whole_characters
from tinygrad_llm.random import Generator
from tinygrad_llm.settings import SettingError
from tinygrad_llm.terminal import for_terminal, is_terminal
from tinygrad_llm.text import StreamDecoder, Tokenizer

DEFAULTS = Sampling(temperature=0.7)
HELP = """/reset            forget the conversation
/temperature X    0: always the most likely token; higher: more random
/seed N           restart the random numbers: the same seed gives the same answers
/save FILE        write the conversation to a text file
/help             this list
/quit             end, as does the end of the input (Ctrl-D)
A backslash at the end of a line continues it on the next line.
Ctrl-C stops an answer."""


class Conversation:
    """The conversation so far as token ids, one list per turn, and the model's next answer.

    A turn is a question in the run's prompt style, its answer, and the token that ends it. With a model that was not
    trained to follow instructions, a turn is a line of text and the model's continuation.
    """

    def __init__(
        self, model: Decodable, tokenizer: Tokenizer, style: str | None, sampling: Sampling, seed: int
    ) -> None:
        self.model, self.tokenizer, self.style, self.sampling = model, tokenizer, style, sampling
        self.turns: list[list[int]] = []
        self.was_cut = False  # whether the last answer ended at its maximum length
        self.transcript: list[str] = []
        self.set_seed(seed)

    def set_temperature(self, temperature: float) -> None:
        self.sampling = dataclasses.replace(self.sampling, temperature=temperature)

    def set_seed(self, seed: int) -> None:
        self.generator = Generator(seed)

    def reset(self) -> None:
        """Forget all turns."""
        self.turns.clear()

    def answer(self, text: str, max_new_tokens: int) -> Iterator[str]:
        """The answer, piece by piece. Turns that do not fit the context together with it are forgotten, oldest first.

        However the answer ends, the part that was generated joins the conversation.

        Raises: ConfigError for a text that leaves no room for an answer
        """
        context = self.model.config.context_length
        question = self._question(text)
        if len(question) >= context:
            raise ConfigError(
                f"a message must be shorter than the context, {context} tokens; got {len(question)}: shorten it"
            )
        room = context - min(max_new_tokens, context - len(question))
        while sum(map(len, self.turns)) + len(question) > room:
            del self.turns[0]
        prompt = np.array([token for turn in (*self.turns, question) for token in turn])
        turn, end = list(question), self.tokenizer.end_of_text
        self.turns.append(turn)
        allowed = min(max_new_tokens, context - len(prompt))
        self.was_cut = False

        def remembered() -> Iterator[int]:
            for token in stream(self.model, prompt, allowed, self.sampling, eos_id=end, generator=self.generator):
                turn.append(token)
                yield token
            self.was_cut = len(turn) - len(question) == allowed

        said: list[str] = []
        try:
            for piece in whole_characters(remembered(), StreamDecoder(self.tokenizer, after=prompt)):
                said.append(piece)
                yield piece
        finally:
            self.transcript += [f"> {text}", "".join(said), ""]
            if self.style is not None and end is not None:
                turn.append(end)

    def _question(self, text: str) -> list[int]:
        if self.style is not None:
            return self.tokenizer.encode_ordinary(prompt_style(self.style).question({"instruction": text, "input": ""}))
        newline = ids_if_known(self.tokenizer, "\n") if self.turns else []
        return self.tokenizer.encode_ordinary(f"\n{text}" if newline else text)

    def save(self, path: str) -> None:
        """Write the conversation as text. Raises: ConfigError if the file cannot be written."""
        try:
            Path(path).write_text("\n".join(self.transcript), encoding="utf-8", errors="replace")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"/save needs a file that can be written; {path[:200]!r}: {reason}") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser, "a language model")
    parser.add_argument("--style", choices=STYLES, help="the prompt style, if not that of the run")
    parser.add_argument("--max-new-tokens", type=int, default=100, metavar="N", help="maximum tokens of an answer")
    add_sampling_flags(parser, DEFAULTS)


def run(arguments: argparse.Namespace) -> int:
    expect_count("chat", "--max-new-tokens", arguments.max_new_tokens, at_least=1)
    sampling = sampling_of(arguments, DEFAULTS)
    seed = seed_of(arguments, sampling, silent=True)  # told in the greeting
    model, tokenizer = open_chosen_run(arguments, "chat")
    style = arguments.style or style_of(arguments.model)
    talk = Conversation(model, tokenizer, style, sampling, seed)
    manner = "it continues your text" if style is None else f"it answers questions, in the {style} style"
    print(f"{arguments.model}: {model.num_parameters():,} parameters; {manner}.")
    print(f"/help lists the commands, /quit ends. Seed: {seed}.")
    prepare_line_editing()
    while True:
        try:
            line = read_message()
            if line is None:
                return 0
            if line.startswith("/"):
                if line.split()[0] == "/quit":
                    return 0
                print(for_terminal(obey(talk, line)))
            elif line:
                for piece in talk.answer(line, arguments.max_new_tokens):
                    print(for_terminal(piece), end="", flush=True)
                print("\n(cut after --max-new-tokens)" if talk.was_cut else "", flush=True)
        except KeyboardInterrupt:
            print("\n(stopped; /quit ends)", flush=True)
        except TinygradLLMError as error:
            if isinstance(error, DataError):
                raise
            print(for_terminal(f"({error})"), flush=True)


def obey(talk: Conversation, line: str) -> str:
    """Run a command that begins with a slash; returns the answer to print."""
    command, _, value = line.partition(" ")
    try:
        if command == "/reset":
            talk.reset()
            return "(forgotten)"
        if command == "/temperature":
            talk.set_temperature(float(value))
            return f"(temperature {talk.sampling.temperature:g})"
        if command == "/seed":
            talk.set_seed(int(value))
            return f"(seed {int(value)})"
        if command == "/save":
            talk.save(value.strip())
            return f"(saved in {value.strip()})"
    except SettingError as error:
        return f"({error.with_names('/{}'.format)})"
    except TinygradLLMError as error:
        return f"({error})"
    except ValueError:
        return f"({command} needs a number, as in `{command} 1`; got {value[:50]!r})"
    return HELP if command == "/help" else f"(there is no command {command[:50]}; /help lists them)"


def prepare_line_editing() -> None:
    """Let `input` edit lines and recall earlier ones, where Python has the readline module."""
    if is_terminal(sys.stdin) and is_terminal():
        try:
            import_module("readline")
        except ImportError:  # a Python without it reads plain lines
            return


def read_message() -> str | None:
    """The next message, of several lines where they end in a backslash; None at the end of the input."""
    lines: list[str] = []
    while True:
        line = _read_line("... " if lines else "> ")
        if line is None:
            return "\n".join(lines).strip() if lines else None
        if not line.endswith("\\"):
            return "\n".join([*lines, line]).strip()
        lines.append(line[:-1])


def _read_line(prompt: str) -> str | None:
    """One line without its line end, None at the end of the input."""
    if sys.stdin is None:  # closed before the program began
        return None
    try:
        if is_terminal(sys.stdin) and is_terminal():
            return input(prompt)
        line = sys.stdin.readline()
    except EOFError:
        print()
        return None
    except UnicodeDecodeError as error:
        raise DataError(f"standard input must be UTF-8; {error.reason} at byte {error.start}") from None
    return line.rstrip("\n") if line else None
