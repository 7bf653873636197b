"""Multiple choice: which choice is the answer by each metric."""

import pytest
from tiny_base import tiny_model

from tinygrad_llm.errors import DataError
from tinygrad_llm.evaluation.choices import ScoredChoices, choice_report, evaluate_choices
from tinygrad_llm.evaluation.prompts import Prompts
from tinygrad_llm.evaluation.scoring import Score
from tinygrad_llm.evaluation.task_files import Question


def test_each_metric_divides_by_its_own_size() -> None:
    question = Question("q", ("ab", "éééé", "abcdefgh", "x"), 1)
    scores = [Score(-4.0, 1, False), Score(-7.0, 7, False), Score(-10.0, 2, False), Score(-3.9, 1, False)]
    sample = ScoredChoices(question, "p", scores, False)
    assert sample.predictions == {"acc": 3, "acc_norm": 2, "acc_bytes": 1, "acc_tokens": 1}
    assert sample.to_dict()["prediction"] == 3 and not sample.to_dict()["correct"]
    other = ScoredChoices(Question("q", ("a", "b"), 0), "p", [Score(-1, 1, True), Score(-2, 1, False)], True)
    report = choice_report([sample, other, ScoredChoices(question, "p", None, True)])
    assert (report.count, report.notes) == (2, {"shots": 0, "chance": 0.375, "cut": 1, "skipped": 1})
    assert report.metrics["acc"][:2] == (0.5, 0.5) and report.metrics["acc_bytes"][:2] == (1.0, 0.0)


def test_long_prompts_are_cut_and_long_choices_skipped() -> None:
    model, tokenizer = tiny_model()
    questions = [Question("q" * 200, ("a", "b"), 0), Question("q", ("a" * 200, "b"), 0), Question("q", ("a", "b"), 0)]
    samples: list[ScoredChoices] = []
    report = evaluate_choices(model, Prompts(tokenizer, 256), questions, questions[2:], log=samples.append)
    assert (report.count, report.notes["cut"], report.notes["skipped"]) == (2, 1, 1)
    assert [sample.question for sample in samples] == questions and samples[1].to_dict()["log_likelihoods"] is None
    with pytest.raises(DataError, match="got 1 questions, none of which does"):
        evaluate_choices(model, Prompts(tokenizer, 256), questions[1:2])
