"""Labelled texts: reading, balancing, splitting, and encoding to rows of one length."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.files import read_rows
from tinygrad_llm.data.padding import END_OF_TEXT_ID, Encoder, encode_whole, pad_right
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.random import pandas_sample_order


class LabelledText(NamedTuple):
    """A text and the name of its class."""

    text: str
    label: str


def read_labelled_texts(
    path: str | os.PathLike[str],
    text_column: str | int,
    label_column: str | int,
    delimiter: str | None = None,
    say: Callable[[str], None] | None = None,
) -> list[LabelledText]:
    """Texts and labels from two columns of a CSV or TSV file with quoted fields.

    Either both columns are names, found in the first row, or both are numbers, counted from 0; then the first row is
    data. `say` receives the messages of `read_rows`.

    Raises: ConfigError for a name and a number together; DataError for a missing column, an empty text or label, and as
            `read_rows`
    """
    rows = read_rows(path, delimiter, say)
    header: list[str] = []
    if isinstance(text_column, str) and isinstance(label_column, str):
        header, rows = rows[0], rows[1:]
        for name in (text_column, label_column):
            if header.count(name) != 1:
                raise DataError(
                    f"{os.fspath(path)}: the first row must name the column {shown(name)} once; it names "
                    f"{', '.join(map(shown, header[:5]))}: give column numbers (from 0) if it is no header"
                )
        text_column, label_column = header.index(text_column), header.index(label_column)
    elif not (_is_column_number(text_column) and _is_column_number(label_column)):
        raise ConfigError(
            "read_labelled_texts: columns must be two names of the first row, or two numbers from 0; "
            f"got {text_column!r} and {label_column!r}"
        )
    texts, needed = [], max(int(text_column), int(label_column)) + 1
    for number, row in enumerate(rows, 2 if header else 1):
        if len(row) < needed:
            raise DataError(
                f"{os.fspath(path)}, row {number}: must have at least {needed} columns; got {len(row)}: "
                "check the delimiter and the quotes"
            )
        text, label = row[int(text_column)], row[int(label_column)].strip()
        if not text or not label:
            raise DataError(f"{os.fspath(path)}, row {number}: text and label must not be empty; remove the row")
        texts.append(LabelledText(text, label))
    if not texts:
        raise DataError(f"{os.fspath(path)}: must hold at least one labelled text; got only a header")
    return texts


def _is_column_number(column: str | int) -> bool:
    return isinstance(column, int) and not isinstance(column, bool) and column >= 0


def label_names(texts: Sequence[LabelledText]) -> list[str]:
    """The names of the classes, sorted: the index in this list is the id of a class."""
    return sorted({text.label for text in texts})


def balance(texts: Sequence[LabelledText], seed: int = 123) -> list[LabelledText]:
    """As many texts of each class as the smallest class has, class by class in the order of `label_names`.

    Larger classes are sampled as by pandas' `sample(n, random_state=seed)`: with seed 123, the book's sample.
    """
    smallest = min(Counter(text.label for text in texts).values(), default=0)
    balanced: list[LabelledText] = []
    for label in label_names(texts):
        of_class = [text for text in texts if text.label == label]
        if len(of_class) > smallest:
            of_class = [of_class[i] for i in pandas_sample_order(len(of_class), smallest, seed)]
        balanced += of_class
    return balanced


def random_split(
    texts: Sequence[LabelledText], train_fraction: float = 0.7, validation_fraction: float = 0.1, seed: int = 123
) -> tuple[list[LabelledText], list[LabelledText], list[LabelledText]]:
    """Training, validation and test texts after shuffling; the test part is the rest after the two fractions.

    Shuffled as by pandas' `sample(frac=1, random_state=seed)`: with seed 123, the book's split.

    Raises: ConfigError unless the fractions are at least 0 and together at most 1
    """
    if not (train_fraction >= 0 and validation_fraction >= 0 and train_fraction + validation_fraction <= 1):
        raise ConfigError(
            "random_split: fractions must be at least 0 and together at most 1; "
            f"got {train_fraction} and {validation_fraction}"
        )
    shuffled = [texts[i] for i in pandas_sample_order(len(texts), len(texts), seed)]
    first = int(len(texts) * train_fraction)
    second = first + int(len(texts) * validation_fraction)
    return shuffled[:first], shuffled[first:second], shuffled[second:]


class ClassificationDataset:
    """Labelled texts as token ids, cut or padded on the right to `max_length`, by default the longest text's length.

    `labels` names the classes in the order of their ids. An item is (ids, class, length). `length` counts the tokens
    without padding: it is needed because the padding id may occur in a text.

    Shapes: per item ids (max_length,), class () and length ()
    Raises: ConfigError for a max_length below 1; DataError for no texts, an unknown label, or a text of no tokens
    """

    def __init__(
        self,
        texts: Sequence[LabelledText],
        tokenizer: Encoder,
        labels: Sequence[str],
        max_length: int | None = None,
        pad_id: int = END_OF_TEXT_ID,
    ) -> None:
        if max_length is not None:
            expect_count("ClassificationDataset", "max_length", max_length)
        if not texts:
            raise DataError("ClassificationDataset: at least one text is needed; got none")
        class_of = {label: place for place, label in enumerate(labels)}
        rows = [encode_whole(tokenizer, text.text, max_length) for text in texts]
        for text, row in zip(texts, rows, strict=True):
            if text.label not in class_of:
                raise DataError(f"ClassificationDataset: labels must be among {list(labels)}; got {text.label!r}")
            if not row:
                raise DataError(f"ClassificationDataset: a text must have at least one token; {text.text!r} has none")
        self.max_length = max(map(len, rows)) if max_length is None else max_length
        self.ids = pad_right(rows, self.max_length, pad_id)
        self.classes = np.array([class_of[text.label] for text in texts], np.int64)
        self.lengths = np.array([min(len(row), self.max_length) for row in rows], np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[NDArray[np.int64], int, int]:
        return self.ids[index], int(self.classes[index]), int(self.lengths[index])
