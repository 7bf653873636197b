"""A token in settings of Hugging Face: a text, or an object with it."""

import pytest

from tinygrad_llm.errors import FormatError
from tinygrad_llm.interop.named_token import token_text


@pytest.mark.parametrize(
    ("value", "expected"),
    [("<s>", "<s>"), ({"content": "<s>", "lstrip": True}, "<s>"), ("", ""), (None, None), (True, None), ({}, None)],
)
def test_its_text_or_none(value: object, expected: str | None) -> None:
    assert token_text(value, "bos_token") == expected


@pytest.mark.parametrize("value", [7, ["<s>"], {"content": 7}, 0.5])
def test_another_value_is_refused_by_name(value: object) -> None:
    with pytest.raises(FormatError, match=r"config\.json: bos_token must be a token's text"):
        token_text(value, "config.json: bos_token")
