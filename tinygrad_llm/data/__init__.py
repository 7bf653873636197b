"""From files to batches: reading, windows over token ids, and the loader that shuffles and stacks."""

from tinygrad_llm.data.classification import (
    ClassificationDataset,
    LabelledText,
    balance,
    label_names,
    random_split,
    read_labelled_texts,
)
from tinygrad_llm.data.files import expand_paths, read_json, read_jsonl, read_rows, read_text
from tinygrad_llm.data.loader import DataLoader, collate
from tinygrad_llm.data.padding import END_OF_TEXT_ID, IGNORE_INDEX, pad_right
from tinygrad_llm.data.window_loader import WindowBatches, WindowLoader
from tinygrad_llm.data.windows import SlidingWindows, train_validation_split

__all__ = [
    "END_OF_TEXT_ID", "IGNORE_INDEX", "ClassificationDataset", "DataLoader", "LabelledText", "SlidingWindows",
    "WindowBatches", "WindowLoader", "balance", "collate", "expand_paths", "label_names", "pad_right", "random_split",
    "read_json", "read_jsonl", "read_labelled_texts", "read_rows", "read_text", "train_validation_split",
]  # fmt: skip
