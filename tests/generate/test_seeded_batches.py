"""Batches with random streams of their own."""

import pickle

import numpy as np

from tinygrad_llm.generate.seeded_batches import seeded_batches


def test_every_question_is_in_one_batch_in_order() -> None:
    batches = seeded_batches("abcdefg", 3, seed=0)
    assert [batch.questions for batch in batches] == ["abc", "def", "g"]
    assert seeded_batches([], 3, seed=0) == []


def test_streams_differ_and_do_not_depend_on_who_draws_from_them_or_when() -> None:
    first, second = seeded_batches("abcd", 2, seed=5)
    there = pickle.loads(pickle.dumps(second))  # in another process
    expected = there.generator().rand(8)
    first.generator().rand(100)
    np.testing.assert_array_equal(second.generator().rand(8), expected)
    others = [first, *seeded_batches("abcd", 2, seed=6)]
    assert not any(np.array_equal(batch.generator().rand(8), expected) for batch in others)
