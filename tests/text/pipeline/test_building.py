"""Tokenizers from their parts: byte-level BPE from merges, SentencePiece BPE from scores."""

import json

import pytest

from tinygrad_llm.errors import TokenizerError
from tinygrad_llm.text.pipeline import PipelineTokenizer, byte_level_bpe, sentencepiece_bpe

TOKENS = ["<unk>", "<s>", "</s>", "<0x41>", "▁", "a", "b", "c", "aa", "aaa", "ab", "▁a", "bc"]
SCORES = [0, 0, 0, 0, -9, -8, -7, -6, -1, -2, -4, -5, -3.5]


def test_scores_merge_the_best_token_first_and_the_leftmost_of_ties() -> None:
    tokenizer = sentencepiece_bpe(
        TOKENS, SCORES, [1, 2], not_merged=[3], unknown=0, before=[1], bos_token="<s>", eos_token="</s>"
    )
    names = [tokenizer.token(number) for number in tokenizer.encode("aaaaa abc A</s>", "all")]
    assert names == ["▁", "aa", "aaa", "▁a", "bc", "▁", "<0x41>", "</s>"]
    assert tokenizer.template == ([1], []) and (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)
    assert tokenizer.decode(tokenizer.encode("aaaaa abc A")) == "aaaaa abc A"
    assert PipelineTokenizer.from_state(json.loads(json.dumps(tokenizer.state()))).encode("abc") == tokenizer.encode(
        "abc"
    )


def test_byte_level_parts() -> None:
    tokens = ["Ġ", "a", "b", "1", "2", "Ġa", "12", "<|x|>", "<y>"]
    settings = {"special_tokens": [7], "added_tokens": [8], "before": [7]}
    tokenizer = byte_level_bpe(tokens, ["Ġ a", "1 2"], r" ?\p{L}+|\p{N}+", **settings)
    assert tokenizer.encode("b a12<y><|x|>", "all") == [2, 5, 6, 8, 7] and tokenizer.special_tokens == {"<|x|>": 7}
    assert byte_level_bpe(tokens, ["1 2"], digits="each").encode("12") == [3, 4]
    assert byte_level_bpe(tokens, ["1 2"], digits="runs").encode("12") == [6]
    assert byte_level_bpe(tokens, ["Ġ a"], add_prefix_space=True).encode("a") == [5]


def test_wrong_parts_are_refused() -> None:
    with pytest.raises(TokenizerError, match="'a' occurs twice"):
        byte_level_bpe(["a", "a"], [])
    with pytest.raises(TokenizerError, match=r"must be in 0\.\.0; got 4"):
        byte_level_bpe(["a"], [], special_tokens=[4])
    with pytest.raises(TokenizerError, match="digits must be"):
        byte_level_bpe(["a"], [], digits="all")
    with pytest.raises(TokenizerError, match="each token needs a score"):
        sentencepiece_bpe(["a"], [])
