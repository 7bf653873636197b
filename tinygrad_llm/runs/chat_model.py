"""How a model is talked to: the form of its conversations, and the ids that end an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tinygrad_llm.data import PROMPT_STYLES, PromptForm, prompt_style
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.interop.chat_form import ChatForm
from tinygrad_llm.interop.chat_template import ROLES
from tinygrad_llm.runs.open_model import conventions_of, recorded_config
from tinygrad_llm.text import Tokenizer

__all__ = ["ROLES", "ChatModel", "Message"]

Message = dict[str, str]  # with "role", one of ROLES, and "content"


@dataclass(frozen=True)
class ChatModel:
    """The form of a model's conversations, and the ids that end an answer."""

    form: PromptForm
    ends: tuple[int, ...]

    @classmethod
    def of(cls, path: Path, tokenizer: Tokenizer) -> ChatModel | None:
        """That of the model in `path`: its chat template, or the style its run was trained with; None for neither."""
        conventions = conventions_of(path, tokenizer)
        options = recorded_config(path).get("options")
        style = options.get("style") if isinstance(options, dict) else None
        if style in PROMPT_STYLES:
            return cls(prompt_style(str(style)), conventions.end_ids)
        if conventions.template is None:
            return None
        form = ChatForm.of(conventions, tokenizer)
        return cls(form, form.ends)

    def encode(self, tokenizer: Tokenizer, messages: Sequence[Message]) -> list[int]:
        """The ids of a conversation, up to where the answer begins. Raises: ConfigError"""
        if isinstance(self.form, ChatForm):
            return self.form.encode(messages)
        ids: list[int] = []
        for message in messages:
            if message["role"] == "user":
                ids += self.form.question_ids(tokenizer, {"instruction": message["content"], "input": ""})
            elif message["role"] == "assistant":
                ids += [*tokenizer.encode_ordinary(message["content"]), *self.ends[:1]]
            else:
                raise ConfigError("chat: a system message needs a chat template; this model has a prompt style")
        return ids
