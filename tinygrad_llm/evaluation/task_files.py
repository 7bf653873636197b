"""Multiple-choice tasks: a file of questions, and prompts with some answered questions before (few-shot).

A task file is a JSON list or JSON Lines; each record has a "question", at least two "choices", and the "answer": a
choice's number, from 0, or its text.

    {"question": "What do bees make?", "choices": ["honey", "bread"], "answer": "honey"}
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_llm.data.files import read_json, read_jsonl
from tinygrad_llm.data.instructions import PromptForm
from tinygrad_llm.data.padding import Encoder, begin_ids
from tinygrad_llm.errors import DataError


class Question(NamedTuple):
    """A question, its choices, and the index of the right choice."""

    text: str
    choices: tuple[str, ...]
    answer: int


def read_questions(path: str | os.PathLike[str]) -> list[Question]:
    """The questions of a task file.

    Raises: DataError naming the record (from 0) and what does not fit, and as `read_json`
    """
    records = read_jsonl(path) if Path(path).suffix.lower() == ".jsonl" else read_json(path)
    if not isinstance(records, list) or not records:
        raise DataError(f"{os.fspath(path)}: must be a JSON list of at least one question; got {_json_type(records)}")
    return [_question(record, f"{os.fspath(path)}, record {number}") for number, record in enumerate(records)]


def _question(record: Any, where: str) -> Question:
    if not isinstance(record, dict):
        raise DataError(f"{where}: must be an object with question, choices and answer; got {_json_type(record)}")
    text, choices, answer = (record.get(name) for name in ("question", "choices", "answer"))
    if not _is_text(text):
        raise DataError(f"{where}: 'question' must be text that is not blank; got {_json_type(text)}")
    if not isinstance(choices, list) or len(choices) < 2 or not all(map(_is_text, choices)):
        raise DataError(
            f"{where}: 'choices' must be a list of at least two texts, none blank; got {_json_type(choices)}"
        )
    if len(set(choices)) < len(choices):
        raise DataError(f"{where}: 'choices' must all differ")
    if isinstance(answer, str) and answer in choices:
        answer = choices.index(answer)
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices):
        raise DataError(
            f"{where}: 'answer' must be one of the choices or its number, 0 to {len(choices) - 1}; "
            f"got {_json_type(answer)}"
        )
    return Question(str(text), tuple(choices), answer)


def _is_text(value: Any) -> bool:
    """Whether it is text: not blank, and without lone surrogates, which JSON can write."""
    return isinstance(value, str) and bool(value.strip()) and not any("\ud800" <= one <= "\udfff" for one in value)


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


def few_shot_prompt(shots: Sequence[Question], question: Question) -> str:
    """The shots with their answers, then the question; a choice follows after a space.

    >>> few_shot_prompt([Question("1 + 1?", ("1", "2"), 1)], Question("2 + 2?", ("4", "5"), 0))
    'Question: 1 + 1?\\nAnswer: 2\\n\\nQuestion: 2 + 2?\\nAnswer:'
    """
    shown = [f"Question: {shot.text}\nAnswer: {shot.choices[shot.answer]}\n\n" for shot in shots]
    return "".join(shown) + f"Question: {question.text}\nAnswer:"


def question_ids(
    tokenizer: Encoder,
    shots: Sequence[Question],
    question: Question,
    form: PromptForm | None = None,
    end_id: int | None = None,
) -> tuple[list[int], list[list[int]]]:
    """The ids of the prompt, and for each choice the ids that follow it.

    With a `form`, each question is an instruction and each answer ends with `end_id`, as in instruction fine-tuning:
    a choice then does not count as the answer because the answer begins like it.
    """
    if form is None:
        start = begin_ids(tokenizer) + tokenizer.encode_ordinary(few_shot_prompt(shots, question))
        return start, [tokenizer.encode_ordinary(f" {choice}") for choice in question.choices]
    answered = [({"instruction": shot.text}, shot.choices[shot.answer]) for shot in shots]
    start = form.question_ids(tokenizer, {"instruction": question.text}, answered, end_id)
    end = [] if end_id is None else [end_id]
    return start, [tokenizer.encode_ordinary(choice) + end for choice in question.choices]
