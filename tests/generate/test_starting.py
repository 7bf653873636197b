"""The beginning of a text without a prompt is always something that the tokenizer knows."""

from tinygrad_llm.generate.starting import ids_if_known, start_ids
from tinygrad_llm.text import BPETokenizer, CharTokenizer, SimpleTokenizerV1


def test_a_text_starts_at_the_end_of_the_one_before_or_at_a_line_or_anywhere():
    assert start_ids(BPETokenizer.train("", vocab_size=257)) == [256]
    assert start_ids(CharTokenizer.train("a\nb")) == [0]
    assert start_ids(CharTokenizer.train("abc")) == [0]  # has no line end
    assert start_ids(SimpleTokenizerV1({"word": 0})) == [0]  # a line end is no word


def test_text_that_the_vocabulary_lacks_has_no_ids():
    tokenizer = CharTokenizer.train("abc")
    assert ids_if_known(tokenizer, "ab") == [0, 1]
    assert ids_if_known(tokenizer, "ax") == []
