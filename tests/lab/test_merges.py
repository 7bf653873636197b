"""The cut of a text at every rank."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_lab import TEXT, asking

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.merges import Merge, learned_tokenizer, merges_of, merging_of
from tinygrad_llm.text import plain_bpe
from tinygrad_llm.text.bpe_encoding import split_pieces
from tinygrad_llm.text.pipeline.tokenizer import PipelineTokenizer

TOKENIZER = learned_tokenizer(TEXT)
RANKS = TOKENIZER.ranks


def rank_of(left: bytes, right: bytes) -> float:
    return RANKS.get(left + right, math.inf)


def cut_at(piece: bytes, merges: list[Merge], rank: int) -> list[bytes]:
    """The tokens of a piece after its merges with a rank below `rank`, as the page computes them."""
    parts = [bytes([byte]) for byte in piece]
    for merged, place in merges:
        if merged >= rank:
            break
        parts[place : place + 2] = [parts[place] + parts[place + 1]]
    return parts


@given(st.text(alphabet="the lasmodnr.é", max_size=30), st.integers(250, len(RANKS) + 5))
def test_the_cut_at_a_rank_is_that_of_the_vocabulary_up_to_it(text: str, rank: int) -> None:
    known = {token: place for token, place in RANKS.items() if place < max(rank, 256)}
    for piece in split_pieces(text):
        cut = cut_at(piece.encode(), merges_of(piece.encode(), rank_of), rank)
        assert [RANKS[token] for token in cut] == plain_bpe.encode(piece.encode(), known)


def test_the_answer_holds_every_piece() -> None:
    with asking() as ask:
        found = ask.merges(text="the model, the lab")
        assert "learned from the lab's text" in found["kind"]
        assert b"".join(bytes.fromhex(piece["bytes"]) for piece in found["pieces"]).decode() == "the model, the lab"
        assert found["first"] == 256 < found["ranks"]
        with pytest.raises(ConfigError, match=r"at most 2,000 characters"):
            ask.merges(text="a" * 2_001)


def byte_level(merges: list[str]) -> PipelineTokenizer:
    """A tokenizer.json as GPT-2's: bytes as printable characters, and a list of merges."""
    letters = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 324))]
    tokens = [*letters, *(merge.replace(" ", "") for merge in merges)]
    return PipelineTokenizer(
        {
            "model": {
                "type": "BPE",
                "vocab": {token: i for i, token in enumerate(dict.fromkeys(tokens))},
                "merges": merges,
            },
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        }
    )


MERGES = ["t h", "Ġ th", "e r", "Ġth e", "l o", "Ã ©", "lo w", "low er"]


@given(st.text(alphabet="the lower é", max_size=20))
def test_a_tokenizer_json_has_its_own_merges(text: str) -> None:
    tokenizer = byte_level(MERGES)
    found = merging_of(tokenizer, "")
    assert (found.kind, found.first, found.ranks) == ("the model's own tokenizer", 0, len(MERGES))
    for rank in range(len(MERGES) + 1):
        shorter = byte_level(MERGES[:rank])
        cut = [
            token
            for piece in found.describe(text)["pieces"]
            for token in cut_at(bytes.fromhex(piece["bytes"]), piece["merges"], rank)
        ]
        assert cut == [shorter.token_bytes(token) for token in shorter.encode_ordinary(text)]


def test_a_tokenizer_without_merges_of_bytes_gets_learned_ones() -> None:
    words = PipelineTokenizer({"model": {"type": "WordLevel", "vocab": {"a": 0, "[UNK]": 1}, "unk_token": "[UNK]"}})
    assert "learned" in merging_of(words, TEXT).kind
    assert merging_of(TOKENIZER, "").kind == "the model's own tokenizer"
