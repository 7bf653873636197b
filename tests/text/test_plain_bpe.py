"""The plain byte pair encoding, on examples worked out by hand."""

from tinygrad_llm.text import plain_bpe

BYTES = {bytes([byte]): byte for byte in range(256)}


def test_each_merge_takes_the_most_frequent_pair() -> None:
    assert plain_bpe.train([b"abc", b"abd", b"abc"], 3)[256:] == [b"ab", b"abc"]


def test_a_vocabulary_ends_where_no_pair_repeats() -> None:
    assert len(plain_bpe.train([b"abcd"], 10)) == 256
    assert plain_bpe.train([b"abcd"], 10, min_pair_count=1)[256:] == [b"ab", b"cd", b"abcd"]
    assert len(plain_bpe.train([], 10)) == 256


def test_a_run_is_merged_from_the_left() -> None:
    assert plain_bpe.merge([1, 1, 1, 1, 1], (1, 1), 256) == [256, 256, 1]
    assert plain_bpe.merge([2, 1, 2, 1, 2], (1, 2), 256) == [2, 256, 256]


def test_encoding_repeats_the_merges_in_order() -> None:
    tokens = plain_bpe.train([b"hug", b"pug", b"hugs", b"bun"] * 3, 4)
    ranks = {token: rank for rank, token in enumerate(tokens)}
    assert tokens[256:] == [b"ug", b"hug", b"bu", b"pug"]
    assert plain_bpe.encode(b"hugpug", ranks) == [257, 259]
    assert plain_bpe.encode(b"", BYTES) == []
    assert plain_bpe.encode(b"x", BYTES) == [120]
