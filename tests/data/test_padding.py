"""Texts as rows of one array."""

import pytest

from tinygrad_llm.data.padding import encode_whole
from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text import CharTokenizer


def test_a_text_that_cannot_be_encoded_is_named() -> None:
    with pytest.raises(TokenizerError, match=r"^in the text 'abz', every character must be among the 2"):
        encode_whole(CharTokenizer.train("ab"), "abz")
