"""From files to batches: reading, windows over token ids, and the loader that shuffles and stacks."""

from tinygrad_llm.data.files import expand_paths, read_json, read_jsonl, read_rows, read_text
from tinygrad_llm.data.loader import DataLoader, collate
from tinygrad_llm.data.window_loader import WindowBatches, WindowLoader
from tinygrad_llm.data.windows import SlidingWindows, train_validation_split

__all__ = [
    "DataLoader",
    "SlidingWindows",
    "WindowBatches",
    "WindowLoader",
    "collate",
    "expand_paths",
    "read_json",
    "read_jsonl",
    "read_rows",
    "read_text",
    "train_validation_split",
]
