"""A model's own form of conversations as token ids: its chat template, written by its tokenizer.

What a person writes is encoded as text: a message that holds `<|im_end|>` does not end its turn, and cannot forge one
of another role. (transformers' `apply_chat_template` makes it the control token unless `sanitize_control_tokens` is
set; the ids are equal for every message without the text of such a token.) To tell the template's own control tokens
from those in a message, the first character of the latter is replaced by a stand-in until the text has been split at
its control tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tinygrad_llm.data.instructions import Record, TokenizedRecord
from tinygrad_llm.data.padding import Encoder
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.interop.chat_template import ChatTemplate, Message
from tinygrad_llm.interop.conventions import Conventions
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.text.pipeline import PipelineTokenizer
from tinygrad_llm.text.special_tokens import split_at_special_tokens

STAND_INS = (*range(0xFDD0, 0xFDF0), *range(0xF0000, 0xFFFFE))  # characters that stand for no letter


@dataclass(frozen=True)
class ChatForm:
    """Conversations in the form of `template`, in ids of `tokenizer`; `end_ids` are the ids that end any text.

    `system` is the system prompt of every conversation; None leaves it to the template, which may have a default.
    As a `PromptForm`, a record is a conversation of one question and one answer.
    """

    template: ChatTemplate
    tokenizer: Tokenizer
    end_ids: tuple[int, ...] = ()
    system: str | None = None

    @classmethod
    def of(cls, conventions: Conventions, tokenizer: Tokenizer, system: str | None = None) -> ChatForm:
        """The form that a model's files state. Raises: ConfigError if they hold no chat template"""
        if conventions.template is None:
            raise ConfigError("--model must have a chat template for its own form of a conversation; this one has none")
        return cls(conventions.template, tokenizer, conventions.end_ids, system)

    # Conversations.

    def encode(self, messages: Sequence[Message], add_generation_prompt: bool = True) -> list[int]:
        """The ids of a conversation, with the beginning of the next answer.

        Raises: as `ChatTemplate.render`
        """
        names = self.tokenizer.special_tokens
        contents, stand_ins = _disarmed([message["content"] for message in messages], names)
        written = [{**message, "content": text} for message, text in zip(messages, contents, strict=True)]
        text = self.template.render(written, add_generation_prompt)
        if not any(chr(stand_in) in text for stand_in in stand_ins):
            return self.tokenizer.encode(text, allowed_special="all")
        if isinstance(self.tokenizer, PipelineTokenizer):  # its ids may depend on what is beside a piece of text
            return self.tokenizer.encode_with_stand_ins(text, stand_ins)
        ids: list[int] = []
        for place, part in enumerate(split_at_special_tokens(text, names)):
            ids += [names[part]] if place % 2 else self.tokenizer.encode_ordinary(part.translate(stand_ins))
        return ids

    def conversation(self, exchanges: Iterable[tuple[str, str]], question: str) -> list[Message]:
        """The messages of questions and their answers, and of one more question."""
        begun = [] if self.system is None else [{"role": "system", "content": self.system}]
        told = [
            {"role": role, "content": text}
            for exchange in exchanges
            for role, text in zip(("user", "assistant"), exchange, strict=True)
        ]
        return [*begun, *told, {"role": "user", "content": question}]

    @cached_property
    def end_id(self) -> int | None:
        """The id that the template writes after an answer; if it writes none, the usual one that ends a text."""
        try:
            text = self.template.render(self._answered({"instruction": "?"}, MARK), add_generation_prompt=False)
        except ConfigError:  # the template refuses a conversation that ends with an answer
            text = ""
        parts = split_at_special_tokens(text.rpartition(MARK)[2], self.tokenizer.special_tokens)
        if len(parts) > 1:
            return self.tokenizer.special_tokens[parts[1]]
        return self.end_ids[0] if self.end_ids else None

    @property
    def ends(self) -> tuple[int, ...]:
        """The ids that end an answer, the template's own first."""
        return tuple(dict.fromkeys([*([] if self.end_id is None else [self.end_id]), *self.end_ids]))

    # Records, as PromptForm.

    def question_ids(
        self,
        tokenizer: Encoder,
        record: Record,
        shots: Sequence[tuple[Record, str]] = (),
        end_id: int | None = None,
    ) -> list[int]:
        """The ids of a record's question; the answered `shots` before it are turns of the same conversation."""
        told = [(_question(shot), answer) for shot, answer in shots]
        return self.encode(self.conversation(told, _question(record)))

    def answered_ids(self, tokenizer: Encoder, record: Record, answer: str) -> TokenizedRecord:
        """The ids of a question and its answer, up to the token that ends it; the question's count as prompt."""
        question, whole = self.question_ids(tokenizer, record), self.encode(self._answered(record, answer), False)
        pairs = zip(question, whole, strict=False)
        shared = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        if self.end_id in whole[shared:]:
            whole = whole[: len(whole) - 1 - whole[::-1].index(self.end_id)]
        return TokenizedRecord(whole, min(shared, len(whole)))

    def _answered(self, record: Record, answer: str) -> list[Message]:
        return [*self.conversation((), _question(record)), {"role": "assistant", "content": answer}]


MARK = "answer"  # in a conversation that shows what the template writes after an answer


def _question(record: Record) -> str:
    """An instruction and its input, if there is one, as one message."""
    given = record.get("input", "")
    return record["instruction"] + (f"\n\n{given}" if given else "")


def _disarmed(contents: Sequence[str], control_tokens: Iterable[str]) -> tuple[list[str], dict[int, str]]:
    """The texts with a stand-in for the first character of every control token in them, and what the stand-ins mean, as
    `str.translate` reads it.
    """
    meanings: dict[str, str] = {}  # the stand-in of each first character
    used: set[str] | None = None
    disarmed = []
    for content in contents:
        places = {place for name in control_tokens for place in _places(content, name)}
        characters = list(content)
        for place in sorted(places):
            first = content[place]
            if first not in meanings:
                used = set().union(*contents) if used is None else used
                taken = used | set(meanings.values())
                meanings[first] = next(chr(code) for code in STAND_INS if chr(code) not in taken)
            characters[place] = meanings[first]
        disarmed.append("".join(characters))
    return disarmed, {ord(stand_in): first for first, stand_in in meanings.items()}


def _places(text: str, name: str) -> Iterable[int]:
    """Where `name` begins in a text, overlaps included."""
    place = text.find(name)
    while place >= 0:
        yield place
        place = text.find(name, place + 1)
