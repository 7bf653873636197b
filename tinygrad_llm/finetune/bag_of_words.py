"""The plain baseline of a text classifier: logistic regression on the set of words of a text, whose order it ignores.

logits = bias + Σ weight[word], over the distinct words of the text
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.data import LabelledText
from tinygrad_llm.errors import DataError
from tinygrad_llm.finetune.metrics import ClassificationReport, confusion_matrix
from tinygrad_llm.nn import Parameter
from tinygrad_llm.ops import cross_entropy, softmax
from tinygrad_llm.optim import AdamW

FEWEST_TEXTS = 2  # a word in fewer training texts than this tells nothing about others


def distinct_words(text: str) -> list[str]:
    """The words and punctuation marks of a text, in lower case, each once.

    >>> distinct_words("Not good, not bad.")
    ['not', 'good', ',', 'bad', '.']
    """
    return list(dict.fromkeys(re.findall(r"\w+|[^\w\s]", text.lower())))


class BagOfWords:
    """A weight for each word and class; texts are classified by the sum over their distinct words.

    >>> texts = [LabelledText("a good film", "positive"), LabelledText("a bad film", "negative")] * 2
    >>> bag = BagOfWords.train(texts, ["negative", "positive"])
    >>> bag.evaluate([LabelledText("so good", "positive"), LabelledText("so bad", "negative")]).accuracy
    1.0
    """

    def __init__(self, words: Sequence[str], labels: Sequence[str]) -> None:
        self.labels = list(labels)
        self.column = {word: place for place, word in enumerate(words)}
        self.weight = Parameter(np.zeros((len(words), len(labels)), np.float32))
        self.bias = Parameter(np.zeros(len(labels), np.float32))

    @classmethod
    def train(
        cls, texts: Sequence[LabelledText], labels: Sequence[str], steps: int = 100, learning_rate: float = 0.05
    ) -> BagOfWords:
        """Minimise the cross-entropy by AdamW, all texts in each step; the words are those of two texts or more."""
        expect_count("BagOfWords.train", "steps", steps)
        if not texts:
            raise DataError("BagOfWords.train: at least one text is needed; got none")
        counts = Counter(word for text in texts for word in distinct_words(text.text))
        model = cls(sorted(word for word, count in counts.items() if count >= FEWEST_TEXTS), labels)
        rows, columns = model._entries(texts)
        classes = model._classes(texts)
        optimizer = AdamW([model.weight, model.bias], lr=learning_rate, weight_decay=0.1)
        for _ in range(steps):
            dlogits = softmax(model._logits(rows, columns, len(texts))).data
            dlogits[np.arange(len(texts)), classes] -= 1  # the gradient of the cross-entropy, times the texts
            dlogits /= len(texts)
            model.weight.grad = _sums(columns, dlogits[rows], len(model.column))
            model.bias.grad = dlogits.sum(axis=0)
            optimizer.step()
        return model

    def evaluate(self, texts: Sequence[LabelledText]) -> ClassificationReport:
        """Loss and metrics on labelled texts."""
        logits, classes = self._logits(*self._entries(texts), len(texts)), self._classes(texts)
        confusion = confusion_matrix(classes, logits.argmax(axis=1), len(self.labels))
        return ClassificationReport(cross_entropy(logits, classes).item(), confusion)

    def _entries(self, texts: Sequence[LabelledText]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The ones of the matrix (texts, words) that holds 1 where a text has a word: their rows and columns."""
        found = [[self.column[word] for word in distinct_words(text.text) if word in self.column] for text in texts]
        rows = np.repeat(np.arange(len(texts)), [len(columns) for columns in found])
        return rows, np.array([column for columns in found for column in columns], np.int64)

    def _classes(self, texts: Sequence[LabelledText]) -> NDArray[np.int64]:
        return np.array([self.labels.index(text.label) for text in texts], np.int64)

    def _logits(self, rows: Array, columns: Array, count: int) -> Array:
        return _sums(rows, self.weight.data[columns], count) + self.bias.data


def _sums(places: Array, values: Array, count: int) -> Array:
    """The sum of the rows of `values` at each place. Shapes: places (N,), values (N, C) -> (count, C)"""
    columns = [np.bincount(places, column, minlength=count) for column in values.T]
    return np.stack(columns, axis=1).astype(values.dtype)
