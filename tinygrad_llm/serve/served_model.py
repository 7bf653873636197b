"""The model that is served: its name, its tokenizer, and the form of its conversations."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.generate.starting import prompt_ids
from tinygrad_llm.interop.chat_form import ChatForm
from tinygrad_llm.runs.chat_model import ChatModel, Message
from tinygrad_llm.runs.open_model import conventions_of, open_model
from tinygrad_llm.serve.api_error import ApiError
from tinygrad_llm.text import Tokenizer


@dataclass(frozen=True)
class ServedModel:
    """A language model with its tokenizer. `chat` is None for one that only continues texts, and `ends` end these."""

    name: str
    model: Any
    tokenizer: Tokenizer
    ends: tuple[int, ...] = ()
    chat: ChatModel | None = None
    created: int = field(default_factory=lambda: int(time.time()))

    @classmethod
    def open(cls, path: Path, name: str | None = None) -> ServedModel:
        """The model in `path`; without a name, it has that of its file or folder.

        Raises: ConfigError, DataError, CheckpointError, FormatError, as `open_model`
        """
        model, tokenizer = open_model(path, "serve")
        ends = conventions_of(path, tokenizer).end_ids
        chat = ChatModel.of(path, tokenizer)
        if chat is not None:  # a template that cannot be rendered is refused before the first request
            chat.encode(tokenizer, [{"role": "user", "content": "Hello"}])
        return cls(name or path.resolve().name.removesuffix(".gguf"), model, tokenizer, ends, chat)

    @property
    def context_length(self) -> int:
        return int(self.model.config.context_length)

    @property
    def vocab_size(self) -> int:
        """The ids that both the model and its tokenizer know."""
        return min(int(self.model.config.vocab_size), self.tokenizer.vocab_size)

    @property
    def takes_system(self) -> bool:
        """Whether a conversation may begin with a system message."""
        return self.chat is not None and isinstance(self.chat.form, ChatForm)

    @property
    def fingerprint(self) -> str:
        """The same for the same model, so that a client sees when a seed gives other draws."""
        known = f"{self.name} {self.model.num_parameters()} {self.model.config}"
        return f"fp_{hashlib.sha256(known.encode()).hexdigest()[:10]}"

    def described(self) -> dict[str, Any]:
        """The model in OpenAI's form, and three fields of ours."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "tinygrad_llm",
            "context_length": self.context_length,
            "has_chat": self.chat is not None,
            "takes_system": self.takes_system,
        }

    def text_ids(self, text: str) -> list[int]:
        """The ids of a text to continue. Raises: ApiError for one that the vocabulary lacks"""
        try:
            ids = prompt_ids(self.tokenizer, text)
        except TinygradLLMError as error:
            raise ApiError(400, f"prompt: {error}", "prompt") from error
        return self._expect_rows("prompt", ids)

    def chat_ids(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a conversation, up to where the answer begins.

        Raises: ApiError for a model without conversations, or messages that its form refuses
        """
        if self.chat is None:
            raise ApiError(
                400,
                f"{self.name} has no form of a conversation: it continues texts; send them to /v1/completions, or "
                "serve a model that was trained with `tinygrad-llm instruct` or has a chat template",
                "model",
                "no_chat_form",
            )
        try:
            ids = self.chat.encode(self.tokenizer, messages)
        except TinygradLLMError as error:
            raise ApiError(400, f"messages: {error}", "messages") from error
        return self._expect_rows("messages", ids)

    def _expect_rows(self, param: str, ids: list[int]) -> list[int]:
        """The ids themselves. Raises: ApiError for a token without a row in the model's embedding"""
        rows = int(self.model.config.vocab_size)
        if (highest := max(ids, default=0)) >= rows:
            text = self.tokenizer.decode([highest])
            message = f"{param}: {text!r} is a token of the tokenizer alone: the model knows only ids below {rows:,}"
            raise ApiError(400, message, param)
        return ids

    def chat_ends(self) -> tuple[int, ...]:
        return self.ends if self.chat is None else self.chat.ends
