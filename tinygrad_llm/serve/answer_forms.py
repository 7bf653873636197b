"""Answers in OpenAI's two forms: a completion or a chat completion, whole or in chunks."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from tinygrad_llm.serve.choice_text import Piece, Placed
from tinygrad_llm.serve.served_model import ServedModel
from tinygrad_llm.serve.token_choice import Token

JSON = dict[str, Any]


class CompletionAnswerForm:
    """The answers of /v1/completions."""

    kind = chunk_kind = "text_completion"
    prefix = "cmpl-"

    def __init__(self, served: ServedModel, log_probs: bool) -> None:
        self.tokenizer, self.log_probs = served.tokenizer, log_probs
        self.head = {
            "id": f"{self.prefix}{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": served.name,
            "system_fingerprint": served.fingerprint,
        }

    # -- whole answers

    def whole(self, choices: Sequence[JSON], usage: Mapping[str, int]) -> JSON:
        return {**self.head, "object": self.kind, "choices": list(choices), "usage": dict(usage)}

    def choice(self, index: int, pieces: Sequence[Piece], reason: str) -> JSON:
        """A whole choice of these pieces."""
        tokens = [token for piece in pieces for token in piece.tokens]
        text = "".join(piece.text for piece in pieces)
        return {"index": index, "text": text, "logprobs": self.token_list(tokens), "finish_reason": reason}

    # -- chunks

    def chunk(self, choices: Sequence[JSON], with_usage: bool, usage: Mapping[str, int] | None = None) -> JSON:
        """A chunk; in a stream `with_usage` all have this field, which is null but in the last one."""
        counted = {"usage": None if usage is None else dict(usage)} if with_usage else {}
        return {**self.head, "object": self.chunk_kind, "choices": list(choices), **counted}

    def first(self, index: int) -> list[JSON]:
        """What opens the stream of a choice."""
        return []

    def part(self, index: int, piece: Piece, reason: str | None = None) -> JSON:
        """A piece of a choice; with a reason, the last."""
        tokens = self.token_list(piece.tokens) if piece.tokens else None
        return {"index": index, "text": piece.text, "logprobs": tokens, "finish_reason": reason}

    def token_list(self, tokens: Sequence[Placed]) -> JSON | None:
        """The log-probabilities of tokens: lists with an entry per token."""
        if not self.log_probs:
            return None
        return {
            "tokens": [self.name_of(placed.token.id) for placed in tokens],
            "token_logprobs": [placed.token.log_prob for placed in tokens],
            "top_logprobs": [self._likely(placed.token) for placed in tokens],
            "text_offset": [placed.begin for placed in tokens],
        }

    def _likely(self, token: Token) -> JSON | None:
        """The most likely tokens and the chosen one; None for the first token of a prompt."""
        if token.log_prob is None:
            return None
        return {self.name_of(one): log_prob for one, log_prob in (*token.top, (token.id, token.log_prob))}

    def name_of(self, token: int) -> str:
        """A token's text; of a part of a character its bytes, so that different tokens have different names."""
        raw = self.tokenizer.token_bytes(token)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


class ChatAnswerForm(CompletionAnswerForm):
    """The answers of /v1/chat/completions."""

    kind, chunk_kind, prefix = "chat.completion", "chat.completion.chunk", "chatcmpl-"

    def choice(self, index: int, pieces: Sequence[Piece], reason: str) -> JSON:
        message = {"role": "assistant", "content": "".join(piece.text for piece in pieces), "refusal": None}
        tokens = [token for piece in pieces for token in piece.tokens]
        return {"index": index, "message": message, "logprobs": self.token_list(tokens), "finish_reason": reason}

    def first(self, index: int) -> list[JSON]:
        delta = {"role": "assistant", "content": "", "refusal": None}
        return [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]

    def part(self, index: int, piece: Piece, reason: str | None = None) -> JSON:
        delta = {"content": piece.text} if piece.text else {}
        tokens = self.token_list(piece.tokens) if piece.tokens else None
        return {"index": index, "delta": delta, "logprobs": tokens, "finish_reason": reason}

    def token_list(self, tokens: Sequence[Placed]) -> JSON | None:
        if not self.log_probs:
            return None
        return {"content": [self._entry(placed.token) for placed in tokens], "refusal": None}

    def _entry(self, token: Token) -> JSON:
        top = [self._named(one, log_prob) for one, log_prob in token.top]
        return {**self._named(token.id, token.log_prob), "top_logprobs": top}

    def _named(self, token: int, log_prob: float | None) -> JSON:
        raw = self.tokenizer.token_bytes(token)
        return {"token": raw.decode(errors="replace"), "logprob": log_prob, "bytes": list(raw)}
