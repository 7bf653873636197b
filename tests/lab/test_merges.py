"""The cut of a text at every rank."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_lab import TEXT, asking

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.merges import cut_at, learned_tokenizer, merges_of
from tinygrad_llm.text import plain_bpe
from tinygrad_llm.text.bpe_encoding import split_pieces

TOKENIZER = learned_tokenizer(TEXT)
RANKS = TOKENIZER.ranks


@given(st.text(alphabet="the lasmodnr.é", max_size=30), st.integers(250, len(RANKS) + 5))
def test_the_cut_at_a_rank_is_that_of_the_vocabulary_up_to_it(text: str, rank: int) -> None:
    known = {token: place for token, place in RANKS.items() if place < max(rank, 256)}
    for piece in split_pieces(text):
        cut = cut_at(piece.encode(), merges_of(piece.encode(), RANKS), rank)
        assert [RANKS[token] for token in cut] == plain_bpe.encode(piece.encode(), known)


def test_the_answer_holds_every_piece() -> None:
    with asking() as ask:
        found = ask.merges(text="the model, the lab")
        assert "learned from the lab's text" in found["kind"]
        assert b"".join(bytes.fromhex(piece["bytes"]) for piece in found["pieces"]).decode() == "the model, the lab"
        assert found["first"] == 256 < found["ranks"]
        with pytest.raises(ConfigError, match=r"at most 2,000 characters"):
            ask.merges(text="a" * 2_001)
