"""Translation pairs: reading files, and batches of inputs and targets."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.data import DataLoader, TranslationDataset, collate_translation, count_rows, read_pairs, take_rows
from tinygrad_llm.errors import DataError
from tinygrad_llm.text import CharTokenizer


def written(tmp_path: Path, content: bytes | str) -> Path:
    path = tmp_path / "pairs.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_reads_two_columns_and_leaves_quotes_and_strange_spaces_alone(tmp_path: Path) -> None:
    text = '\ufeffGo.\tVa !\r\n\n"Hi\t"Salut\tCC-BY\n one \t un \na\u2028b\tc\n'
    assert read_pairs(written(tmp_path, text)) == [
        ("Go.", "Va !"),
        ('"Hi', '"Salut'),
        ("one", "un"),
        ("a\u2028b", "c"),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\tb\nno tab\n", "line 2: must be a text, a tab and its translation; got 'no tab'"),
        ("a\t\n", "line 1: must be"),
        ("\tb\n", "line 1: must be"),
        ("a\tb\0\n", "NUL"),
        ("", "must hold text; the file is empty"),
        ("\n \n\n", "must hold at least one pair of texts; got only blank lines"),
        (b"a\t\xff\n", "must be UTF-8; byte 2 is 0xff"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_pairs(written(tmp_path, content))


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.tsv", tmp_path):
        with pytest.raises(DataError):
            read_pairs(path)


@given(st.binary(max_size=60))
def test_any_bytes_give_pairs_or_a_data_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = written(tmp_path_factory.mktemp("any"), content)
    try:
        pairs = read_pairs(path)
    except DataError as error:
        assert str(error).isprintable()
    else:
        assert pairs and all(source.strip() and target.strip() for source, target in pairs)


def test_batches_hold_inputs_and_shifted_targets() -> None:
    tokenizer = CharTokenizer("abc", ["<|endoftext|>"])
    dataset = TranslationDataset([("ab", "c"), ("a", "bca")], tokenizer, end_id=3)
    batch = next(iter(DataLoader(dataset, 2, collate_fn=collate_translation)))
    np.testing.assert_array_equal(batch.source, [[0, 1, 3], [0, 3, 0]])
    np.testing.assert_array_equal(batch.source_lengths, [3, 2])
    np.testing.assert_array_equal(batch.inputs, [[3, 2, 0, 0], [3, 1, 2, 0]])
    np.testing.assert_array_equal(batch.targets, [[2, 3, -100, -100], [1, 2, 0, 3]])
    assert (batch.num_targets, count_rows(batch)) == (6, 2)
    assert take_rows(batch, slice(0, 1)).num_targets == 2
