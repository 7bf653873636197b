"""Preferences: for each instruction, an answer that was chosen and an answer that was rejected."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.instructions import PromptForm, PromptStyle, Record, prompt_form, read_instructions
from tinygrad_llm.data.padding import END_OF_TEXT_ID, Encoder, pad_right


def read_preferences(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Records with "instruction", "input", "chosen" and "rejected". Raises DataError as `read_instructions`."""
    return read_instructions(path, ("instruction", "chosen", "rejected"))


class TokenizedPreference(NamedTuple):
    """Two whole texts as token ids; `prompt_length` counts the prompt's tokens and the newlines after it."""

    chosen: list[int]
    rejected: list[int]
    prompt_length: int


class PreferenceDataset:
    """Records as pairs of token ids, of different lengths; `collate_preferences` makes batches of them."""

    def __init__(self, records: Sequence[Record], tokenizer: Encoder, style: str | PromptForm = "alpaca") -> None:
        form = prompt_form(style)
        self.items = []
        for record in records:
            chosen, rejected = (form.answered_ids(tokenizer, record, record[name]) for name in ("chosen", "rejected"))
            length = chosen.prompt_length
            if isinstance(form, PromptStyle):
                rest = tokenizer.encode_ordinary(form.after_prompt(record, record["chosen"]).lstrip("\n"))
                length = max(len(chosen.ids) - len(rest), 0)
            self.items.append(TokenizedPreference(chosen.ids, rejected.ids, length))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> TokenizedPreference:
        return self.items[index]


class PreferenceBatch(NamedTuple):
    """Pairs of texts, padded to one length; a mask is True at the tokens of the answer.

    Shapes: each (B, T)
    """

    chosen: NDArray[np.int64]
    rejected: NDArray[np.int64]
    chosen_mask: NDArray[np.bool_]
    rejected_mask: NDArray[np.bool_]

    @property
    def num_targets(self) -> int:
        """The number of losses that the batch's mean is taken over: one per pair."""
        return len(self.chosen)


def collate_preferences(
    batch: Sequence[TokenizedPreference],
    pad_id: int = END_OF_TEXT_ID,
    allowed_max_length: int | None = None,
    mask_prompt: bool = True,
) -> PreferenceBatch:
    """Pad both texts of all pairs to the longest plus one padding id, then cut after `allowed_max_length` ids.

    The masks leave out the padding and, with `mask_prompt`, the prompt, which both texts share and which therefore says
    nothing about which answer is better.

    Shapes: B pairs -> four times (B, T)
    Raises: ConfigError for an allowed_max_length below 1
    """
    if allowed_max_length is not None:
        expect_count("collate_preferences", "allowed_max_length", allowed_max_length)
    width = 1 + max(max(len(pair.chosen), len(pair.rejected)) for pair in batch)
    positions = np.arange(width)
    first = np.array([[pair.prompt_length if mask_prompt else 0] for pair in batch])
    padded, masks = [], []
    for rows in ([pair.chosen for pair in batch], [pair.rejected for pair in batch]):
        padded.append(pad_right(rows, width, pad_id)[:, :allowed_max_length])
        masks.append(((positions >= first) & (positions < [[len(row)] for row in rows]))[:, :allowed_max_length])
    return PreferenceBatch(padded[0], padded[1], masks[0], masks[1])
