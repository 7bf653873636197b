"""The text of one choice as its tokens come: whole characters, up to the first stop string."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tinygrad_llm.generate.streaming import StopSearch
from tinygrad_llm.serve.token_choice import Token
from tinygrad_llm.text import StreamDecoder, Tokenizer

REPLACEMENT = "\ufffd"  # how a decoder shows bytes that are no character


class Placed(NamedTuple):
    """A token, and where its text begins in the text of the choice. Units: characters"""

    token: Token
    begin: int


class Piece(NamedTuple):
    """Text that may be sent, and the tokens whose text begins in it."""

    text: str
    tokens: list[Placed]


class ChoiceText:
    """Turns a choice's tokens into text. `stopped` tells whether a stop string has come; what follows it is dropped.

    Joined, the pieces are the text that the tokenizer decodes after the `prompt`, without a character of which only a
    part was generated. A token belongs to the piece in which its text begins; one whose text begins in the stop string
    belongs to none.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Iterable[int], stops: Sequence[str], begin: int = 0) -> None:
        """`begin` is where the text begins, such as after an echo of the prompt. Units: characters"""
        self._decoder, self._search = StreamDecoder(tokenizer, after=prompt), StopSearch(stops)
        self._received = self._sent = begin
        self._unsent: deque[Placed] = deque()

    @property
    def stopped(self) -> bool:
        return self._search.found

    def push(self, token: Token) -> Piece:
        """What may be sent now; often one word, sometimes nothing."""
        self._unsent.append(Placed(token, self._received))
        return self._piece(self._searched(self._decoder.push(token.id)))

    def finish(self) -> Piece:
        """The rest, after the last token."""
        text = "" if self.stopped else self._searched(self._decoder.finish().rstrip(REPLACEMENT))
        if not self.stopped:
            text += self._search.finish()
        piece = self._piece(text)
        if not self.stopped:  # tokens without text
            piece.tokens.extend(self._unsent)
        self._unsent.clear()
        return piece

    def _searched(self, text: str) -> str:
        self._received += len(text)
        return self._search.push(text)

    def _piece(self, text: str) -> Piece:
        self._sent += len(text)
        tokens = []
        while text and self._unsent and self._unsent[0].begin < self._sent:
            tokens.append(self._unsent.popleft())
        return Piece(text, tokens)


def echo_of(tokenizer: Tokenizer, text: str, tokens: Sequence[Token]) -> Piece:
    """A prompt as the first piece of a choice: `text`, and its tokens where they are to be reported.

    What the tokenizer put before the text, such as a token that begins every text, is placed at 0.
    """
    decoder, ends = StreamDecoder(tokenizer), [0]
    for token in tokens:
        ends.append(ends[-1] + len(decoder.push(token.id)))
    before = ends[-1] + len(decoder.finish()) - len(text)
    return Piece(text, [Placed(token, max(0, end - before)) for token, end in zip(tokens, ends, strict=False)])
