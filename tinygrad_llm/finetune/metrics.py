"""The figures by which a fine-tuned model is judged: of classes, and of answers in words."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_llm.checks import expect_ids
from tinygrad_llm.errors import ShapeError


def confusion_matrix(classes: ArrayLike, predictions: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """How often a text of each class (row) was taken for each class (column).

    Shapes: classes (N,), predictions (N,) -> (num_classes, num_classes)
    Raises: ShapeError if the two differ in shape; DTypeError or IdRangeError for what is no class

    >>> confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], num_classes=2)
    array([[1, 1],
           [0, 2]])
    """
    true = expect_ids("confusion_matrix", classes, num_classes)
    predicted = expect_ids("confusion_matrix", predictions, num_classes)
    if true.ndim != 1 or true.shape != predicted.shape:
        raise ShapeError(f"confusion_matrix: needs one prediction per class (N,); got {predicted.shape}, {true.shape}")
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (true, predicted), 1)
    return counts


@dataclass(frozen=True)
class ClassificationReport:
    """A classifier on one split. `confusion` as in `confusion_matrix`; `loss` in nats per text."""

    loss: float
    confusion: NDArray[np.int64]

    @property
    def count(self) -> int:
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of texts given their own class."""
        return float(np.trace(self.confusion) / max(self.count, 1))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Of the texts given a class, the share that have it; 0 where none was given it. Shapes: (num_classes,)."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Of the texts of a class, the share that were given it; 0 where there are none. Shapes: (num_classes,)."""
        return _share(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """2 · precision · recall / (precision + recall), for each class. Shapes: (num_classes,)."""
        given_or_having = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        return _share(2 * np.diag(self.confusion), given_or_having)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        return {
            "count": self.count,
            "loss": self.loss,
            "accuracy": self.accuracy,
            "precision": self.precision.tolist(),
            "recall": self.recall.tolist(),
            "f1": self.f1.tolist(),
            "confusion": self.confusion.tolist(),
        }


def _share(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return part / np.maximum(whole, 1)


def exact_match(response: str, answer: str) -> bool:
    """Whether the response is the answer, white space at its ends aside."""
    return response.strip() == answer.strip()


def token_f1(response: str, answer: str) -> float:
    """How many words two texts share: F1 of the response's words against the answer's, as in SQuAD.

        precision = shared / words of the response,  recall = shared / words of the answer

    Words are runs of letters, digits and underscores, in lower case; a word counts as often as both texts have it
    (Rajpurkar et al. 2016, arXiv:1606.05250, but articles count here). Two texts without words agree.

    >>> round(token_f1("The cat sat.", "the cat sat down"), 3)
    0.857
    """
    ours, theirs = _words(response), _words(answer)
    if not ours or not theirs:
        return float(ours == theirs)
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total())


def _words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))
