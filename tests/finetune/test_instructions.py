"""Answering instructions: training through the one loop, stopping at the end, and marking the answers."""

import json
from functools import partial

import numpy as np
import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.data import (
    DataLoader,
    InstructionDataset,
    collate_instructions,
    instruction_tasks,
    prompt_style,
)
from tinygrad_llm.errors import DataError, ShapeError
from tinygrad_llm.finetune import Answer, InstructionReport, constant_answers, evaluate_instructions, respond
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.random import Generator
from tinygrad_llm.text import BPETokenizer, CharTokenizer
from tinygrad_llm.train import Trainer, TrainingSettings

FACT = {"instruction": "Say it.", "input": "", "output": "yes", "kind": "fact"}
LETTERS = "Say it. Greet. <|user|>\n<|assistant|>:\n"
OPEN = {"instruction": "Greet.", "input": "", "output": "hello to you"}


def test_scores_of_facts_and_of_open_answers() -> None:
    assert Answer(FACT, " yes").score == 1
    assert Answer(FACT, "yes yes").score == 0
    assert Answer(OPEN, "Hello you!").score == pytest.approx(2 * 2 / 5)
    report = InstructionReport([Answer(FACT, "yes"), Answer(FACT, "no"), Answer(OPEN, "hello to you")])
    assert report.score == pytest.approx(2 / 3)
    assert report.figures() == {
        "count": 3,
        "score": report.score,
        "exact_match": report.score,
        "token_f1": report.score,
    }
    assert {kind: part.score for kind, part in report.by_kind().items()} == {"fact": 0.5, "other": 1.0}
    written = json.loads(json.dumps(report.to_dict()))
    assert written["kinds"]["fact"]["count"] == 2
    assert written["answers"][1] == {**FACT, "response": "no", "score": 0.0}


def test_the_constant_answer_is_the_commonest_of_the_kind_in_training() -> None:
    training = [{**FACT, "output": output} for output in ("no", "yes", "yes")]
    report = constant_answers([*training, OPEN], [FACT, {**FACT, "output": "no"}, OPEN, {**FACT, "kind": "unseen"}])
    assert [answer.response for answer in report.answers] == ["yes", "yes", "hello to you", ""]
    assert report.figures()["exact_match"] == 0.5
    with pytest.raises(DataError, match="at least one record"):
        constant_answers(training, [])


def small_gpt(tokenizer: CharTokenizer, context_length: int, width: int = 16, num_layers: int = 1) -> GPT:
    manual_seed(1)
    config = GPTConfig(tokenizer.vocab_size, context_length, width, 4, num_layers, dropout=0.0, tie_weights=True)
    return GPT(config, init="gpt2")


def test_an_answer_is_what_follows_up_to_the_end() -> None:
    tokenizer = CharTokenizer.train(LETTERS)
    questions = [prompt_style("phi3").question(record) for record in (FACT, OPEN)]
    model = small_gpt(tokenizer, context_length=len(questions[0]) + 8)
    answers = respond(model, tokenizer, [FACT, OPEN], "phi3", max_new_tokens=5, end_id=None)
    for question, answer in zip(questions, answers, strict=True):
        ids = tokenizer.encode_ordinary(question)
        for _ in range(5):
            ids.append(int(model(np.array(ids)).data[-1].argmax()))
        assert answer == tokenizer.decode(ids[-5:]).strip()
    first = tokenizer.encode_ordinary(questions[0])
    end = int(model(np.array(first)).data[-1].argmax())
    assert respond(model, tokenizer, [FACT], "phi3", end_id=end) == [""]
    (endless,) = respond(model, tokenizer, [FACT], "phi3", 1000, end_id=None, temperature=2.0, generator=Generator(0))
    assert len(endless) <= model.config.context_length


def test_evaluation_answers_each_record_once() -> None:
    tokenizer = CharTokenizer.train(LETTERS)
    model = small_gpt(tokenizer, context_length=60)
    records, done = [FACT, OPEN, FACT], []
    report = evaluate_instructions(model, tokenizer, records, "phi3", 3, None, 2, lambda *counts: done.append(counts))
    assert [answer.record for answer in report.answers] == records
    assert [answer.response for answer in report.answers] == respond(model, tokenizer, records, "phi3", 3, None)
    assert done == [(2, 3), (3, 3)]


def test_questions_that_cannot_be_answered() -> None:
    tokenizer = CharTokenizer.train(LETTERS)
    model = small_gpt(tokenizer, context_length=len(prompt_style("phi3").question(FACT)))
    with pytest.raises(ShapeError, match="question must be shorter than the context"):
        respond(model, tokenizer, [FACT], "phi3")
    with pytest.raises(DataError, match="at least one record"):
        evaluate_instructions(model, tokenizer, [])


@pytest.mark.slow
def test_a_small_gpt_follows_instructions_it_never_saw_in_that_wording() -> None:
    kinds = ["first_letter", "last_letter", "first_word", "even_or_odd"]
    records = instruction_tasks(12_000, Generator(0), kinds)
    held_out = instruction_tasks(60, Generator(1), kinds, held_out_wordings=True, held_out_contents=True)
    style = prompt_style("phi3")
    text = "\n".join(map(style.answered, records[:3000]))
    tokenizer = BPETokenizer.train(text, 400, special_tokens=["<|endoftext|>"])
    end_id = tokenizer.end_of_text
    model = small_gpt(tokenizer, context_length=80, width=96, num_layers=3)
    evaluation = partial(evaluate_instructions, model, tokenizer, held_out, "phi3", 10, end_id)
    before = evaluation()
    loader = DataLoader(
        InstructionDataset(records, tokenizer, "phi3"),
        16,
        shuffle=True,
        generator=Generator(2),
        collate_fn=partial(collate_instructions, pad_id=end_id),
    )
    Trainer(model, loader, TrainingSettings(1200, learning_rate=4e-3, min_learning_rate=2e-4, warmup_steps=50)).train()
    after = evaluation()
    assert before.score < 0.1
    assert after.score > 0.6
