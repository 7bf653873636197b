"""Generated answers: where they end, and which of several counts."""

import numpy as np
import pytest
from tiny_base import tiny_model

from tinygrad_llm import Generator
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.evaluation.answers import AnsweredQuestion, answer_report, evaluate_answers, generate_until
from tinygrad_llm.evaluation.prompts import Prompts
from tinygrad_llm.evaluation.task_files import Question
from tinygrad_llm.evaluation.task_settings import TaskSettings
from tinygrad_llm.generate import Sampling, generate

ASKED = [Question("a?", answers=("x",)), Question("b", answers=("y", "z")), Question("c" * 200, answers=("x",))]


def test_an_answer_ends_before_the_first_stop_string() -> None:
    model, tokenizer = tiny_model()
    prompts = [tokenizer.encode_ordinary(text) for text in ("one", "and two", "x" * 300)]
    whole = [tokenizer.decode(generate(model, np.array(prompt[-108:]), 20)[len(prompt[-108:]) :]) for prompt in prompts]
    assert generate_until(model, tokenizer, prompts, 20) == whole
    stops = [whole[0][3:5], whole[1][1]]
    expected = [min((text.split(stop)[0] for stop in stops), key=len) for text in whole]
    assert generate_until(model, tokenizer, prompts, 20, stops) == expected != whole
    end = generate(model, np.array(prompts[0]), 20)[len(prompts[0]) + 2]
    (ended,) = generate_until(model, tokenizer, prompts[:1], 20, end_ids=[end])
    assert whole[0].startswith(ended) and len(ended) < len(whole[0])
    for length in (0, 128):
        with pytest.raises(ConfigError, match="at least 1 and below the context, 128 tokens"):
            generate_until(model, tokenizer, prompts, length)


def test_copies_are_several_samples_of_each_prompt() -> None:
    model, tokenizer = tiny_model()
    prompts = [tokenizer.encode_ordinary(text) for text in ("one", "and two")]
    sampling = Sampling(temperature=1.0)
    several = generate_until(model, tokenizer, prompts, 5, (), (), sampling, Generator(1), copies=3)
    assert len(several) == 6 and len(set(several)) > 3
    assert several == generate_until(model, tokenizer, prompts, 5, (), (), sampling, Generator(1), copies=3)


def test_the_report_of_votes(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = TaskSettings(max_new_tokens=3, votes=4, stop=("\n",))
    model, tokenizer = tiny_model()
    samples: list[AnsweredQuestion] = []
    prompts = Prompts(tokenizer, 256)
    report = evaluate_answers(model, prompts, ASKED, ASKED[:1], settings, log=samples.append)
    assert list(report.metrics) == ["exact_match", "pass@1", "pass@4"] and report.notes == {"shots": 1, "votes": 4}
    assert [len(sample.responses) for sample in samples] == [4, 4, 4]
    again = evaluate_answers(model, prompts, ASKED, ASKED[:1], settings)
    assert again == report
    monkeypatch.setattr("tinygrad_llm.evaluation.answers.ANSWERS_TOGETHER", 3)
    evaluate_answers(model, prompts, ASKED[:1], (), settings, log=samples.append)
    assert len(samples[-1].responses) == 4
    sample = AnsweredQuestion(ASKED[1], "p", ["y", "q", "q"], ["y", "q", "q"], [True, False, False])
    assert (sample.prediction, sample.correct) == ("q", False)
    figures = answer_report([sample]).to_dict()
    assert (figures["exact_match"], figures["pass@3"]) == (0, 1) and figures["pass@1"] == pytest.approx(1 / 3)
    with pytest.raises(DataError, match="at least one question"):
        evaluate_answers(model, prompts, [])
