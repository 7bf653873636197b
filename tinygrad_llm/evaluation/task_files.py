"""Task files: questions with choices, questions with answers to generate, or documents.

JSON Lines (.jsonl), one record a line, or a JSON list of records; all records of a file are of one kind:

    {"question": "What do bees make?", "choices": ["honey", "bread"], "answer": "honey"}
    {"question": "What is 2 + 3?", "answer": "5"}
    {"text": "It was a dark and stormy night ..."}

The answer is one of the choices or its number, from 0; without choices, a text or a list of right ones. "prompt" in
place of "question" is a text that is used as it is. A first record {"settings": {...}} has settings of the task (see
`TaskSettings`). A text file (.txt, .md) is one document.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tinygrad_llm.data.files import TEXT_SUFFIXES, read_json, read_jsonl_lines, read_text
from tinygrad_llm.errors import DataError
from tinygrad_llm.evaluation.task_settings import TaskSettings
from tinygrad_llm.settings import SettingError

CHOICES, ANSWERS, DOCUMENTS = "multiple choice", "generate and match", "perplexity"


class Question(NamedTuple):
    """A question, and its choices with the index of the right one, or the right answers, of which any is right.

    `verbatim`: the text is a whole prompt.
    """

    text: str
    choices: tuple[str, ...] = ()
    answer: int = 0
    answers: tuple[str, ...] = ()
    verbatim: bool = False

    @property
    def right(self) -> str:
        """The answer that an example in a prompt shows."""
        return self.choices[self.answer] if self.choices else self.answers[0]


class Document(NamedTuple):
    """A text whose perplexity is measured."""

    text: str


@dataclass(frozen=True)
class Task:
    """What is in a task file: the kind of its records, the records, and the settings that the file gives.

    `origins`: the file and the line or number of each record, for messages.
    """

    name: str
    kind: str
    records: tuple[Any, ...]  # Question or Document
    settings: Mapping[str, Any]
    origins: tuple[str, ...]


def read_task(path: str | os.PathLike[str]) -> Task:
    """The task in a file; its name is the file's, without the suffix.

    Raises: DataError naming the line or the record (from 0) and what does not fit, and as `read_json`
    """
    path = Path(path)
    if path.suffix.lower() in TEXT_SUFFIXES:
        text = read_text(path)
        if not text.strip():
            raise DataError(f"{path}: must hold text; got white space only")
        return Task(path.stem, DOCUMENTS, (Document(text),), {}, (str(path),))
    entries = list(_entries(path))
    settings: Mapping[str, Any] = {}
    if isinstance(entries[0][1], dict) and entries[0][1].keys() == {"settings"}:
        where, first = entries.pop(0)
        settings = _settings(first["settings"], where)
    if not entries:
        raise DataError(f"{path}: must hold at least one record; got settings only")
    kind = _kind(*entries[0])
    read: Any = {CHOICES: _question_with_choices, ANSWERS: _question_with_answers, DOCUMENTS: _document}[kind]
    records = []
    for where, record in entries:
        if (found := _kind(where, record)) != kind:
            raise DataError(f"{where}: all records of a file must be of one kind; got {found} after {kind}")
        records.append(read(where, record))
    return Task(path.stem, kind, tuple(records), settings, tuple(where for where, _ in entries))


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    """Where each record is, in words, and the record."""
    if path.suffix.lower() == ".jsonl":
        for line, value in read_jsonl_lines(path):
            yield f"{path}, line {line}", value
        return
    values = read_json(path)
    if not isinstance(values, list) or not values:
        raise DataError(f"{path}: must be a JSON list of at least one record; got {_json_type(values)}")
    for number, value in enumerate(values):
        yield f"{path}, record {number}", value


def _settings(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, dict):
        raise DataError(f"{where}: 'settings' must be an object; got {_json_type(given)}")
    try:
        TaskSettings.from_dict(given)
    except SettingError as error:
        raise DataError(f"{where}: {error.with_names(str)}") from None
    return given


def _kind(where: str, record: Any) -> str:
    if isinstance(record, dict) and ("question" in record) + ("prompt" in record) + ("text" in record) == 1:
        return DOCUMENTS if "text" in record else CHOICES if "choices" in record else ANSWERS
    got = f"an object with {', '.join(map(repr, record)) or 'nothing'}"[:200] if isinstance(record, dict) else None
    raise DataError(
        f"{where}: must be an object with 'question' (or 'prompt') and 'answer', with 'choices' for multiple choice, "
        f"or with 'text'; got {got or _json_type(record)}"
    )


def _document(where: str, record: dict[str, Any]) -> Document:
    return Document(_text_of(where, record, "text"))


def _question_with_choices(where: str, record: dict[str, Any]) -> Question:
    choices, answer = record["choices"], record.get("answer")
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
    return Question(_asked(where, record), tuple(choices), answer, verbatim="prompt" in record)


def _question_with_answers(where: str, record: dict[str, Any]) -> Question:
    answer = record.get("answer")
    answers = answer if isinstance(answer, list) else [answer]
    if not answers or not all(map(_is_text, answers)):
        raise DataError(f"{where}: 'answer' must be a text that is not blank, or several; got {_json_type(answer)}")
    return Question(_asked(where, record), answers=tuple(map(str, answers)), verbatim="prompt" in record)


def _asked(where: str, record: dict[str, Any]) -> str:
    return _text_of(where, record, "prompt" if "prompt" in record else "question")


def _text_of(where: str, record: dict[str, Any], field: str) -> str:
    if not _is_text(record[field]):
        raise DataError(f"{where}: {field!r} must be text that is not blank; got {_json_type(record[field])}")
    return str(record[field])


def _is_text(value: Any) -> bool:
    """Whether it is text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def _json_type(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)
