"""Talk with a trained model in the terminal."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np

from tinygrad_llm.cli.flags import expect_at_least
from tinygrad_llm.cli.prompt_forms import (
    STYLES,
    SYSTEM_HELP,
    add_answer_length,
    answer_length,
    ends_of,
    form_of,
    style_of,
)
from tinygrad_llm.cli.run_argument import add_model_argument, open_chosen_run
from tinygrad_llm.cli.sampling_flags import add_sampling_flags, sampling_of, seed_of
from tinygrad_llm.data import PromptForm
from tinygrad_llm.data.padding import begin_ids
from tinygrad_llm.errors import ConfigError, DataError, TinygradLLMError
from tinygrad_llm.generate import Sampling, stream
from tinygrad_llm.generate.decodable import Decodable
from tinygrad_llm.generate.starting import ids_if_known
from tinygrad_llm.generate.streaming import whole_characters
from tinygrad_llm.interop.chat_form import ChatForm
from tinygrad_llm.random import Generator
from tinygrad_llm.runs.open_model import conventions_of
from tinygrad_llm.settings import SettingError
from tinygrad_llm.terminal import for_terminal, is_terminal
from tinygrad_llm.text import StreamDecoder, Tokenizer

DEFAULTS = Sampling(temperature=0.7)
USUAL_LENGTH = 100  # maximum tokens of an answer, without a chat template
HELP = """/reset            forget the conversation
/temperature X    0: always the most likely token; higher: more random
/seed N           restart the random numbers: the same seed gives the same answers
/save FILE        write the conversation to a text file
/help             this list
/quit             end, as does the end of the input (Ctrl-D)
A backslash at the end of a line continues it on the next line.
Ctrl-C stops an answer."""


@dataclass
class Turn:
    """A question, and the ids of its answer so far."""

    question: str
    answer: list[int] = field(default_factory=list)


class Conversation:
    """The turns so far, and the model's next answer.

    With a `form`, a turn is a question and its answer, in that form: the model's chat template, or the prompt style
    that it was trained with. With None it is a line of text and the model's continuation. `ends` are the ids that end
    an answer, the usual one first.
    """

    def __init__(
        self,
        model: Decodable,
        tokenizer: Tokenizer,
        form: PromptForm | None,
        ends: tuple[int, ...],
        sampling: Sampling,
        seed: int,
    ) -> None:
        self.model, self.tokenizer, self.form, self.ends = model, tokenizer, form, ends
        self.sampling = sampling.limited_to(tokenizer)
        self.turns: list[Turn] = []
        self.was_cut = False  # whether the last answer ended at its maximum length
        self.forgotten = 0  # turns that the last answer could not see, for they no longer fit
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
        alone = len(self._prompt([], text))
        if alone >= context:
            raise ConfigError(f"a message must be shorter than the context, {context} tokens; got {alone}: shorten it")
        room = context - min(max_new_tokens, context - alone)
        told = len(self.turns)
        while len(prompt := self._prompt(self.turns, text)) > room and self.turns:
            del self.turns[0]
        self.forgotten = told - len(self.turns)
        turn = Turn(text)
        self.turns.append(turn)
        allowed = min(max_new_tokens, context - len(prompt))
        self.was_cut = False
        ids = np.array(prompt)

        def remembered() -> Iterator[int]:
            for token in stream(self.model, ids, allowed, self.sampling, eos_id=self.ends, generator=self.generator):
                turn.answer.append(token)
                yield token
            self.was_cut = len(turn.answer) == allowed

        said: list[str] = []
        try:
            for piece in whole_characters(remembered(), StreamDecoder(self.tokenizer, after=prompt)):
                said.append(piece)
                yield piece
        finally:
            self.transcript += [f"> {text}", "".join(said), ""]

    def _prompt(self, turns: list[Turn], text: str) -> list[int]:
        """The ids of the turns and of a new question."""
        if isinstance(self.form, ChatForm):  # written anew each time: a template may write earlier answers otherwise
            told = [(turn.question, self.tokenizer.decode(turn.answer)) for turn in turns]
            return self.form.encode(self.form.conversation(told, text))
        ids: list[int] = []
        for turn in turns:
            ids += self._question(turn.question, first=not ids) + turn.answer
            if self.form is not None:
                ids += self.ends[:1]
        return ids + self._question(text, first=not ids)

    def _question(self, text: str, first: bool) -> list[int]:
        if self.form is not None:
            return self.form.question_ids(self.tokenizer, {"instruction": text, "input": ""})
        if first:
            return begin_ids(self.tokenizer) + self.tokenizer.encode_ordinary(text)
        return self.tokenizer.encode_ordinary(f"\n{text}" if ids_if_known(self.tokenizer, "\n") else text)

    def save(self, path: str) -> None:
        """Write the conversation as text. Raises: ConfigError if the file cannot be written."""
        try:
            Path(path).write_text("\n".join(self.transcript), encoding="utf-8", errors="replace")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"/save needs a file that can be written; {path[:200]!r}: {reason}") from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_model_argument(parser, "a language model")
    parser.add_argument("--style", choices=STYLES, help="the form of questions (default: that of the model)")
    parser.add_argument("--system", metavar="TEXT", help=SYSTEM_HELP)
    add_answer_length(parser, USUAL_LENGTH)
    add_sampling_flags(parser, DEFAULTS)


def run(arguments: argparse.Namespace) -> int:
    expect_at_least(1, max_new_tokens=arguments.max_new_tokens)
    sampling = sampling_of(arguments, DEFAULTS)
    seed = seed_of(arguments, sampling, silent=True)  # told in the greeting
    model, tokenizer = open_chosen_run(arguments, "chat")
    conventions = conventions_of(arguments.model, tokenizer)
    style = arguments.style or style_of(arguments.model, conventions.template)
    if style is None and arguments.system is not None:
        raise ConfigError("--system needs a model with a chat template; this one continues any text")
    form = None if style is None else form_of(style, tokenizer, conventions, arguments.system)
    talk = Conversation(model, tokenizer, form, ends_of(conventions, form), sampling, seed)
    manner = "it continues your text"
    if isinstance(form, ChatForm):
        form.encode(form.conversation((), "Hello"))  # a template that cannot be rendered is refused before the greeting
        manner = "it answers in the form of its chat template"
    elif form is not None:
        manner = f"it answers questions, in the {style} style"
    longest = answer_length(arguments.max_new_tokens, form, model.config.context_length, USUAL_LENGTH)
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
                for piece in talk.answer(line, longest):
                    print(for_terminal(piece), end="", flush=True)
                if talk.forgotten:
                    oldest = "question no longer fits" if talk.forgotten == 1 else f"{talk.forgotten} no longer fit"
                    print(f"\n(the oldest {oldest} the context of {model.config.context_length:,} tokens)", end="")
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
