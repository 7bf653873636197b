"""The baseline of classifiers: what words decide, and that order does not matter."""

import numpy as np
import pytest

from tinygrad_llm import Generator
from tinygrad_llm.data import SENTIMENTS, LabelledText, sentiment_texts
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune import BagOfWords
from tinygrad_llm.finetune.bag_of_words import distinct_words
from tinygrad_llm.ops import cross_entropy
from tinygrad_llm.tensor import Tensor


def test_counts_each_word_once_and_ignores_case_and_order() -> None:
    assert distinct_words("So good, SO good!") == ["so", "good", ",", "!"]
    bag = BagOfWords.train(sentiment_texts(200, Generator(0)), SENTIMENTS)
    text = "The plot is dull, but the acting is superb"
    losses = [bag.evaluate([LabelledText(one, "positive")]).loss for one in (text, " ".join(text.split()[::-1]))]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_learns_plain_reviews_and_not_those_that_order_decides() -> None:
    bag = BagOfWords.train(sentiment_texts(600, Generator(0)), SENTIMENTS)
    accuracy = {
        kind: bag.evaluate(sentiment_texts(300, Generator(1), [kind])).accuracy for kind in ("plain", "contrast")
    }
    assert accuracy["plain"] > 0.98 and 0.4 < accuracy["contrast"] < 0.6


def test_the_step_is_that_of_the_dense_matrix() -> None:
    texts = [LabelledText(f"a{n % 3} b{n % 2} c", str(n % 3)) for n in range(12)]
    bag = BagOfWords.train(texts, ["0", "1", "2"], steps=1)
    matrix = np.array([[word in distinct_words(text.text) for word in bag.column] for text in texts], np.float32)
    weight = Tensor(np.zeros((len(bag.column), 3), np.float32), requires_grad=True)
    cross_entropy(Tensor(matrix) @ weight, np.arange(12) % 3).backward()
    assert weight.grad is not None and bag.weight.grad is not None
    np.testing.assert_allclose(bag.weight.grad, weight.grad, atol=1e-6)


def test_rare_words_unknown_words_and_texts_without_any() -> None:
    bag = BagOfWords.train([LabelledText("yes yes once", "a"), LabelledText("yes no", "b")] * 2, ["a", "b"])
    assert list(bag.column) == ["no", "once", "yes"]
    assert BagOfWords.train([LabelledText("x", "a"), LabelledText("y", "b")], ["a", "b"]).column == {}
    assert bag.evaluate([LabelledText("never seen", "a"), LabelledText("no", "b")]).count == 2
    with pytest.raises(DataError, match="at least one text"):
        BagOfWords.train([], ["a", "b"])
