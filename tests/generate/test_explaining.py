"""Decoding explained: the tokens of `generate`, their probabilities, and what each setting leaves."""

import math
from typing import Any

import numpy as np
import pytest
from random_gpt import random_gpt

from tinygrad_llm.generate import Sampling, generate
from tinygrad_llm.generate.explaining import explain
from tinygrad_llm.ops import softmax
from tinygrad_llm.random import Generator

PROMPT = np.array([1, 2, 3])


@pytest.mark.parametrize(
    "settings",
    [{}, {"temperature": 1.0}, {"temperature": 0.7, "top_k": 4, "top_p": 0.9, "min_p": 0.05}],
)
def test_the_tokens_are_those_of_generate(settings: dict[str, Any]) -> None:
    model, sampling = random_gpt(context_length=16), Sampling(**settings)
    choices = list(explain(model, PROMPT, 8, sampling, generator=Generator(3)))
    text = generate(model, PROMPT, 8, sampling, generator=Generator(3), look_ahead=False)
    assert [choice.token for choice in choices] == text[3:].tolist()
    for made, choice in enumerate(choices):
        own = softmax(model(text[None, : 3 + made])).data[0, -1]
        assert choice.probability == pytest.approx(own[choice.token], rel=1e-4)
        assert choice.surprise == pytest.approx(-math.log(own[choice.token]), rel=1e-3)
        assert choice.rank == 1 + int((own > own[choice.token]).sum())
        assert [one for one, _, _ in choice.candidates] == np.argsort(-own, kind="stable")[:5].tolist()


def test_what_each_setting_leaves() -> None:
    model = random_gpt(context_length=16)
    sampling = Sampling(temperature=0.5, top_k=6, top_p=0.8, min_p=0.1)
    for choice in explain(model, PROMPT, 5, sampling, generator=Generator(0)):
        left = choice.left
        assert list(left) == ["top_k", "top_p", "min_p"] and 6 == left["top_k"] >= left["top_p"] >= left["min_p"] >= 1
        assert choice.spread[1] < choice.spread[0]  # a temperature below 1 sharpens
        assert choice.chance > 0
    (greedy, *_) = explain(model, PROMPT, 1, Sampling())
    assert greedy.left == {"greedy": 1} and greedy.chance == 1 and greedy.rank == 1


def test_it_ends_with_the_end_of_text() -> None:
    model = random_gpt(context_length=16)
    (first,) = explain(model, PROMPT, 1, Sampling())
    assert [choice.token for choice in explain(model, PROMPT, 9, Sampling(), eos_id=first.token)] == [first.token]
