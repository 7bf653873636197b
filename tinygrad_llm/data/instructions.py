"""Instructions with answers: prompt styles, the dataset, and batches whose padding is left out of the loss.

A record is a dict with "instruction", "input" (what the instruction is about; often "") and "output" (the answer).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.files import read_json, read_jsonl
from tinygrad_llm.data.padding import END_OF_TEXT_ID, IGNORE_INDEX, Encoder, begin_ids, pad_right
from tinygrad_llm.errors import ConfigError, DataError

Record: TypeAlias = Mapping[str, Any]


def read_instructions(
    path: str | os.PathLike[str], required: Sequence[str] = ("instruction", "output")
) -> list[dict[str, Any]]:
    """The records of a JSON file (a list of objects) or a JSON Lines file (.jsonl).

    `required` names the fields that each record must have; they and "input" are text. A missing or null "input" is "".

    Raises: DataError naming the record (from 0) and the field that does not fit, and as `read_json`
    """
    records = read_jsonl(path) if Path(path).suffix.lower() == ".jsonl" else read_json(path)
    if not isinstance(records, list) or not records:
        raise DataError(f"{os.fspath(path)}: must be a JSON list of at least one record; got {type(records).__name__}")
    complete = []
    for number, record in enumerate(records):
        where = f"{os.fspath(path)}, record {number}"
        if not isinstance(record, dict):
            raise DataError(f"{where}: must be an object with {', '.join(required)}; got {type(record).__name__}")
        record = {**record, "input": record.get("input") or ""} if record.get("input") is None else record
        for field in (*required, "input"):
            if not isinstance(record.get(field), str):
                got = type(record[field]).__name__ if field in record else "no such field"
                raise DataError(f"{where}: {field!r} must be text; got {got}")
        complete.append(record)
    return complete


def split_records(
    records: Sequence[Record], train_fraction: float = 0.85, test_fraction: float = 0.1
) -> tuple[list[Record], list[Record], list[Record]]:
    """The book's split, in order: first the training records, then the test records, the rest for validation.

    Raises: ConfigError unless the fractions are at least 0 and together at most 1
    """
    if not (train_fraction >= 0 and test_fraction >= 0 and train_fraction + test_fraction <= 1):
        raise ConfigError(
            "split_records: fractions must be at least 0 and together at most 1; "
            f"got {train_fraction} and {test_fraction}"
        )
    first = int(len(records) * train_fraction)
    second = first + int(len(records) * test_fraction)
    return list(records[:first]), list(records[first:second]), list(records[second:])


class TokenizedRecord(NamedTuple):
    """A record's whole text as token ids, and how many of them are its prompt."""

    ids: list[int]
    prompt_length: int


class PromptForm(Protocol):
    """How records become token ids: a style of this package (`PromptStyle`), or a model's own chat template."""

    def question_ids(
        self,
        tokenizer: Encoder,
        record: Record,
        shots: Sequence[tuple[Record, str]] = (),
        end_id: int | None = None,
    ) -> list[int]:
        """The ids that a trained model continues with the answer; the answered `shots` come before, each with `end_id`
        after it.
        """

    def answered_ids(self, tokenizer: Encoder, record: Record, answer: str) -> TokenizedRecord:
        """The ids of the record with an answer, without the id that ends it."""


@dataclass(frozen=True)
class PromptStyle:
    """A template that writes a record as one text: the parts before its instruction, its input and its answer."""

    before_instruction: str
    before_input: str
    before_response: str

    def prompt(self, record: Record) -> str:
        """The instruction and its input, if there is one."""
        given = record.get("input", "")
        return self.before_instruction + record["instruction"] + (self.before_input + given if given else "")

    def question(self, record: Record) -> str:
        """The prompt and the part before the answer: the text that a trained model continues."""
        return self.prompt(record) + self.before_response

    def answered(self, record: Record, answer: str | None = None) -> str:
        """The whole text, with `answer` or with the record's output."""
        return self.question(record) + (record["output"] if answer is None else answer)

    def after_prompt(self, record: Record, answer: str | None = None) -> str:
        """The whole text without its prompt: the part before the answer, and the answer."""
        return self.before_response + (record["output"] if answer is None else answer)

    def extract_response(self, text: str, record: Record) -> str:
        """The answer in a text that a model wrote after the record's prompt or question."""
        return text.removeprefix(self.prompt(record)).strip().removeprefix(self.before_response.strip()).strip()

    def question_ids(
        self,
        tokenizer: Encoder,
        record: Record,
        shots: Sequence[tuple[Record, str]] = (),
        end_id: int | None = None,
    ) -> list[int]:
        """The ids of the answered `shots`, each with `end_id` after it, and of the question."""
        ids = begin_ids(tokenizer)
        for shot, answer in shots:
            ids += tokenizer.encode_ordinary(self.answered(shot, answer)) + ([] if end_id is None else [end_id])
        return ids + tokenizer.encode_ordinary(self.question(record))

    def answered_ids(self, tokenizer: Encoder, record: Record, answer: str) -> TokenizedRecord:
        """The ids of the whole text.

        A token with characters of both the prompt and the template after it ("\\n\\n" where the input ends in a
        newline) does not count as prompt.
        """
        ids = begin_ids(tokenizer) + tokenizer.encode_ordinary(self.answered(record, answer))
        rest = tokenizer.encode_ordinary(self.after_prompt(record, answer))
        return TokenizedRecord(ids, max(len(ids) - len(rest), 0))


PROMPT_STYLES = {
    # Taori et al. 2023, https://github.com/tatsu-lab/stanford_alpaca
    "alpaca": PromptStyle(
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\n",
        "\n\n### Input:\n",
        "\n\n### Response:\n",
    ),
    # Abdin et al. 2024, arXiv:2404.14219
    "phi3": PromptStyle("<|user|>\n", "\n", "\n<|assistant|>:\n"),
}


def prompt_style(name: str) -> PromptStyle:
    """The style of this name. Raises ConfigError for an unknown one."""
    if name not in PROMPT_STYLES:
        raise ConfigError(f"prompt style must be one of {', '.join(PROMPT_STYLES)}; got {name!r}")
    return PROMPT_STYLES[name]


def prompt_form(style: str | PromptForm) -> PromptForm:
    """The style of this name, or the form itself. Raises ConfigError for an unknown name."""
    return prompt_style(style) if isinstance(style, str) else style


def fitting_records(
    records: Sequence[Record], tokenizer: Encoder, style: str | PromptForm, context_length: int
) -> list[Record]:
    """The records whose question leaves room for at least one token of an answer. Units: context_length in tokens."""
    form = prompt_form(style)
    return [record for record in records if len(form.question_ids(tokenizer, record)) < context_length]


class InstructionDataset:
    """Records as token ids, of different lengths; `collate_instructions` makes batches of them.

    Special tokens in a record are encoded as ordinary text, since records come from outside.
    """

    def __init__(self, records: Sequence[Record], tokenizer: Encoder, style: str | PromptForm = "alpaca") -> None:
        form = prompt_form(style)
        self.items = [form.answered_ids(tokenizer, record, record["output"]) for record in records]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> TokenizedRecord:
        return self.items[index]


# The batch of chapter 7 in three stages, each adding one idea to the one before. -------------------------------------


def collate_padded(rows: Sequence[Sequence[int]], pad_id: int = END_OF_TEXT_ID) -> NDArray[np.int64]:
    """First stage: the inputs, padded to the longest row of this batch.

    >>> collate_padded([[1, 2, 3], [4]], pad_id=0)
    array([[1, 2, 3],
           [4, 0, 0]])
    """
    return pad_right(rows, max(map(len, rows)), pad_id)


def collate_shifted(
    rows: Sequence[Sequence[int]], pad_id: int = END_OF_TEXT_ID
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Second stage: inputs and targets, each target the next id; after a row's last id comes a padding id.

    >>> collate_shifted([[1, 2, 3], [4]], pad_id=0)[1]
    array([[2, 3, 0],
           [0, 0, 0]])
    """
    return collate_padded(rows, pad_id), pad_right([row[1:] for row in rows], max(map(len, rows)), pad_id)


def collate_instructions(
    batch: Sequence[TokenizedRecord | Sequence[int]],
    pad_id: int = END_OF_TEXT_ID,
    ignore_index: int = IGNORE_INDEX,
    allowed_max_length: int | None = None,
    mask_instructions: bool = False,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Third stage: of the padding, only the first id after a row is a target, as its end; others are `ignore_index`.

    `mask_instructions` also leaves the prompt's tokens out of the loss, so that only the answer is learned (exercise
    7.2; Shi et al. 2024, arXiv:2405.14394, ask whether it helps). Rows are cut after `allowed_max_length` ids. A row
    that is a plain list of ids has no prompt.

    Shapes: B items -> (B, T), (B, T), T the longest row of the batch
    Raises: ConfigError for an allowed_max_length below 1

    >>> collate_instructions([[1, 2, 3], [4]], pad_id=0)[1]
    array([[   2,    3,    0],
           [   0, -100, -100]])
    """
    if allowed_max_length is not None:
        expect_count("collate_instructions", "allowed_max_length", allowed_max_length)
    items = [item if isinstance(item, TokenizedRecord) else TokenizedRecord(list(item), 0) for item in batch]
    inputs, targets = collate_shifted([item.ids for item in items], pad_id)
    for line, item in zip(targets, items, strict=True):
        line[len(item.ids) :] = ignore_index  # position len(ids) - 1 holds the first padding id
        if mask_instructions:
            line[: max(item.prompt_length - 1, 0)] = ignore_index
    return inputs[:, :allowed_max_length], targets[:, :allowed_max_length]
