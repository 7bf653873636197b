"""What a model's files say of its texts: every place of a chat template and of end ids, round trips, refusals."""

from pathlib import Path
from typing import Any

import pytest
from tiny_chat import CHATML, chat_tokenizer, save_chat_model

from tinygrad_llm.errors import FormatError
from tinygrad_llm.formats import read_json, write_json
from tinygrad_llm.interop.conventions import (
    Conventions,
    huggingface_conventions,
    read_conventions,
    write_conventions,
    write_huggingface_conventions,
)

TOKENIZER = chat_tokenizer()


def test_every_file_that_names_an_end_is_heard(tmp_path: Path) -> None:
    save_chat_model(tmp_path, eos_token_id=[7, 259])
    config = read_json(tmp_path / "config.json")
    for value, expected in ((9, (258, 7, 259, 9, 256)), ([9, 7], (258, 7, 259, 9, 256)), (None, (258, 7, 259, 256))):
        write_json(tmp_path / "config.json", {**config, "eos_token_id": value})
        assert huggingface_conventions(tmp_path, TOKENIZER).end_ids == expected


def test_the_template_is_taken_from_the_newest_kind_of_file(tmp_path: Path) -> None:
    save_chat_model(tmp_path, template=None)

    def source() -> str | None:
        template = huggingface_conventions(tmp_path, TOKENIZER).template
        return None if template is None else template.source

    assert source() is None
    write_json(tmp_path / "chat_template.json", {"chat_template": "oldest"})
    assert source() == "oldest"
    config = read_json(tmp_path / "tokenizer_config.json")
    write_json(tmp_path / "tokenizer_config.json", {**config, "chat_template": "old"})
    assert source() == "old"
    named = [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]
    write_json(tmp_path / "tokenizer_config.json", {**config, "chat_template": named})
    assert source() == "d"
    (tmp_path / "chat_template.jinja").write_text("néw\n", encoding="utf-8")
    assert source() == "néw\n"


def test_tokens_of_a_template(tmp_path: Path) -> None:
    save_chat_model(tmp_path)
    write_json(tmp_path / "special_tokens_map.json", {"bos_token": {"content": "<b>"}, "eos_token": "other"})
    template = huggingface_conventions(tmp_path, TOKENIZER).template
    assert template is not None
    assert {
        "bos_token": "<b>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
    }.items() <= template.tokens.items()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("generation_config.json", {"eos_token_id": "7"}, "eos_token_id must be an id"),
        ("generation_config.json", {"eos_token_id": [True]}, "eos_token_id must be an id"),
        ("generation_config.json", {"eos_token_id": -1}, "eos_token_id must be an id"),
        ("tokenizer_config.json", {"eos_token": 3}, "eos_token must be a token's text"),
        ("tokenizer_config.json", {"chat_template": 3}, "chat_template must be a text"),
        (
            "tokenizer_config.json",
            {"chat_template": [{"name": "rag", "template": ""}]},
            "must be named default; got 'rag'",
        ),
        ("tokenizer_config.json", {"chat_template": [{"name": "default"}], "x": 1}, None),
        ("chat_template.jinja", b"\xff", "must be UTF-8"),
        ("special_tokens_map.json", [], "must hold one JSON object"),
    ],
)
def test_a_file_that_says_something_else_is_refused_by_name(
    tmp_path: Path, name: str, content: Any, said: str | None
) -> None:
    save_chat_model(tmp_path)
    if isinstance(content, bytes):
        (tmp_path / name).write_bytes(content)
    else:
        write_json(tmp_path / name, content)
    if said is None:
        assert huggingface_conventions(tmp_path, TOKENIZER).template is None
        return
    with pytest.raises(FormatError, match=said) as refused:
        huggingface_conventions(tmp_path, TOKENIZER)
    assert name in str(refused.value)


def test_round_trips(tmp_path: Path) -> None:
    found = huggingface_conventions(save_chat_model(tmp_path / "theirs", eos_token_id=[7]), TOKENIZER)
    assert found.template is not None and found.template.source == CHATML
    (tmp_path / "run").mkdir()
    assert read_conventions(tmp_path / "run") is None
    for conventions in (found, Conventions(), Conventions((3,))):
        write_conventions(tmp_path / "run", conventions)
        assert read_conventions(tmp_path / "run") == conventions
    save_chat_model(tmp_path / "again", template=None)
    write_huggingface_conventions(tmp_path / "again", found)
    again = huggingface_conventions(tmp_path / "again", TOKENIZER)
    assert again.template == found.template and set(again.end_ids) == set(found.end_ids)


@pytest.mark.parametrize(
    "content",
    [{"end_ids": "a"}, {"end_ids": [], "chat_template": 1}, {"chat_template": {"source": "a", "tokens": [1]}}],
)
def test_a_damaged_file_of_a_run_is_refused(tmp_path: Path, content: Any) -> None:
    write_json(tmp_path / "conventions.json", content)
    with pytest.raises(FormatError, match=r"conventions\.json"):
        read_conventions(tmp_path)
