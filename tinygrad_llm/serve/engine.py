"""One thread owns the model: it reads the texts of all requests together, and hands each its tokens.

    a request's thread    engine.submit(job); then job.next_event(), until an End
    the engine's thread   run(): rows join, one chunk of a prompt, one token for every row that is ready, rows leave

A row leaves when its text has ended, when its time is over, or as soon as nobody wants it (`job.cancel()`).
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.generate.continuous_batch import ContinuousBatch, Row
from tinygrad_llm.random import Generator
from tinygrad_llm.serve.api_error import ApiError, as_api_error
from tinygrad_llm.serve.settings import ServingSettings
from tinygrad_llm.serve.token_choice import Choosing, Token

STOP, LENGTH = "stop", "length"  # why a text ended
SEEDS = 1 << 64


class Text(NamedTuple):
    """A text to be continued, and which choice of its request it is."""

    choice: int
    prompt: Sequence[int]
    seed: int


class PromptTokens(NamedTuple):
    """The prompt's tokens with their log-probabilities, where the request wants them: the first has none."""

    choice: int
    tokens: list[Token]


class NewToken(NamedTuple):
    choice: int
    token: Token


class End(NamedTuple):
    """A text has ended: at a token that ends texts (STOP), or at its limit (LENGTH)."""

    choice: int
    reason: str


Event = PromptTokens | NewToken | End


@dataclass
class Job:
    """A request: its texts, how they are continued, and the events by which the engine reports on them."""

    texts: Sequence[Text]
    choosing: Choosing
    max_tokens: int
    ends: frozenset[int]
    prompt_log_probs: bool = False
    waiting: deque[Text] = field(default_factory=deque)
    rows: int = 0  # in the batch now
    deadline: float = 0.0
    cancelled: bool = False
    events: queue.SimpleQueue[Event | ApiError] = field(default_factory=queue.SimpleQueue)
    ended: set[int] = field(default_factory=set)  # choices that need no more tokens

    def cancel(self) -> None:
        """Stop all texts: the events are not read any more."""
        self.cancelled = True

    def end(self, choice: int) -> None:
        """Stop one text, such as at a stop string."""
        self.ended.add(choice)

    def next_event(self, seconds: float) -> Event | None:
        """The next event, None if there is none in this time. Raises: ApiError if the engine failed or is ending"""
        try:
            event = self.events.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(event, ApiError):
            raise event
        return event


@dataclass
class _Continued:
    """A row of the batch, and the text of a job that it is."""

    job: Job
    text: Text
    row: Row
    generator: Generator
    prompt_tokens: list[Token] = field(default_factory=list)
    has_begun: bool = False  # its prompt has been read

    @property
    def is_wanted(self) -> bool:
        return not self.job.cancelled and self.text.choice not in self.job.ended

    def choose(self, logits: Array) -> Token:
        """The next token, which joins the text. Shapes: logits (V,)"""
        ids, length = self.row.ids, self.row.prompt_length
        token = self.job.choosing.choose(logits, ids[:length], ids[length:], self.generator)
        ids.append(token.id)
        return token


class Engine:
    """Continues the texts of jobs with `model`, within the bounds of `settings`."""

    def __init__(self, model: Any, settings: ServingSettings | None = None) -> None:
        self.model, self.settings = model, ServingSettings() if settings is None else settings
        self.context_length = int(model.config.context_length)
        self._batch = ContinuousBatch(model, kept_tokens=2 * self.context_length)
        self._continued: list[_Continued] = []
        self._waiting: list[Job] = []
        self._changed = threading.Condition()
        self._is_ending = False

    # -- called by any thread

    def submit(self, job: Job) -> None:
        """Let the engine continue a job's texts. Raises: ApiError if it is ending, or too many jobs wait"""
        with self._changed:
            if self._is_ending:
                raise ApiError(503, "the server is ending")
            most = self.settings.max_waiting
            if len(self._waiting) >= most + max(0, self.settings.max_batch - len(self._continued)):
                raise ApiError(429, f"at most {most} requests wait for their turn, and now they do: try again later")
            job.waiting.extend(job.texts)
            job.deadline = time.monotonic() + self.settings.max_seconds
            self._waiting.append(job)
            self._changed.notify()

    def end(self) -> None:
        """End all texts, and the engine's thread after the token that it is computing."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()

    @property
    def num_rows(self) -> int:
        """Texts in the batch now."""
        return len(self._continued)

    # -- called by the engine's thread

    def run(self) -> None:
        """Continue texts until `end` is called."""
        try:
            with np.errstate(all="ignore"):  # as in every command; NaN logits end in an error of their request
                while self._admit():
                    self._drop_unwanted()
                    self._read_a_chunk()
                    self._continue_all()
        finally:  # after an unexpected error too: nobody waits for a thread that has ended
            self.end()
            for job in (*(one.job for one in self._continued), *self._waiting):
                job.events.put(ApiError(503, "the server is ending"))

    def _admit(self) -> bool:
        """Let waiting texts join, in turns between jobs; wait if there is nothing to do. False: the end has come."""
        with self._changed:
            while not (self._is_ending or self._waiting or self._continued):
                self._changed.wait()
            self._waiting = [job for job in self._waiting if self._still_waits(job)]
            while self._waiting and len(self._continued) < self.settings.max_batch and not self._is_ending:
                job = min(self._waiting, key=lambda one: one.rows)
                self._join(job, job.waiting.popleft())
                if not job.waiting:
                    self._waiting.remove(job)
            return not self._is_ending

    def _still_waits(self, job: Job) -> bool:
        """Whether a job's further texts are wanted, and in time; a job whose time is over is told so."""
        if job.cancelled:
            return False
        if time.monotonic() < job.deadline:
            return True
        if len(job.waiting) == len(job.texts):
            seconds = self.settings.max_seconds
            job.events.put(ApiError(503, f"the request has waited for its turn for {seconds:g} seconds"))
        for text in job.waiting:
            job.events.put(End(text.choice, LENGTH))
        return False

    def _join(self, job: Job, text: Text) -> None:
        try:
            row = self._batch.join(np.array(text.prompt))
        except Exception as error:  # such as an id that the model does not have
            job.waiting.clear()
            job.cancel()
            job.events.put(as_api_error(error))
            return
        self._continued.append(_Continued(job, text, row, Generator(text.seed % SEEDS)))
        job.rows += 1

    def _leave(self, one: _Continued, event: Event | ApiError | None = None) -> None:
        one.job.rows -= 1
        self._continued.remove(one)
        self._batch.leave(one.row, keep=not isinstance(event, ApiError))
        if event is not None:  # last: whoever reads it may ask again at once, and finds the place free
            one.job.events.put(event)

    def _drop_unwanted(self) -> None:
        now = time.monotonic()
        for one in list(self._continued):
            if not one.is_wanted:
                self._leave(one)
            elif now > one.job.deadline:
                self._leave(one, End(one.text.choice, LENGTH))

    def _read_a_chunk(self) -> None:
        """Read a chunk of the first prompt that is not read to its end."""
        one = next((one for one in self._continued if one.row.reads_prompt), None)
        if one is None:
            return
        try:
            if one.job.prompt_log_probs:
                start = one.row.cache.length
                logits = self.model.head(self._batch.read_prompt(one.row)).data[0]
                following = one.row.ids[start + 1 :]
                one.prompt_tokens += [one.job.choosing.reported(*pair) for pair in zip(following, logits, strict=False)]
            elif one.row.cache.length or not self._batch.reuse(one.row) or one.row.reads_prompt:
                self._batch.read_prompt(one.row)
        except Exception as error:
            self._leave(one, as_api_error(error))

    def _continue_all(self) -> None:
        """One token for every text whose prompt has been read."""
        ready = [one for one in self._continued if not one.row.reads_prompt]
        for one in list(ready):
            if not one.has_begun:
                one.has_begun = True
                if one.job.prompt_log_probs:
                    first = Token(one.row.ids[0])
                    one.job.events.put(PromptTokens(one.text.choice, [first, *one.prompt_tokens]))
                if not one.job.max_tokens:
                    ready.remove(one)
                    self._leave(one, End(one.text.choice, LENGTH))
        if not ready:
            return
        try:
            logits = self._batch.logits([one.row for one in ready])
        except Exception as error:
            for one in ready:
                self._leave(one, as_api_error(error))
            return
        for one, row_logits in zip(ready, logits, strict=True):
            try:
                self._report(one, one.choose(row_logits))
            except Exception as error:
                self._leave(one, as_api_error(error))

    def _report(self, one: _Continued, token: Token) -> None:
        """Tell the job of a new token, or that the text has ended."""
        choice, length = one.text.choice, len(one.row.ids)
        if token.id in one.job.ends:
            self._leave(one, End(choice, STOP))
            return
        one.job.events.put(NewToken(choice, token))
        if length - one.row.prompt_length >= one.job.max_tokens or length >= self.context_length:
            self._leave(one, End(choice, LENGTH))
