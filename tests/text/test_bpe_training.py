"""Fast training of byte pair encoding, against the plain definition."""

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.text import plain_bpe
from tinygrad_llm.text.bpe_training import count_pieces, train_ranks

some_pieces = st.binary(min_size=1, max_size=4) | st.text("ab", min_size=1).map(str.encode)


def repeated(pieces: dict[bytes, int]) -> list[bytes]:
    """Each piece as often as it occurs."""
    return [piece for piece, count in pieces.items() for _ in range(count)]


@given(
    pieces=st.dictionaries(some_pieces, st.integers(1, 5)),
    num_merges=st.integers(0, 40),
)
def test_fast_training_equals_plain_training(pieces: dict[Any, Any], num_merges: int) -> None:
    assert list(train_ranks(pieces, num_merges)) == plain_bpe.train(repeated(pieces), num_merges)


def test_fast_training_equals_plain_training_on_real_text(data_folder: Path) -> None:
    text = (data_folder / "the-verdict.txt").read_text(encoding="utf-8")
    pieces = count_pieces([text], [])
    assert list(train_ranks(pieces, 60)) == plain_bpe.train(repeated(pieces), 60)


def test_a_pair_is_merged_from_the_left_and_ties_go_to_the_lowest_ids() -> None:
    assert list(train_ranks({b"aaaaa": 1}, 1))[256:] == [b"aa"]
    assert list(train_ranks({b"zy": 2, b"ab": 2, b"ac": 2}, 3))[256:] == [b"ab", b"ac", b"zy"]
