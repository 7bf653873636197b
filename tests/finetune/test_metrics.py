"""Confusion, precision, recall and F1; agreement of words."""

import json

import numpy as np
import pytest

from tinygrad_llm.errors import IdRangeError, ShapeError
from tinygrad_llm.finetune.metrics import ClassificationReport, confusion_matrix, exact_match, token_f1


def test_the_figures_of_a_report() -> None:
    confusion = confusion_matrix([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 0, 1], 4)
    np.testing.assert_array_equal(confusion, [[2, 1, 0, 0], [1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]])
    report = ClassificationReport(0.5, confusion)
    assert (report.count, report.accuracy) == (6, 0.5)
    np.testing.assert_allclose(report.precision, [2 / 3, 1 / 3, 0, 0])
    np.testing.assert_allclose(report.recall, [2 / 3, 1 / 2, 0, 0])
    np.testing.assert_allclose(report.f1, [2 / 3, 2 / 5, 0, 0])
    assert json.loads(json.dumps(report.to_dict()))["accuracy"] == 0.5


def test_invalid_predictions_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"classes and predictions must both be \(N,\)"):
        confusion_matrix([0, 1], [0], 2)
    with pytest.raises(IdRangeError):
        confusion_matrix([0, 1], [0, 2], 2)


def test_answers() -> None:
    assert exact_match(" 42\n", "42")
    assert not exact_match("42.", "42")
    assert token_f1("The cat is here", "the cat") == pytest.approx(2 * 2 / 6)
    assert token_f1("a a a", "a b") == pytest.approx(2 * 1 / 5)
    assert token_f1("dog", "cat") == token_f1("", "cat") == token_f1("cat", "...") == 0
    assert token_f1("!", "?") == 1
