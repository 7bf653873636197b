"""The answer to a request, as the engine generates it: parts of its choices, in the order in which they come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tinygrad_llm.serve.choice_text import ChoiceText, Piece, echo_of
from tinygrad_llm.serve.engine import STOP, End, Engine, NewToken, PromptTokens
from tinygrad_llm.serve.parameters import Wanted
from tinygrad_llm.serve.served_model import ServedModel

SECONDS_BETWEEN_LOOKS = 0.1  # at whether the client is still there


class Part(NamedTuple):
    """A piece of a choice; with a reason, its last one."""

    choice: int
    piece: Piece
    reason: str | None = None


class Answering:
    """Iterate over `parts()` once; `usage` counts the tokens so far. At the end of a `with` block the engine stops.

    Raises: ApiError if the engine refuses the request, and from `parts` if it fails
    """

    def __init__(self, engine: Engine, served: ServedModel, wanted: Wanted) -> None:
        self.wanted, self.job = wanted, wanted.job
        self._served, self._completion_tokens = served, 0
        engine.submit(self.job)

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: object) -> None:
        self.job.cancel()

    @property
    def usage(self) -> dict[str, int]:
        """Tokens of the prompts, once each, and of all choices. A token that ends a text is not counted."""
        prompt = sum(len(text.prompt) for text in self.job.texts[:: self.wanted.num_choices])
        made = self._completion_tokens
        return {"prompt_tokens": prompt, "completion_tokens": made, "total_tokens": prompt + made}

    def parts(self, client_has_gone: Callable[[], bool]) -> Iterator[Part | None]:
        """The parts as they come; None every now and then while nothing comes.

        Raises: ConnectionAbortedError if the client has gone
        """
        echo, job = self.wanted.echo, self.job
        echoed = ["" if echo is None else echo[text.choice // self.wanted.num_choices] for text in job.texts]
        texts = [
            ChoiceText(self._served.tokenizer, text.prompt, self.wanted.stops, len(before))
            for text, before in zip(job.texts, echoed, strict=True)
        ]
        unfinished = set(range(len(texts)))
        if echo is not None and not job.prompt_log_probs:
            yield from (Part(choice, Piece(before, [])) for choice, before in enumerate(echoed))
        while unfinished:
            if client_has_gone():
                raise ConnectionAbortedError("the client has gone")
            event = job.next_event(SECONDS_BETWEEN_LOOKS)
            if event is None:
                yield None
            elif event.choice not in unfinished:
                continue  # came after a stop string
            elif isinstance(event, PromptTokens):
                yield Part(event.choice, echo_of(self._served.tokenizer, echoed[event.choice], event.tokens))
            elif isinstance(event, NewToken):
                self._completion_tokens += 1
                text = texts[event.choice]
                piece = text.push(event.token)
                if text.stopped:
                    job.end(event.choice)
                    unfinished.discard(event.choice)
                    yield Part(event.choice, piece, STOP)
                elif piece.text:
                    yield Part(event.choice, piece)
            elif isinstance(event, End):
                unfinished.discard(event.choice)
                yield Part(event.choice, texts[event.choice].finish(), event.reason)
