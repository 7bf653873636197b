"""Prompts of questions: answered examples (few-shot), then the question, in the plain style or in a prompt form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tinygrad_llm.data.instructions import PromptForm, PromptStyle
from tinygrad_llm.data.padding import begin_ids
from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.evaluation.task_files import Question
from tinygrad_llm.generate.starting import start_ids
from tinygrad_llm.interop.conventions import Conventions
from tinygrad_llm.text import Tokenizer

BLANK_LINE = "\n\n"  # between examples of the plain style


def plain_prompt(shots: Sequence[Question], question: Question) -> str:
    """The shots with their answers, then the question; an answer follows after a space.

    >>> plain_prompt([Question("1 + 1?", ("1", "2"), 1)], Question("2 + 2?", ("4", "5"), 0))
    'Question: 1 + 1?\\nAnswer: 2\\n\\nQuestion: 2 + 2?\\nAnswer:'
    """
    shown = [f"{_asked(shot)} {shot.right}{BLANK_LINE}" for shot in shots]
    return "".join(shown) + _asked(question)


def _asked(question: Question) -> str:
    return question.text if question.verbatim else f"Question: {question.text}\nAnswer:"


def encode_continuations(
    tokenizer: Tokenizer, context: str, continuations: Sequence[str], prefix: int
) -> tuple[list[int], list[list[int]]]:
    """The ids of a context and of each continuation after it, as in lm-evaluation-harness.

    White space at the end of the context belongs to the continuation, and the continuation's ids are those by which
    the whole text is longer than the context. An empty context is the id `prefix`.
    """
    stripped = context.rstrip()
    space = context[len(stripped) :]
    if not stripped:
        return [prefix], [tokenizer.encode_ordinary(space + one) for one in continuations]
    before = begin_ids(tokenizer)
    ids = before + tokenizer.encode_ordinary(stripped)
    wholes = [before + tokenizer.encode_ordinary(context + one) for one in continuations]
    return ids, [
        whole[len(ids) :] or tokenizer.encode_ordinary(space + one)
        for whole, one in zip(wholes, continuations, strict=True)
    ]


def prefix_id(tokenizer: Tokenizer, conventions: Conventions) -> int:
    """The id from which the first token of a text is predicted: the one that begins texts, else one that ends them."""
    template = conventions.template
    begin = None if template is None else tokenizer.special_tokens.get(template.tokens.get("bos_token", ""))
    known = [*begin_ids(tokenizer), *([] if begin is None else [begin]), *conventions.end_ids, *start_ids(tokenizer)]
    return known[0]


class EncodedQuestion(NamedTuple):
    """The ids of a question's prompt, and those of each choice."""

    context: list[int]
    choices: list[list[int]]


@dataclass(frozen=True)
class Prompts:
    """How questions become ids for one model.

    In the plain style (`form` None), as lm-evaluation-harness does. In a prompt form each question is an instruction
    and each answer ends with `end_id`, as in instruction fine-tuning: a choice then does not count as the answer
    because the answer begins like it.
    """

    tokenizer: Tokenizer
    prefix: int
    form: PromptForm | None = None
    end_id: int | None = None

    def encode(self, shots: Sequence[Question], question: Question) -> EncodedQuestion:
        """The ids of the prompt, and those of each choice; a question without choices has none."""
        if self.form is None:
            prompt = plain_prompt(shots, question)
            if not question.choices:
                return EncodedQuestion(begin_ids(self.tokenizer) + self.tokenizer.encode_ordinary(prompt), [])
            continuations = [f" {choice}" for choice in question.choices]
            return EncodedQuestion(*encode_continuations(self.tokenizer, prompt, continuations, self.prefix))
        answered = [({"instruction": shot.text}, shot.right) for shot in shots]
        asked = self.form.question_ids(self.tokenizer, {"instruction": question.text}, answered, self.end_id)
        end = [] if self.end_id is None else [self.end_id]
        return EncodedQuestion(asked, [self.tokenizer.encode_ordinary(choice) + end for choice in question.choices])

    def expect_encodable(self, question: Question, origin: str, shots: bool = False, is_shot: bool = False) -> None:
        """Raises: TokenizerError naming the `origin` of a question with a text that the tokenizer cannot encode, or the
        words that the style adds to one: after `shots`, or as a shot, whose answer is shown
        """
        for text in (question.text, *question.choices, *([question.right] if is_shot else [])):
            encode_text(self.tokenizer, text, origin)
        added = ""
        if isinstance(self.form, PromptStyle):
            added = self.form.question({"instruction": ""})
        elif self.form is None:
            added = ("" if question.verbatim else _asked(Question(""))) + " " * bool(question.choices)
            added += f" {BLANK_LINE}" * shots
        try:
            self.tokenizer.encode_ordinary(added)
        except TokenizerError as error:
            raise TokenizerError(f"{added!r}, which the style adds to a question: {error}") from None


def encode_text(tokenizer: Tokenizer, text: str, origin: str) -> list[int]:
    """The ids of a text.

    Raises: TokenizerError naming the `origin` of a text that the tokenizer cannot encode, and the line in it
    """
    try:
        return tokenizer.encode_ordinary(text)
    except TokenizerError as error:
        if "\n" in text[:-1]:
            for number, line in enumerate(text.split("\n"), 1):
                encode_text(tokenizer, f"{line}\n", f"{origin}, line {number} of the text")
        raise TokenizerError(f"{origin}: {error}") from None
