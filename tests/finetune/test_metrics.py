"""Confusion, precision, recall and F1; agreement of words; BLEU."""

import json

import numpy as np
import pytest

from tinygrad_llm import Generator
from tinygrad_llm.errors import IdRangeError, ShapeError
from tinygrad_llm.finetune.metrics import ClassificationReport, bleu, confusion_matrix, exact_match, token_f1


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


def test_bleu_of_the_papers_example_and_of_the_extremes() -> None:
    # Papineni et al. 2002, section 2.1: "the" seven times has the clipped precision 2/7
    assert bleu(["the the the the the the the"], ["the cat is on the mat"], longest=1) == pytest.approx(2 / 7)
    assert bleu(["Es ist gut."], ["Es ist gut."]) == 1
    assert bleu(["a b c d e"], ["f g h i j"]) == 0 == bleu([""], ["a b c d e"]) == bleu([], [])
    assert bleu(["a b c d"], ["a b c d e f g h"]) == pytest.approx(np.exp(1 - 8 / 4))  # too short
    with pytest.raises(ShapeError, match="1 texts, 0 references"):
        bleu(["a"], [])


def test_bleu_agrees_with_sacrebleu() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    text = "the dog, a cat. don't twenty-one 3.5 1,000 7-8 \"so\" (x) a_b \\ ^ ~ über 'said' ... a/b 5. ,5 ü."
    words = text.split()
    draw = Generator(0)
    for _ in range(50):
        references = [" ".join(words[i] for i in draw.randint(0, len(words), (12,))) for _ in range(4)]
        texts = [
            " ".join(word if draw.rand() < 0.8 else words[int(draw.randint(0, len(words)))] for word in line.split())
            for line in references
        ]
        theirs = sacrebleu.corpus_bleu(texts, [references], smooth_method="none").score
        assert 100 * bleu(texts, references) == pytest.approx(theirs, abs=1e-9)
