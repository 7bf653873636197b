"""Near-duplicates: the fast search finds what comparing all pairs finds, and nothing else."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tinygrad_llm.data.near_duplicates import near_duplicates, near_duplicates_plain, normal_form, similarity
from tinygrad_llm.errors import ConfigError

words = st.lists(st.sampled_from(["red", "green", "Red,", "bluE!", "12", "13", "ü", "-"]), max_size=7).map(" ".join)
texts = st.lists(st.one_of(words, st.text(max_size=6)), max_size=12)


@given(texts=texts, threshold=st.sampled_from([0.3, 0.5, 0.7, 0.8, 0.95, 1.0]), ngram=st.integers(1, 3))
@example(["abcdefghij", "abcdefghik"], 0.7, 1)  # 0.7 · 10 is 7.000000000000001
@example(["", "  ", "!!", "??"], 1.0, 3)
def test_it_finds_what_comparing_all_pairs_finds(texts: list[str], threshold: float, ngram: int) -> None:
    assert near_duplicates(texts, threshold, ngram) == near_duplicates_plain(texts, threshold, ngram)


@given(text=words.filter(bool))
def test_case_spaces_and_punctuation_change_nothing(text: str) -> None:
    changed = f"  {text.upper()} !?".replace(" ", "  ")
    assert normal_form(changed) == normal_form(text)
    assert [(pair.number, pair.kept, pair.similarity) for pair in near_duplicates([text, changed])] == [(1, 0, 1.0)]


def test_numbers_and_operators_do_change_a_text() -> None:
    assert near_duplicates(["What is 3 * 4?", "What is 3 / 4?", "What is 3 + 4?", "What is 3 * 5?"]) == []
    assert normal_form("!!!") != normal_form("???")


def test_similarity_is_the_share_of_common_groups() -> None:
    assert similarity("abcd", "bcde") == 1 / 3  # abc bcd, bcd cde
    assert similarity("ab", "ab") == 1.0 and similarity("ab", "cd") == 0.0


def test_each_is_compared_with_what_is_kept_and_progress_is_told() -> None:
    chain = ["abcdefgh", "abcdefghi", "abcdefghij"]  # the third is near the second, which is left out
    told: list[tuple[int, int]] = []
    found = near_duplicates(chain, 0.8, 3, lambda done, total: told.append((done, total)))
    assert [(pair.number, pair.kept) for pair in found] == [(1, 0)] and told == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("threshold", "ngram", "message"),
    [
        (0.0, 3, "threshold must be above 0 and at most 1; got 0.0"),
        (1.1, 3, "threshold must be above 0 and at most 1"),
        (float("nan"), 3, "threshold must be a number"),
        (0.9, 0, "ngram must be an integer of at least 1"),
        (0.9, 40, "ngram must be at most 31 for texts of 2 different characters; got 40"),
    ],
)
def test_refusals(threshold: float, ngram: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        near_duplicates(["ab", "ba"], threshold, ngram)


@pytest.mark.slow
def test_fifty_thousand_records_in_a_minute_of_one_core() -> None:
    import time

    from tinygrad_llm.data.computed_instructions import instruction_tasks
    from tinygrad_llm.random import Generator

    records = instruction_tasks(50_000, Generator(0))
    questions = [f"{record['instruction']}\n{record['input']}" for record in records]
    started = time.process_time()
    found = near_duplicates(questions + [question.upper() for question in questions[:100]])
    assert {pair.number for pair in found} >= set(range(50_000, 50_100))
    print(f"{len(found)} of 50,100 in {time.process_time() - started:.0f} s")
