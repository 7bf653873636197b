"""From files to batches: reading texts and records, windows over token ids, datasets and loaders."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.data.classification import (
        ClassificationDataset,
        LabelledText,
        balance,
        label_names,
        random_split,
        read_labelled_texts,
    )
    from tinygrad_llm.data.computed_instructions import TASKS, instruction_tasks
    from tinygrad_llm.data.english_german import sentence_pairs
    from tinygrad_llm.data.files import expand_paths, read_json, read_jsonl, read_rows, read_text
    from tinygrad_llm.data.id_file import IdFile, IdWriter
    from tinygrad_llm.data.instructions import (
        PROMPT_STYLES,
        InstructionDataset,
        PromptForm,
        PromptStyle,
        TokenizedRecord,
        collate_instructions,
        collate_padded,
        collate_shifted,
        fitting_records,
        prompt_style,
        read_instructions,
        split_records,
    )
    from tinygrad_llm.data.loader import DataLoader, collate
    from tinygrad_llm.data.loader_state import expect_state_of
    from tinygrad_llm.data.long_text import LongText
    from tinygrad_llm.data.masking import MASK, MaskedLoader, framed, mask_tokens
    from tinygrad_llm.data.number_words import NumberPairs, english_words, french_words
    from tinygrad_llm.data.padding import END_OF_TEXT_ID, IGNORE_INDEX, pad_right
    from tinygrad_llm.data.preferences import (
        PreferenceBatch,
        PreferenceDataset,
        TokenizedPreference,
        collate_preferences,
        read_preferences,
    )
    from tinygrad_llm.data.random_order import RandomOrder
    from tinygrad_llm.data.rows import count_rows, take_rows
    from tinygrad_llm.data.sentiment import SENTIMENTS, sentiment_texts
    from tinygrad_llm.data.splitting import train_validation_split
    from tinygrad_llm.data.translation import (
        Pair,
        TranslationBatch,
        TranslationDataset,
        collate_translation,
        read_pairs,
    )
    from tinygrad_llm.data.window_batches import WindowBatches
    from tinygrad_llm.data.window_loader import WindowLoader
    from tinygrad_llm.data.windows import SlidingWindows

__all__ = [
    "END_OF_TEXT_ID",
    "IGNORE_INDEX",
    "MASK",
    "PROMPT_STYLES",
    "SENTIMENTS",
    "TASKS",
    "ClassificationDataset",
    "DataLoader",
]
__all__ += ["IdFile", "IdWriter", "InstructionDataset", "LabelledText", "LongText", "MaskedLoader", "NumberPairs"]
__all__ += [
    "Pair",
    "PreferenceBatch",
    "PreferenceDataset",
    "PromptForm",
    "PromptStyle",
    "RandomOrder",
    "SlidingWindows",
    "TokenizedPreference",
]
__all__ += ["TokenizedRecord", "TranslationBatch", "TranslationDataset", "WindowBatches", "WindowLoader", "balance"]
__all__ += ["collate", "collate_instructions", "collate_padded", "collate_preferences", "collate_shifted"]
__all__ += ["collate_translation", "count_rows", "english_words", "expand_paths", "expect_state_of", "fitting_records"]
__all__ += ["framed", "french_words", "instruction_tasks", "label_names", "mask_tokens", "pad_right", "prompt_style"]
__all__ += ["random_split", "read_instructions", "read_json", "read_jsonl", "read_labelled_texts", "read_pairs"]
__all__ += [
    "read_preferences",
    "read_rows",
    "read_text",
    "sentence_pairs",
    "sentiment_texts",
    "split_records",
    "take_rows",
    "train_validation_split",
]

__getattr__, __dir__ = lazy_imports(__name__)
