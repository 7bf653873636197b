"""Pairs of answers: the book's masks, widths and splits."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.data import (
    DataLoader,
    PreferenceDataset,
    TokenizedPreference,
    collate_preferences,
    read_preferences,
    split_records,
)
from tinygrad_llm.errors import ConfigError, DataError
from tinygrad_llm.text import BPETokenizer, GPT2Tokenizer

# What the book's notebook prints for its training batches.
WIDTHS = [
    77,
    81,
    94,
    75,
    75,
    76,
    99,
    71,
    67,
    88,
    65,
    79,
    80,
    97,
    71,
    89,
    75,
    69,
    84,
    79,
    101,
    87,
    73,
    69,
    80,
    68,
    73,
    71,
    91,
    78,
    78,
    71,
    84,
    92,
    71,
    66,
    73,
    73,
    78,
    66,
    76,
    100,
    77,
    92,
    93,
    115,
    81,
    95,
    81,
    94,
    70,
    89,
    90,
    70,
    85,
    65,
    76,
    72,
    84,
    84,
    65,
    63,
    74,
    79,
    93,
    71,
    99,
    81,
    77,
    74,
    75,
    73,
    87,
    80,
    75,
    81,
    86,
    71,
    63,
    82,
    68,
    76,
    68,
    97,
    72,
    85,
    67,
    85,
    87,
    76,
    74,
    92,
    85,
    72,
    93,
    82,
    76,
    93,
    80,
    87,
    69,
    90,
    99,
    104,
    101,
    98,
    79,
    71,
    76,
    79,
    79,
    67,
    84,
    78,
    85,
    70,
]


def test_the_books_batches(data_folder: Path, gpt2: GPT2Tokenizer) -> None:
    records = read_preferences(data_folder / "instruction-data-with-preference.json")
    train, test, validation = split_records(records)
    assert [len(train), len(test), len(validation)] == [935, 110, 55]
    manual_seed(123)
    collate = partial(collate_preferences, allowed_max_length=1024)
    loader = DataLoader(PreferenceDataset(train, gpt2), 8, shuffle=True, drop_last=True, collate_fn=collate)
    batches = list(loader)
    assert [batch.chosen.shape for batch in batches] == [(8, width) for width in WIDTHS]
    assert all(part.shape == batch.chosen.shape for batch in batches for part in batch)

    first = collate_preferences(PreferenceDataset(records[:2], gpt2).items)
    assert first.chosen.shape == (2, 81)
    assert first.num_targets == 2
    # The first pair's mask as the notebook prints it, and what it selects.
    np.testing.assert_array_equal(first.chosen_mask[0], [False] * 50 + [True] * 24 + [False] * 7)
    for ids, mask, record in zip(first.rejected, first.rejected_mask, records[:2], strict=True):
        assert gpt2.decode(ids[mask]) == "### Response:\n" + record["rejected"]
    assert (first.chosen[~first.chosen_mask][-7:] == 50256).all()


def test_masks() -> None:
    pairs = [TokenizedPreference([1, 2, 3, 4], [1, 2, 5], 2), TokenizedPreference([6, 7], [6, 8, 9], 1)]
    batch = collate_preferences(pairs, pad_id=0)
    np.testing.assert_array_equal(batch.chosen, [[1, 2, 3, 4, 0], [6, 7, 0, 0, 0]])
    np.testing.assert_array_equal(batch.rejected, [[1, 2, 5, 0, 0], [6, 8, 9, 0, 0]])
    np.testing.assert_array_equal(batch.chosen_mask, np.array([[0, 0, 1, 1, 0], [0, 1, 0, 0, 0]], bool))
    np.testing.assert_array_equal(batch.rejected_mask, np.array([[0, 0, 1, 0, 0], [0, 1, 1, 0, 0]], bool))
    unmasked = collate_preferences(pairs, pad_id=0, mask_prompt=False, allowed_max_length=3)
    np.testing.assert_array_equal(unmasked.chosen_mask, np.array([[1, 1, 1], [1, 1, 0]], bool))
    assert unmasked.rejected.shape == (2, 3)


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allowed_max_length"):
        collate_preferences([TokenizedPreference([1], [2], 0)], allowed_max_length=0)
    path = tmp_path / "pairs.json"
    path.write_text('[{"instruction": "a", "chosen": "b"}]')
    with pytest.raises(DataError, match="'rejected' must be text; got no such field"):
        read_preferences(path)


@pytest.mark.parametrize("given", ["x", "x\n", "x\n\n"])
def test_the_mask_begins_after_the_newlines_whatever_the_input_ends_in(given: str) -> None:
    tokenizer = BPETokenizer.train("\n\n\n\n### Response:\n\n x\n" * 9, 400)
    record = {"instruction": "Do.", "input": given, "chosen": "Yes.", "rejected": "No."}
    (pair,) = PreferenceDataset([record], tokenizer).items
    assert tokenizer.decode(pair.chosen[pair.prompt_length :]) == "### Response:\nYes."
    assert tokenizer.decode(pair.rejected[pair.prompt_length :]) == "### Response:\nNo."
