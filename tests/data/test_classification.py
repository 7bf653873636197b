"""Labelled texts: the book's sample, split and figures, and files that cannot be used."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm.data import (
    ClassificationDataset,
    DataLoader,
    LabelledText,
    balance,
    label_names,
    random_split,
    read_labelled_texts,
)
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.text import GPT2Tokenizer


class Letters:
    """One id per letter."""

    def encode_ordinary(self, text: str) -> list[int]:
        return [ord(letter) - ord("a") for letter in text if letter != " "]


def written(folder: Path, content: str, name: str = "texts.csv") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


def test_the_books_figures(data_folder: Path, gpt2: GPT2Tokenizer) -> None:
    texts = read_labelled_texts(data_folder / "sms_spam_collection.tsv", text_column=1, label_column=0)
    assert len(texts) == 5572
    balanced = balance(texts)
    assert len(balanced) == 1494
    assert [text.label for text in balanced] == ["ham"] * 747 + ["spam"] * 747
    parts = random_split(balanced)
    assert [len(part) for part in parts] == [1045, 149, 300]
    assert parts[0][0] == LabelledText("Dude how do you like the buff wind.", "ham")  # as the book's train.csv begins
    train = ClassificationDataset(parts[0], gpt2, label_names(texts))
    assert train.max_length == 120
    others = [ClassificationDataset(part, gpt2, label_names(texts), 120) for part in parts[1:]]
    loaders = [DataLoader(train, 8, shuffle=True, drop_last=True), *(DataLoader(part, 8) for part in others)]
    assert [len(loader) for loader in loaders] == [130, 19, 38]
    ids, classes, lengths = next(iter(loaders[0]))
    assert (ids.shape, classes.shape, lengths.shape) == ((8, 120), (8,), (8,))
    for row, length in zip(ids, lengths, strict=True):
        assert (row[length:] == 50256).all()
        assert 50256 not in row[:length]


def test_columns_by_name_and_by_number(tmp_path: Path) -> None:
    path = written(tmp_path, 'id,kind,body\n1,b,"two, words"\n2, a ,one\n')
    by_name = read_labelled_texts(path, "body", "kind")
    assert by_name == [("two, words", "b"), ("one", "a")]
    assert read_labelled_texts(path, 2, 1) == [("body", "kind"), *by_name]
    assert label_names(by_name) == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "columns", "says"),
    [
        ("a,b\n1,2\n", ("text", "b"), "must name the column 'text' once; it names 'a', 'b'"),
        ("a,a\n1,2\n", ("a", "a"), "once"),
        ("a,b\n", ("a", "b"), "only a header"),
        ("a,b\nx,y\nx\n", ("a", "b"), "row 3: must have at least 2 columns; got 1"),
        ("x,y\n,y\n", (0, 1), "row 2: .* must not be empty"),
        ("x,\n", (0, 1), "row 1: .* must not be empty"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: str, columns: tuple[Any, ...], says: str) -> None:
    with pytest.raises(DataError, match=says):
        read_labelled_texts(written(tmp_path, content), *columns)


def test_a_column_name_with_a_column_number_is_refused(tmp_path: Path) -> None:
    for columns in (("a", 0), (0, "a"), (-1, 0)):
        with pytest.raises(ConfigError, match="two names of the first row, or two numbers"):
            read_labelled_texts(written(tmp_path, "a,b\n"), *columns)


def test_balancing_gives_every_class_the_size_of_the_smallest() -> None:
    texts = [LabelledText(f"{label}{i}", label) for label, n in (("c", 4), ("a", 9), ("b", 4)) for i in range(n)]
    balanced = balance(texts)
    assert [text.label for text in balanced] == ["a"] * 4 + ["b"] * 4 + ["c"] * 4
    assert balanced[4:] == texts[13:] + texts[:4]
    assert len(set(balanced)) == 12
    assert set(balanced) <= set(texts)
    assert balance(texts, seed=1)[:4] != balanced[:4]
    assert balance([]) == []


def test_a_split_keeps_every_text() -> None:
    texts = [LabelledText(str(i), "x") for i in range(37)]
    parts = random_split(texts, 0.5, 0.25)
    assert [len(part) for part in parts] == [18, 9, 10]
    assert sorted([*parts[0], *parts[1], *parts[2]]) == sorted(texts)
    for fractions in ((0.9, 0.2), (-0.1, 0.2), (float("nan"), 0.1)):
        with pytest.raises(ConfigError, match="fractions"):
            random_split(texts, *fractions)


def test_rows_are_padded_and_cut() -> None:
    texts = [LabelledText("abc", "x"), LabelledText("d", "y")]
    dataset = ClassificationDataset(texts, Letters(), ["x", "y"], pad_id=25)
    ids, label, length = dataset[1]
    np.testing.assert_array_equal(ids, [3, 25, 25])
    assert (label, length, len(dataset)) == (1, 1, 2)
    cut = ClassificationDataset(texts, Letters(), ["x", "y"], max_length=2, pad_id=25)
    np.testing.assert_array_equal(cut.ids, [[0, 1], [3, 25]])
    np.testing.assert_array_equal(cut.lengths, [2, 1])


def test_invalid_datasets_are_refused() -> None:
    with pytest.raises(DataError, match="among \\['x'\\]; got 'y'"):
        ClassificationDataset([LabelledText("a", "y")], Letters(), ["x"])
    with pytest.raises(DataError, match="at least one token"):
        ClassificationDataset([LabelledText(" ", "x")], Letters(), ["x"])
    with pytest.raises(DataError, match="got none"):
        ClassificationDataset([], Letters(), ["x"])
    with pytest.raises(ConfigError, match="max_length"):
        ClassificationDataset([LabelledText("a", "x")], Letters(), ["x"], max_length=0)
