"""A conversation with a chat model: its answer, piece by piece, between other work of the owner's thread."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate import Sampling, stream
from tinygrad_llm.generate.streaming import whole_characters
from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.training_session import LIVE, NotPossible
from tinygrad_llm.random import Generator
from tinygrad_llm.runs.chat_model import ROLES, Message
from tinygrad_llm.text import StreamDecoder
from tinygrad_llm.web.body import Body

SECONDS_AT_ONCE = 0.05  # of generating, before other work has its turn
MOST_MESSAGES, MOST_TOKENS = 200, 2_000
FIELDS = ("messages", "temperature", "k", "p", "minp", "maxTokens", "seed", "at")


class Answer:
    """An answer that is being generated. Its methods are called on the owner's thread."""

    def __init__(self, session: Session, body: Body) -> None:
        """Raises: ConfigError for messages that are no conversation or do not fit the context; NotPossible"""
        chat = session.beginning.chat
        if chat is None:
            raise NotPossible("this model has no form of a conversation: no chat template, and no prompt style")
        view = session.view(body.text("at", LIVE, longest=200))
        messages = [_message(entry) for entry in body.list("messages", longest=MOST_MESSAGES)]
        if not messages or messages[-1]["role"] != "user":
            raise ConfigError("chat: the last message must be the user's")
        sampling = Sampling(
            temperature=body.number("temperature", 0.7),
            top_k=body.integer("k", 0) or None,
            top_p=body.number("p", 1.0),
            min_p=body.number("minp", 0.0),
            vocab_size=view.tokenizer.vocab_size,
        )
        ids = chat.encode(view.tokenizer, messages)
        room = view.model.config.context_length - len(ids)
        if room < 1:
            raise ConfigError(
                f"chat: a conversation must be shorter than the context, {view.model.config.context_length} tokens; "
                f"got {len(ids)}: begin a new one"
            )
        wanted = body.integer("maxTokens", 400, low=1, high=MOST_TOKENS)
        self.limit, self.why_limited = min(wanted, room), "limit" if wanted <= room else "context"
        self.made = 0
        generator = Generator(body.integer("seed", 0))
        tokens = stream(view.model, np.array(ids), self.limit, sampling, eos_id=chat.ends, generator=generator)
        self._pieces = whole_characters(self._counted(tokens), StreamDecoder(view.tokenizer, after=ids))

    def _counted(self, tokens: Iterator[int]) -> Iterator[int]:
        for token in tokens:
            self.made += 1
            yield token

    def more(self) -> dict[str, Any]:
        """The next pieces of text, together; with `done` and the reason, the last."""
        text, started = "", time.monotonic()
        for piece in self._pieces:
            text += piece
            if time.monotonic() - started > SECONDS_AT_ONCE:
                return {"text": text}
        why = self.why_limited if self.made >= self.limit else "end of turn"
        return {"text": text, "done": True, "why": why}


def _message(entry: Any) -> Message:
    is_message = isinstance(entry, dict) and entry.keys() == {"role", "content"}
    if not is_message or entry["role"] not in ROLES or not isinstance(entry["content"], str):
        raise ConfigError(f"chat: a message has a role ({', '.join(ROLES)}) and a content; got {ascii(entry)[:100]}")
    return {"role": entry["role"], "content": entry["content"]}
