"""Task files: for any content, either a task or an error that names the line."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tinygrad_llm.errors import DataError, TinygradLLMError
from tinygrad_llm.evaluation.prompts import plain_prompt
from tinygrad_llm.evaluation.task_files import ANSWERS, CHOICES, DOCUMENTS, Document, Question, read_task

CHOICE = {"question": "q", "choices": ["a", "b"], "answer": "b"}
GOOD = json.dumps([{**CHOICE, "answer": n % 2} for n in range(8)]).encode()


def written(path: Path, *lines: Any) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_the_kind_of_a_task_follows_from_its_records(tmp_path: Path) -> None:
    task = read_task(written(tmp_path / "a.jsonl", {"settings": {"shots": 1}}, CHOICE, "", {**CHOICE, "answer": 0}))
    assert (task.name, task.kind, task.settings) == ("a", CHOICES, {"shots": 1})
    assert task.records == (Question("q", ("a", "b"), 1), Question("q", ("a", "b"), 0))
    assert task.origins == tuple(f"{tmp_path / 'a.jsonl'}, line {line}" for line in (2, 4))
    task = read_task(written(tmp_path / "b.jsonl", {"prompt": "p ", "answer": ["x", "y"]}))
    assert (task.kind, task.records) == (ANSWERS, (Question("p ", answers=("x", "y"), verbatim=True),))
    task = read_task(written(tmp_path / "c.json", [{"text": "t"}]))
    assert (task.kind, task.records) == (DOCUMENTS, (Document("t"),))
    assert read_task(written(tmp_path / "d.txt", "one\ntwo")).records == (Document("one\ntwo"),)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["", CHOICE, {**CHOICE, "answer": 2}], "line 3: 'answer' must be one of the choices or its number, 0 to 1"),
        ([{"text": "t"}, CHOICE], "line 2: all records of a file must be of one kind; got multiple choice after"),
        ([{"question": "q"}], "line 1: 'answer' must be a text that is not blank, or several; got nothing"),
        ([{"question": "q", "answer": []}], "line 1: 'answer' must be a text"),
        ([{"question": "q", "prompt": "p", "answer": "a"}], "line 1: must be an object with 'question' (or 'prompt')"),
        ([{"text": " "}], "line 1: 'text' must be text that is not blank"),
        ([{"text": "\ud800"}], "line 1, column 10: a string has a lone surrogate"),
        ([{"settings": {"shot": 1}}, CHOICE], "line 1: known settings are shots,"),
        ([{"settings": {"ignore": ["("]}}, CHOICE], "line 1: ignore must be a regular expression; got '('"),
        ([{"settings": {"filter": "regex"}}, CHOICE], "line 1: filter regex and regex belong together"),
        ([{"settings": []}, CHOICE], "line 1: 'settings' must be an object; got a list"),
        ([{"settings": {}}], "at least one record; got settings only"),
        ([CHOICE, {"settings": {}}], "line 2: must be an object with"),
        ([CHOICE, "{"], "line 2"),
    ],
)  # fmt: skip
def test_an_error_names_the_line(tmp_path: Path, lines: list[Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        read_task(written(tmp_path / "t.jsonl", *lines))
    assert said in str(caught.value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(categories=None), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["question", "choices", "answer", "text", "settings", "regex"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)
contents = st.one_of(
    st.binary(max_size=60),
    st.integers(0, len(GOOD)).map(lambda size: GOOD[:size]),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.lists(
        st.fixed_dictionaries(
            {
                "question": st.just("q") | json_values,
                "choices": st.just(["a", "b"]) | json_values,
                "answer": st.just(0) | json_values,
            }
        ),
        max_size=2,
    ).map(lambda value: json.dumps(value).encode()),
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents, st.sampled_from([".json", ".jsonl", ".txt"]))
@example(b"[" * 100_000, ".json")
@example(b'[{"question": ' * 50_000, ".json")
@example(b'[{"question": "q", "choices": ["a", "b"], "answer": NaN}]', ".json")
@example(b'[{"question": "q", "choices": ["a", "b"], "answer": ' + b"9" * 5000 + b"}]", ".json")
@example(b'[{"question": "q", "choices": ["a", "b"], "answer": 1e999}]', ".json")
@example(b'[{"question": "\\ud800", "choices": ["a", "b"], "answer": 0}]', ".json")
@example(b'[{"question": "q", "choices": ["a", "\\udfff"], "answer": 0}]', ".json")
@example(b'[{"settings": {"stop": ["\\udfff"]}}, {"question": "q", "answer": "a"}]', ".json")
@example(b" " * 1_000_000, ".jsonl")
def test_any_file_gives_a_task_or_an_error_of_the_package(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"task{suffix}"
    path.write_bytes(content)
    try:
        task = read_task(path)
    except TinygradLLMError as error:
        assert len(str(error)) < 1500
        return
    if task.kind == DOCUMENTS:
        assert all(document.text.encode() for document in task.records)
    else:
        assert all(question.right for question in task.records)
        plain_prompt(task.records, task.records[0]).encode()
