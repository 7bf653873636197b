"""Penalties, biases and log-probabilities, against their formulas."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.errors import AnomalyError
from tinygrad_llm.generate import Sampling
from tinygrad_llm.generate.sampling import log_probabilities
from tinygrad_llm.serve.token_choice import Choosing, Token, most_likely

LOGITS = np.array([1.0, 3.0, 2.0, 3.0], np.float32)


def test_penalties_count_the_answer() -> None:
    choosing = Choosing(Sampling(), presence_penalty=0.5, frequency_penalty=0.25, bias={0: 100.0, 1: -1.0})
    np.testing.assert_allclose(choosing.changed(LOGITS, [1, 1, 2]), [101, 3 - 0.5 - 0.5 - 1, 2 - 0.5 - 0.25, 3])
    np.testing.assert_array_equal(LOGITS, [1, 3, 2, 3])
    assert Choosing(Sampling(), presence_penalty=1).changed(LOGITS, []) is LOGITS


def test_what_is_reported_is_the_models_own() -> None:
    expected = np.log(np.exp(LOGITS) / np.exp(LOGITS).sum())
    np.testing.assert_allclose(log_probabilities(LOGITS), expected, rtol=1e-6)
    token = Choosing(Sampling(temperature=0.1), top=3).reported(0, LOGITS)
    assert token.log_prob == pytest.approx(expected[0])
    assert [one for one, _ in token.top] == [1, 3, 2]
    assert Choosing(Sampling()).reported(2, LOGITS) == Token(2)
    assert Choosing(Sampling(), top=0).reported(2, LOGITS).top == ()


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_no_log_probability_is_reported_that_is_no_number(broken: float) -> None:
    logits = LOGITS.copy()
    logits[2] = broken
    with np.errstate(all="ignore"), pytest.raises(AnomalyError, match="NaN or infinity"):
        Choosing(Sampling(), top=1).reported(0, logits)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=12), st.integers(0, 15))
def test_the_most_likely_tokens_ties_to_the_smaller_id(values: list[int], count: int) -> None:
    expected = sorted(enumerate(map(float, values)), key=lambda pair: (-pair[1], pair[0]))[:count]
    assert list(most_likely(np.array(values, float), count)) == expected
