"""From logits to a token: each filter by hand, ties, batches, and the book's samples."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from tiny_gpt import tiny

from tinygrad_llm import Generator
from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.generate import (
    PromptLookup,
    Sampling,
    apply_temperature,
    generate,
    generate_speculatively,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    penalize_repetition,
    stream,
)
from tinygrad_llm.generate.sampling import softmax
from tinygrad_llm.text import CharTokenizer

BOOK = np.array([[4.51, 0.89, -1.90, 6.75, 1.63, -1.62, -1.89, 6.28, 1.79]], np.float32)
NO_TEXT = [np.array([], np.int64)]
logit_batches = npst.arrays(
    np.float64, npst.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(-6, 6).map(lambda n: n / 2)
)


def kept(logits: np.ndarray) -> list[int]:
    return np.isfinite(logits).sum(axis=-1).tolist()


# -- the book's figures


def test_a_thousand_draws_of_the_book() -> None:
    probabilities = Sampling(temperature=1.0).probabilities(BOOK, NO_TEXT)
    generator = Generator(123)
    draws = [int(generator.multinomial(probabilities)[0, 0]) for _ in range(1000)]
    assert np.bincount(draws, minlength=9).tolist() == [73, 0, 0, 582, 2, 0, 0, 343, 0]


def test_choose_draws_as_the_book_does() -> None:
    generator, sampling = Generator(123), Sampling(temperature=1.0)
    draws = [int(sampling.choose(BOOK, NO_TEXT, generator)[0]) for _ in range(1000)]
    assert np.bincount(draws, minlength=9).tolist() == [73, 0, 0, 582, 2, 0, 0, 343, 0]


def test_top_three_of_the_book() -> None:
    probabilities = Sampling(temperature=1.0, top_k=3).probabilities(BOOK, NO_TEXT)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities[0], [0.0615, 0, 0, 0.5775, 0, 0, 0, 0.3610, 0], atol=5e-5)


# -- each filter alone


def test_temperature_sharpens_and_flattens() -> None:
    np.testing.assert_allclose(softmax(apply_temperature(BOOK, 1.0)), softmax(BOOK), rtol=1e-6)
    log_p = np.log(softmax(apply_temperature(BOOK.astype(float), 5.0)))
    np.testing.assert_allclose(np.diff(log_p), np.diff(BOOK.astype(float)) / 5, rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("temperature", [1e-3, 1e-30, 1e-300, 5e-324])
def test_the_smallest_temperatures_are_greedy_without_a_warning(temperature: float, dtype: type) -> None:
    chances = Sampling(temperature=temperature).probabilities(BOOK.astype(dtype), NO_TEXT)
    np.testing.assert_allclose(chances, np.eye(9)[[3]], rtol=0, atol=1e-200)


def test_a_huge_temperature_is_uniform() -> None:
    chances = Sampling(temperature=1e30).probabilities(BOOK, NO_TEXT)
    np.testing.assert_allclose(chances, 1 / 9, rtol=1e-6)


@given(logit_batches, st.integers(1, 8))
def test_top_k_keeps_exactly_the_k_largest_and_the_first_of_equals(logits: np.ndarray, k: int) -> None:
    expected = np.full_like(logits, -np.inf)
    for row, source in zip(expected, logits, strict=True):
        for place in sorted(range(len(source)), key=lambda i: (-source[i], i))[:k]:
            row[place] = source[place]
    np.testing.assert_array_equal(keep_top_k(logits, k), expected)


def test_top_k_of_a_batch_looks_at_each_row_alone() -> None:
    logits = np.array([[1.0, 2.0, 3.0], [30.0, 20.0, 10.0]])
    np.testing.assert_array_equal(keep_top_k(logits, 1), [[-np.inf, -np.inf, 3], [30, -np.inf, -np.inf]])


@given(logit_batches, st.integers(1, 99).map(lambda n: n / 100))
def test_top_p_keeps_the_smallest_set_that_reaches_p(logits: np.ndarray, p: float) -> None:
    result = keep_top_p(logits, p)
    for row, source, chances in zip(result, logits, softmax(logits), strict=True):
        order = sorted(range(len(source)), key=lambda i: (-source[i], i))
        size = next(n for n in range(1, len(order) + 1) if n == len(order) or sum(chances[order[:n]]) >= p - 1e-12)
        slack = next(n for n in range(1, len(order) + 1) if n == len(order) or sum(chances[order[:n]]) >= p + 1e-12)
        chosen = np.flatnonzero(np.isfinite(row)).tolist()
        assert chosen in (sorted(order[:size]), sorted(order[:slack]))
        np.testing.assert_array_equal(row[chosen], source[chosen])


@pytest.mark.parametrize("p", [0.05, 0.5, 0.9, 0.99, 0.9999])
@pytest.mark.parametrize("spread", [0.01, 1.0, 4.0])
def test_top_p_of_a_large_vocabulary_sorts_no_more_than_it_needs(spread: float, p: float) -> None:
    logits = np.round(Generator(3).randn(3, 3000, dtype=np.float64) * spread, 2)  # with many ties
    logits[1] /= 3  # rows whose nuclei differ in size
    expected = np.full_like(logits, -np.inf)
    for row, source, chances in zip(expected, logits, softmax(logits), strict=True):
        order = np.argsort(-source, kind="stable")
        size = int(np.count_nonzero(np.cumsum(chances[order]) - chances[order] < p))
        row[order[:size]] = source[order[:size]]
    np.testing.assert_array_equal(keep_top_p(logits, p), expected)


def test_top_p_by_hand() -> None:
    logits = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    assert kept(keep_top_p(logits, 0.45)) == [1, 1]
    assert kept(keep_top_p(logits, 0.75)) == [2, 1]
    assert kept(keep_top_p(logits, 0.85)) == [3, 2]
    assert np.isfinite(keep_top_p(logits, 0.85)[1]).tolist() == [True, False, True]  # the first of two equals
    assert kept(keep_top_p(logits, 1e-9)) == [1, 1]
    assert kept(keep_top_p(np.zeros((1, 4)), 0.5)) == [2]  # two of four equals reach one half, no third is needed
    assert kept(keep_top_p(np.array([[0.0, 0.0, -50.0]]), 1)) == [3]  # 1 keeps the rarest too


def test_min_p_by_hand() -> None:
    logits = np.log([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    assert kept(keep_min_p(logits, 0.5)) == [2, 1]
    assert kept(keep_min_p(logits, 0.1)) == [3, 3]
    assert kept(keep_min_p(logits, 1.0)) == [1, 1]
    assert kept(keep_min_p(logits, 0)) == [3, 3]


def test_repetition_penalty_by_hand() -> None:
    logits = np.array([[2.0, -2.0, 4.0, 1.0], [2.0, -2.0, 4.0, 1.0]])
    result = penalize_repetition(logits, [np.array([0, 1, 1, 0]), np.array([2])], 2.0)
    np.testing.assert_array_equal(result, [[1, -4, 4, 1], [2, -2, 2, 1]])
    assert logits[0, 0] == 2  # the caller's stay


def test_the_repetition_penalty_applies_to_greedy_decoding() -> None:
    sampling = Sampling(repetition_penalty=3.0)
    assert sampling.choose(np.array([[2.0, 1.5]]), [np.array([0])], Generator(0)).tolist() == [1]


def test_filters_apply_one_after_the_other() -> None:
    logits = np.log([[0.4, 0.3, 0.2, 0.1]])
    chances = Sampling(temperature=1.0, top_k=3, top_p=0.7).probabilities(logits, NO_TEXT)
    np.testing.assert_allclose(chances, [[4 / 7, 3 / 7, 0, 0]])  # of the 0.9 left by top-k, 0.7 are 0.63
    hot = Sampling(temperature=1000.0, min_p=0.5).probabilities(logits, NO_TEXT)
    assert kept(np.log(hot)) == [4] if (hot > 0).all() else False  # min-p looks at the heated chances
    np.testing.assert_allclose(hot, 0.25, atol=1e-3)


# -- choosing


def test_greedy_takes_the_first_of_ties_and_no_random_number() -> None:
    generator = Generator(3)
    assert Sampling().choose(np.array([[1.0, 5.0, 5.0], [7.0, 0.0, 7.0]]), NO_TEXT * 2, generator).tolist() == [1, 0]
    np.testing.assert_array_equal(generator.rand(2), Generator(3).rand(2))


def test_top_k_of_one_is_greedy_for_ties_too() -> None:
    logits = np.zeros((2, 5))
    for seed in range(5):
        assert Sampling(1.0, top_k=1).choose(logits, NO_TEXT * 2, Generator(seed)).tolist() == [0, 0]


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_nan_and_infinite_logits_are_refused(bad: float, temperature: float) -> None:
    logits = np.array([[1.0, 2.0], [1.0, bad]])
    with pytest.raises(AnomalyError, match="look at the model's weights"):
        Sampling(temperature).probabilities(logits, NO_TEXT * 2)
    with pytest.raises(AnomalyError):
        Sampling(temperature).probabilities(np.full((1, 3), -np.inf), NO_TEXT)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("temperature", [-0.1, math.nan, math.inf, "hot", None, True]),
        ("top_k", [0, -1, 2.0, math.nan, True, "3"]),
        ("top_p", [0, -0.5, 1.01, math.nan, "most", True]),
        ("min_p", [-0.1, 1.5, math.nan, "few"]),
        ("repetition_penalty", [0, -1.2, math.nan, math.inf]),
    ],
)
def test_each_bad_setting_is_named(setting: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=f"Sampling: {setting} must be .*; got "):
            Sampling(**{setting: value})


def test_edges_that_are_allowed() -> None:
    Sampling(0, 1, 1.0, 0.0, 1.0)
    Sampling(np.float32(0.5), np.int64(3), np.float64(0.5), 1, 0.5)


# -- one object for every way of decoding


def test_keywords_build_the_object() -> None:
    model, prompt = tiny(), [1, 2, 3]
    keywords = {"temperature": 1.2, "top_k": 5, "repetition_penalty": 1.1}
    sampling = Sampling(**keywords)
    expected = generate(model, prompt, 9, sampling, generator=Generator(2)).tolist()
    assert generate(model, prompt, 9, generator=Generator(2), **keywords).tolist() == expected
    assert prompt + list(stream(model, prompt, 9, sampling, generator=Generator(2))) == expected
    one = generate_speculatively(model, prompt, 9, PromptLookup(), sampling, generator=Generator(2)).ids
    two = generate_speculatively(model, prompt, 9, PromptLookup(), generator=Generator(2), **keywords).ids
    assert one.tolist() == two.tolist()


def test_an_object_and_keywords_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="generate: give sampling or temperature, not both"):
        generate(tiny(), [1], 1, Sampling(), temperature=1.0)
    with pytest.raises(ConfigError, match="sampling must be a Sampling; got float: give a temperature by its name"):
        generate(tiny(), [1], 1, 0.7)
    with pytest.raises(TypeError, match="warmth"):
        generate(tiny(), [1], 1, warmth=1.0)


def test_sampling_is_a_dict_and_back() -> None:
    sampling = Sampling(temperature=0.8, top_p=0.9)
    assert Sampling.from_dict(sampling.to_dict()) == sampling


def test_ids_without_a_token_are_never_chosen() -> None:
    logits = np.array([[1.0, 2.0, 0.0, 9.0, 9.0]])
    limited = Sampling(temperature=1.0, repetition_penalty=2.0, vocab_size=3)
    probabilities = limited.probabilities(logits, [np.array([1])])
    np.testing.assert_allclose(probabilities[0, :3], np.exp([1, 1, 0]) / np.exp([1, 1, 0]).sum())
    assert (probabilities[0, 3:] == 0).all() and logits[0, 3] == 9
    assert Sampling(vocab_size=3).choose(logits, [np.array([1])], Generator(0)) == 1
    assert Sampling(vocab_size=9).choose(logits, [np.array([1])], Generator(0)) == 3
    tokenizer = CharTokenizer.train("abc")
    assert Sampling(top_k=2).limited_to(tokenizer) == Sampling(top_k=2, vocab_size=3)
    assert [Sampling(vocab_size=n).limited_to(tokenizer).vocab_size for n in (2, 9)] == [2, 3]
    with pytest.raises(ConfigError, match="vocab_size must be an integer of at least 1"):
        Sampling(vocab_size=0)
