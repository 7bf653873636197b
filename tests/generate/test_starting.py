"""The start of a text without a prompt can be encoded by every tokenizer."""

from tinygrad_llm.generate.starting import ids_if_known, start_ids
from tinygrad_llm.text import BPETokenizer, CharTokenizer, SimpleTokenizerV1


def test_a_text_starts_with_the_end_of_text_token_or_a_newline_or_the_first_token() -> None:
    assert start_ids(BPETokenizer.train("", vocab_size=257)) == [256]
    assert start_ids(CharTokenizer.train("a\nb")) == [0]
    assert start_ids(CharTokenizer.train("abc")) == [0]  # has no line end
    assert start_ids(SimpleTokenizerV1({"word": 0})) == [0]  # a line end is no word


def test_unknown_text_has_no_ids() -> None:
    tokenizer = CharTokenizer.train("abc")
    assert ids_if_known(tokenizer, "ab") == [0, 1]
    assert ids_if_known(tokenizer, "ax") == []
