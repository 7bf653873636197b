"""The engine: many jobs at once, their limits, and what goes wrong in one of them."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from tiny_server import chat_model

from tinygrad_llm.generate import Sampling, generate
from tinygrad_llm.random import Generator
from tinygrad_llm.serve.api_error import ApiError
from tinygrad_llm.serve.engine import LENGTH, STOP, End, Engine, Job, NewToken, Text
from tinygrad_llm.serve.settings import ServingSettings
from tinygrad_llm.serve.token_choice import Choosing

CONTEXT = 128


@contextlib.contextmanager
def running(model: Any = None, *limits: Any) -> Iterator[Engine]:
    engine = Engine(chat_model().model if model is None else model, ServingSettings(*limits))
    thread = threading.Thread(target=engine.run, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        engine.end()
        thread.join(60)
        assert not thread.is_alive()


def job_of(*prompts: list[int], seed: int = 0, tokens: int = 5, ends: frozenset[int] = frozenset(), **how: Any) -> Job:
    texts = [Text(place, prompt, seed + place) for place, prompt in enumerate(prompts)]
    return Job(texts, Choosing(Sampling(**how)), tokens, ends)


def result(job: Job) -> tuple[list[list[int]], list[str]]:
    """The tokens of each text of a job, and why they ended."""
    tokens: list[list[int]] = [[] for _ in job.texts]
    reasons = [""] * len(tokens)
    while not all(reasons):
        event = job.next_event(60)
        assert event is not None, "the engine stands still"
        if isinstance(event, NewToken):
            tokens[event.choice].append(event.token.id)
        elif isinstance(event, End):
            reasons[event.choice] = event.reason
    return tokens, reasons


def alone(prompt: list[int], seed: int, tokens: int, temperature: float) -> list[int]:
    generator = Generator(seed)
    text = generate(chat_model().model, np.array(prompt), tokens, temperature=temperature, generator=generator)
    return text[len(prompt) :].tolist()


def test_each_text_of_many_jobs_is_that_of_its_seed_alone() -> None:
    draws = np.random.default_rng(0)
    jobs = [
        job_of(
            *(draws.integers(0, 256, size).tolist() for size in draws.integers(1, 100, 2)), seed=seed, temperature=0.9
        )
        for seed in range(8)
    ]
    with running(None, 5) as engine:
        for job in jobs:
            engine.submit(job)
        found = [result(job)[0] for job in jobs]
        assert engine.num_rows == 0
    for seed, (job, texts) in enumerate(zip(jobs, found, strict=True)):
        for place, text in enumerate(job.texts):
            assert texts[place] == alone(list(text.prompt), seed + place, 5, 0.9)


def test_a_text_ends_at_an_end_at_its_limit_and_with_the_context() -> None:
    with running() as engine:
        engine.submit(whole := job_of([1, 2], tokens=3))
        (tokens,), reasons = result(whole)
        assert (len(tokens), reasons) == (3, [LENGTH])
        engine.submit(ended := job_of([1, 2], tokens=3, ends=frozenset(tokens[1:2])))
        assert result(ended) == ([tokens[:1]], [STOP])
        engine.submit(full := job_of([1] * (CONTEXT - 2), tokens=50))
        (tokens,), reasons = result(full)
        assert (len(tokens), reasons) == (2, [LENGTH])


def test_a_text_that_cannot_join_ends_its_own_job_alone() -> None:
    with running(None, 2) as engine:
        engine.submit(wrong := job_of([1], [1, 10**6], [2], tokens=50))
        with pytest.raises(ApiError, match="ids must be in"):
            result(wrong)
        engine.submit(right := job_of([1], tokens=2))
        assert result(right)[1] == [LENGTH]
        assert engine.num_rows == 0


def test_nobody_waits_for_an_engine_that_has_failed() -> None:
    def fail() -> None:
        raise ValueError("unexpected")

    engine = Engine(chat_model().model, ServingSettings(1))
    jobs = [job_of([1]), job_of([2])]
    for job in jobs:
        engine.submit(job)
    engine._continue_all = fail  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="unexpected"):
        engine.run()
    for job in jobs:
        with pytest.raises(ApiError, match="ending"):
            job.next_event(0)
    with pytest.raises(ApiError, match="ending"):
        engine.submit(job_of([1]))


def test_a_cancelled_job_leaves_its_row_to_the_next() -> None:
    with running(None, 1) as engine:
        engine.submit(first := job_of([1], tokens=120))
        engine.submit(second := job_of([2], tokens=2))
        assert first.next_event(60) is not None
        first.cancel()
        assert result(second)[1] == [LENGTH]
        assert engine.num_rows == 0


def test_jobs_take_turns_so_that_one_with_many_texts_keeps_nobody_out() -> None:
    engine = Engine(chat_model().model, ServingSettings(2))
    engine.submit(many := job_of(*[[place] for place in range(20)], tokens=20))
    assert engine._admit()
    engine.submit(one := job_of([1], tokens=2))
    while not one.rows:
        assert engine._admit()
        engine._continue_all()
    assert len(many.waiting) == 17  # two texts ended, and the other job was given one of the places


def test_too_many_waiting_jobs_are_refused() -> None:
    engine = Engine(chat_model().model, ServingSettings(1, 2))  # it does not run: all wait
    for _ in range(3):
        engine.submit(job_of([1]))
    with pytest.raises(ApiError, match="at most 2 requests wait") as caught:
        engine.submit(job_of([1]))
    assert caught.value.status == 429 and caught.value.headers == {"Retry-After": "1"}


def test_time_ends_a_text_with_what_it_has_and_a_waiting_one_with_an_error() -> None:
    engine = Engine(chat_model().model, ServingSettings(1))
    jobs = [job_of([1], tokens=50), job_of([2])]
    for job in jobs:
        engine.submit(job)
    engine._admit()
    engine._continue_all()
    for job in jobs:
        job.deadline = 0.0
    engine._drop_unwanted()
    (tokens,), reasons = result(jobs[0])
    assert (len(tokens), reasons) == (1, [LENGTH])
    engine.submit(job_of([3]))
    assert engine._admit()
    with pytest.raises(ApiError, match="waited for its turn for 600 seconds") as caught:
        result(jobs[1])
    assert caught.value.status == 503


def test_an_error_of_one_text_is_told_and_the_others_go_on() -> None:
    class Broken(Choosing):
        def changed(self, logits: Any, answer: Any) -> Any:
            raise ValueError("broken")

    with running() as engine:
        bad = Job([Text(0, [1, 2], 0)], Broken(Sampling()), 5, frozenset())
        good = job_of([1, 2], tokens=20)
        engine.submit(good)
        engine.submit(bad)
        with pytest.raises(ApiError, match="ValueError: broken") as caught:
            result(bad)
        assert caught.value.status == 500
        assert result(good)[1] == [LENGTH]


def test_a_model_that_fails_fails_its_texts_only(monkeypatch: pytest.MonkeyPatch) -> None:
    model = chat_model().model
    whole, calls = type(model).hidden, []

    def hidden(self: Any, ids: Any, *rest: Any, **named: Any) -> Any:
        calls.append(ids)
        if 13 in ids:
            raise MemoryError
        return whole(self, ids, *rest, **named)

    monkeypatch.setattr(type(model), "hidden", hidden)
    with running() as engine:
        for prompt in ([13, 1, 2], [1, 13]):  # in its prompt, and in the step of all
            engine.submit(job := job_of(prompt))
            with pytest.raises(ApiError, match="not enough memory") as caught:
                result(job)
            assert caught.value.status == 503
        engine.submit(job := job_of([1, 2]))
        assert result(job)[1] == [LENGTH]


def test_logits_that_are_not_numbers_are_told() -> None:
    class Nan:
        def __init__(self, model: Any) -> None:
            self.__dict__.update(config=model.config, model=model)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.model, name)

        def head(self, x: Any) -> Any:
            return self.model.head(x) * float("nan")

    with running(Nan(chat_model().model)) as engine:
        engine.submit(job := job_of([1, 2]))
        with pytest.raises(ApiError, match="NaN or infinity"):
            result(job)


def test_the_end_is_told_to_all() -> None:
    engine = Engine(chat_model().model, ServingSettings(1))
    jobs = [job_of([1], tokens=120), job_of([2])]
    for job in jobs:
        engine.submit(job)
    assert engine._admit()
    engine._continue_all()
    engine.end()
    engine.run()
    for job in jobs:
        with pytest.raises(ApiError, match="the server is ending") as caught:
            result(job)
        assert caught.value.status == 503
    with pytest.raises(ApiError, match="the server is ending"):
        engine.submit(job_of([1]))
