"""Instruction records: the book's texts, splits, batches and widths."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.data import (
    PROMPT_STYLES,
    DataLoader,
    InstructionDataset,
    TokenizedRecord,
    collate_instructions,
    collate_padded,
    collate_shifted,
    prompt_style,
    read_instructions,
    split_records,
)
from tinygrad_llm.data.instructions import PromptStyle
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.text import BPETokenizer, GPT2Tokenizer

WITH_INPUT = {"instruction": "Say it twice.", "input": "go", "output": "go go"}
WITHOUT = {"instruction": "Say hello.", "input": "", "output": "hello"}
BATCH = [[0, 1, 2, 3, 4], [5, 6], [7, 8, 9]]

# What chapter 7 prints for its training batches: all of the same width for inputs and targets.
WIDTHS = [
    61,
    76,
    73,
    68,
    65,
    72,
    80,
    67,
    62,
    75,
    62,
    68,
    67,
    77,
    69,
    79,
    71,
    66,
    83,
    68,
    80,
    71,
    69,
    65,
    68,
    60,
    59,
    69,
    63,
    65,
    76,
    66,
    71,
    91,
    65,
    64,
    67,
    66,
    64,
    65,
    75,
    89,
    59,
    88,
    83,
    83,
    70,
    65,
    74,
    76,
    67,
    75,
    83,
    69,
    67,
    60,
    60,
    66,
    80,
    71,
    61,
    58,
    71,
    67,
    68,
    63,
    87,
    68,
    64,
    68,
    71,
    68,
    71,
    61,
    65,
    67,
    65,
    64,
    60,
    72,
    64,
    70,
    57,
    72,
    64,
    68,
    62,
    74,
    80,
    68,
    70,
    91,
    61,
    66,
    80,
    81,
    74,
    82,
    63,
    83,
    68,
    67,
    77,
    91,
    64,
    61,
    75,
    64,
    66,
    78,
    66,
    64,
    83,
    66,
    74,
    69,
]


def test_the_books_records_splits_and_widths(data_folder: Path, gpt2: GPT2Tokenizer) -> None:
    records = read_instructions(data_folder / "instruction-data.json")
    assert len(records) == 1100
    parts = split_records(records)
    assert [len(part) for part in parts] == [935, 110, 55]
    assert parts[1][0] == records[935]
    manual_seed(123)
    dataset = InstructionDataset(parts[0], gpt2)
    loader = DataLoader(
        dataset, 8, shuffle=True, drop_last=True, collate_fn=partial(collate_instructions, allowed_max_length=1024)
    )
    batches = list(loader)
    assert [inputs.shape for inputs, _ in batches] == [(8, width) for width in WIDTHS]
    assert all(targets.shape == inputs.shape for inputs, targets in batches)
    inputs, targets = batches[-1]  # its first row as the book prints it
    assert inputs[0, -12:].tolist() == [257, 4936, 13] + [50256] * 9
    assert targets[0, -12:].tolist() == [4936, 13, 50256] + [-100] * 9


def test_the_three_stages_on_the_books_batch() -> None:
    pad = 50256
    inputs = [[0, 1, 2, 3, 4], [5, 6, pad, pad, pad], [7, 8, 9, pad, pad]]
    np.testing.assert_array_equal(collate_padded(BATCH), inputs)
    shifted = collate_shifted(BATCH)
    np.testing.assert_array_equal(shifted[0], inputs)
    np.testing.assert_array_equal(shifted[1], [[1, 2, 3, 4, pad], [6, pad, pad, pad, pad], [8, 9, pad, pad, pad]])
    final = collate_instructions(BATCH)
    np.testing.assert_array_equal(final[0], inputs)
    np.testing.assert_array_equal(final[1], [[1, 2, 3, 4, pad], [6, pad, -100, -100, -100], [8, 9, pad, -100, -100]])


def test_a_batch_is_cut() -> None:
    inputs, targets = collate_instructions(BATCH, allowed_max_length=2)
    np.testing.assert_array_equal(inputs, [[0, 1], [5, 6], [7, 8]])
    np.testing.assert_array_equal(targets, [[1, 2], [6, 50256], [8, 9]])
    with pytest.raises(ConfigError, match="allowed_max_length"):
        collate_instructions(BATCH, allowed_max_length=0)


def test_instructions_are_masked_as_in_exercise_7_2() -> None:
    items = [TokenizedRecord([1, 2, 3, 4, 5], 3), TokenizedRecord([6, 7, 8], 1), TokenizedRecord([9], 0)]
    _, targets = collate_instructions(items, pad_id=0, mask_instructions=True)
    np.testing.assert_array_equal(targets, [[-100, -100, 4, 5, 0], [7, 8, 0, -100, -100], [0, -100, -100, -100, -100]])
    _, unmasked = collate_instructions(items, pad_id=0)
    assert unmasked[0, 0] == 2


def test_a_padding_id_inside_a_text_is_learned() -> None:
    _, targets = collate_instructions([[4, 0, 0, 5], [1]], pad_id=0)
    np.testing.assert_array_equal(targets, [[0, 0, 5, 0], [0, -100, -100, -100]])


def test_alpaca_as_the_book_writes_it() -> None:
    style = prompt_style("alpaca")
    begin = (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request."
        "\n\n### Instruction:\n"
    )
    assert style.prompt(WITH_INPUT) == begin + "Say it twice.\n\n### Input:\ngo"
    assert style.prompt(WITHOUT) == begin + "Say hello."
    assert style.answered(WITHOUT) == begin + "Say hello.\n\n### Response:\nhello"


def test_phi3_as_exercise_7_1_writes_it() -> None:
    style = prompt_style("phi3")
    assert style.answered(WITH_INPUT) == "<|user|>\nSay it twice.\ngo\n<|assistant|>:\ngo go"
    assert style.prompt(WITHOUT) == "<|user|>\nSay hello."
    with pytest.raises(ConfigError, match="alpaca, phi3; got 'chatml'"):
        prompt_style("chatml")


@pytest.mark.parametrize("style", PROMPT_STYLES.values())
@pytest.mark.parametrize("record", [WITH_INPUT, WITHOUT])
def test_the_response_comes_back(style: PromptStyle, record: dict[str, str]) -> None:
    assert style.extract_response(style.answered(record, " an answer\n"), record) == "an answer"
    assert style.extract_response(style.prompt(record) + "\nan answer", record) == "an answer"
    assert style.extract_response(style.prompt(record), record) == ""


def test_the_prompt_length_counts_the_prompt(gpt2: GPT2Tokenizer) -> None:
    ids, length = InstructionDataset([WITH_INPUT], gpt2)[0]
    assert gpt2.decode(ids[:length]) == prompt_style("alpaca").prompt(WITH_INPUT)
    assert gpt2.decode(ids[length:]) == "\n\n### Response:\ngo go"


def test_json_lines_and_a_missing_input(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text('{"instruction": "a", "output": "b", "kind": 3}\n')
    assert read_instructions(path) == [{"instruction": "a", "input": "", "output": "b", "kind": 3}]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({}, "list of at least one record; got dict"),
        ([], "at least one record"),
        ([1], "record 0: must be an object with instruction, output; got int"),
        ([WITHOUT, {"instruction": "a"}], "record 1: 'output' must be text; got no such field"),
        ([{**WITHOUT, "input": 3}], "record 0: 'input' must be text; got int"),
    ],
)
def test_records_that_cannot_be_used(tmp_path: Path, content: dict[str, Any] | list[Any], says: str) -> None:
    path = tmp_path / "records.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=says):
        read_instructions(path)


def test_fractions() -> None:
    for fractions in ((0.95, 0.1), (-0.1, 0.5)):
        with pytest.raises(ConfigError, match="fractions"):
            split_records([WITHOUT], *fractions)


def test_a_null_input_is_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "records.json"
    path.write_text('[{"instruction": "a", "input": null, "output": "b"}]')
    assert read_instructions(path) == [{"instruction": "a", "input": "", "output": "b"}]


@pytest.mark.parametrize("given", ["x", "x\n", "x\n\n", "x ", "x \n", "x\n "])
@pytest.mark.parametrize("style", ["alpaca", "phi3"])
def test_the_whole_template_is_learned_whatever_the_input_ends_in(given: str, style: str) -> None:
    tokenizer = BPETokenizer.train("\n\n\n\n### Response:\n\n x\n <|assistant|>:" * 9, 400)
    record = {"instruction": "Do.", "input": given, "output": "Yes."}
    (item,) = InstructionDataset([record], tokenizer, style).items
    written = prompt_style(style)
    assert item.ids == tokenizer.encode(written.answered(record))
    learned = tokenizer.decode(item.ids[item.prompt_length :])
    assert learned.endswith(written.after_prompt(record))
    assert learned.removesuffix(written.after_prompt(record)).isspace() or learned == written.after_prompt(record)
