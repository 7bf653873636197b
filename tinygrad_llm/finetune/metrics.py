"""Metrics: confusion matrix, precision, recall and F1 of a classifier; exact match, F1 and BLEU of texts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tinygrad_llm.checks import expect_ids
from tinygrad_llm.errors import ShapeError


def confusion_matrix(classes: ArrayLike, predictions: ArrayLike, num_classes: int) -> NDArray[np.int64]:
    """The number of texts of each true class (row) with each predicted class (column).

    Shapes: classes (N,), predictions (N,) -> (num_classes, num_classes)
    Raises: ShapeError if the two differ in shape; DTypeError or IdRangeError for values that are not class indices

    >>> confusion_matrix([0, 0, 1, 1], [0, 1, 1, 1], num_classes=2)
    array([[1, 1],
           [0, 2]])
    """
    true = expect_ids("confusion_matrix", classes, num_classes)
    predicted = expect_ids("confusion_matrix", predictions, num_classes)
    if true.ndim != 1 or true.shape != predicted.shape:
        raise ShapeError(
            f"confusion_matrix: classes and predictions must both be (N,); got {true.shape} and {predicted.shape}"
        )
    counts = np.zeros((num_classes, num_classes), np.int64)
    np.add.at(counts, (true, predicted), 1)
    return counts


@dataclass(frozen=True)
class ClassificationReport:
    """The metrics of a classifier on one split, from its `confusion_matrix` (num_classes, num_classes).

    Units: loss in nats per text
    """

    loss: float
    confusion: NDArray[np.int64]

    @property
    def count(self) -> int:
        """The number of texts."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The share of texts whose predicted class is the true one."""
        return float(np.trace(self.confusion) / max(self.count, 1))

    @property
    def precision(self) -> NDArray[np.float64]:
        """Per class, the share of the texts predicted as it that are of it; 0 if there are none.

        Shapes: -> (num_classes,)
        """
        return _share(np.diag(self.confusion), self.confusion.sum(axis=0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Per class, the share of its texts that were predicted as it; 0 if there are none.

        Shapes: -> (num_classes,)
        """
        return _share(np.diag(self.confusion), self.confusion.sum(axis=1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Per class, 2 · precision · recall / (precision + recall); 0 if both are 0.

        Shapes: -> (num_classes,)
        """
        predicted_plus_true = self.confusion.sum(axis=0) + self.confusion.sum(axis=1)
        return _share(2 * np.diag(self.confusion), predicted_plus_true)

    def to_dict(self) -> dict[str, Any]:
        """The metrics as numbers and lists, for JSON."""
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
    """part / whole; 0 where both are 0."""
    return part / np.maximum(whole, 1)


def exact_match(response: str, answer: str) -> bool:
    """Whether response and answer are equal, apart from white space at their ends."""
    return response.strip() == answer.strip()


def token_f1(response: str, answer: str) -> float:
    """Token F1 of SQuAD (Rajpurkar et al. 2016, arXiv:1606.05250): the F1 of the response's words for the answer's.

        precision = shared / words of the response,  recall = shared / words of the answer

    Words are runs of letters, digits and underscores, in lower case. A word that occurs several times in both texts is
    shared as often as in the text that has fewer of it. Unlike in SQuAD, articles count. If neither text has words,
    F1 is 1.

    >>> round(token_f1("The cat sat.", "the cat sat down"), 3)
    0.857
    """
    predicted, expected = _word_counts(response), _word_counts(answer)
    if not predicted or not expected:
        return float(predicted == expected)
    shared = (predicted & expected).total()
    return 2 * shared / (predicted.total() + expected.total())


def _word_counts(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def bleu(texts: Sequence[str], references: Sequence[str], longest: int = 4) -> float:
    """BLEU of translations (Papineni et al. 2002, aclanthology.org/P02-1040), one reference for each text; 0 to 1.

        BLEU = brevity · (p1 p2 p3 p4)^(1/4),  brevity = min(1, exp(1 - words of the references / words of the texts))

    pn is the share of the texts' n-grams, all texts counted together, that the reference has too; an n-gram counts at
    most as often as the reference has it. The words are those of mteval-v13a, as in sacrebleu. There is no smoothing:
    BLEU is 0 if no 4-gram is right.

    Raises: ShapeError unless there are as many texts as references

    >>> round(bleu(["the old dog sees the cat."], ["the old dog sees a cat."]), 3)
    0.489
    """
    if len(texts) != len(references):
        raise ShapeError(f"bleu: every text needs one reference; got {len(texts)} texts, {len(references)} references")
    right, total = [0] * longest, [0] * longest
    lengths = [0, 0]
    for text, reference in zip(texts, references, strict=True):
        words, expected = _bleu_words(text), _bleu_words(reference)
        lengths = [lengths[0] + len(words), lengths[1] + len(expected)]
        for n in range(longest):
            found, allowed = _ngrams(words, n + 1), _ngrams(expected, n + 1)
            right[n] += (found & allowed).total()
            total[n] += found.total()
    if not all(right):
        return 0.0
    precisions = sum(math.log(some / all_) for some, all_ in zip(right, total, strict=True)) / longest
    return math.exp(min(0.0, 1 - lengths[1] / lengths[0]) + precisions)


def _bleu_words(text: str) -> list[str]:
    """Words, with punctuation apart; but not ' or -, nor a comma or point between digits."""
    separate = r"""[!"#$%&()*+/:;<=>?@\[\\\]^_`{|}~]|(?<![0-9])[.,]|[.,](?![0-9])|(?<=[0-9])-"""
    return re.sub(separate, r" \g<0> ", text).split()


def _ngrams(words: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
