"""From files to batches: reading, windows over token ids, and the loader that shuffles and stacks."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_names

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
    from tinygrad_llm.data.files import expand_paths, read_json, read_jsonl, read_rows, read_text
    from tinygrad_llm.data.id_file import IdFile, IdWriter
    from tinygrad_llm.data.instructions import (
        PROMPT_STYLES,
        InstructionDataset,
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
    from tinygrad_llm.data.rows import count_rows, take_rows
    from tinygrad_llm.data.translation import (
        Pair,
        TranslationBatch,
        TranslationDataset,
        collate_translation,
        read_pairs,
    )
    from tinygrad_llm.data.window_batches import WindowBatches
    from tinygrad_llm.data.window_loader import WindowLoader
    from tinygrad_llm.data.windows import SlidingWindows, train_validation_split

__all__ = [
    "END_OF_TEXT_ID",
    "IGNORE_INDEX",
    "MASK",
    "PROMPT_STYLES",
    "TASKS",
    "ClassificationDataset",
    "DataLoader",
    "IdFile",
    "IdWriter",
    "InstructionDataset",
    "LabelledText",
    "LongText",
    "MaskedLoader",
    "NumberPairs",
    "Pair",
    "PreferenceBatch",
    "PreferenceDataset",
    "PromptStyle",
    "SlidingWindows",
    "TokenizedPreference",
    "TokenizedRecord",
    "TranslationBatch",
    "TranslationDataset",
    "WindowBatches",
    "WindowLoader",
    "balance",
    "collate",
    "collate_instructions",
    "collate_padded",
    "collate_preferences",
    "collate_shifted",
    "collate_translation",
    "count_rows",
    "english_words",
    "expand_paths",
    "fitting_records",
    "framed",
    "french_words",
    "instruction_tasks",
    "label_names",
    "mask_tokens",
    "pad_right",
    "prompt_style",
    "random_split",
    "read_instructions",
    "read_json",
    "read_jsonl",
    "read_labelled_texts",
    "read_pairs",
    "read_preferences",
    "read_rows",
    "read_text",
    "split_records",
    "take_rows",
    "train_validation_split",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "tinygrad_llm.data.classification": (
            "ClassificationDataset",
            "LabelledText",
            "balance",
            "label_names",
            "random_split",
            "read_labelled_texts",
        ),
        "tinygrad_llm.data.files": ("expand_paths", "read_json", "read_jsonl", "read_rows", "read_text"),
        "tinygrad_llm.data.id_file": ("IdFile", "IdWriter"),
        "tinygrad_llm.data.computed_instructions": ("TASKS", "instruction_tasks"),
        "tinygrad_llm.data.instructions": (
            "PROMPT_STYLES",
            "InstructionDataset",
            "PromptStyle",
            "TokenizedRecord",
            "collate_instructions",
            "collate_padded",
            "collate_shifted",
            "fitting_records",
            "prompt_style",
            "read_instructions",
            "split_records",
        ),
        "tinygrad_llm.data.loader": ("DataLoader", "collate"),
        "tinygrad_llm.data.long_text": ("LongText",),
        "tinygrad_llm.data.masking": ("MASK", "MaskedLoader", "framed", "mask_tokens"),
        "tinygrad_llm.data.number_words": ("NumberPairs", "english_words", "french_words"),
        "tinygrad_llm.data.padding": ("END_OF_TEXT_ID", "IGNORE_INDEX", "pad_right"),
        "tinygrad_llm.data.preferences": (
            "PreferenceBatch",
            "PreferenceDataset",
            "TokenizedPreference",
            "collate_preferences",
            "read_preferences",
        ),
        "tinygrad_llm.data.rows": ("count_rows", "take_rows"),
        "tinygrad_llm.data.translation": (
            "Pair",
            "TranslationBatch",
            "TranslationDataset",
            "collate_translation",
            "read_pairs",
        ),
        "tinygrad_llm.data.window_batches": ("WindowBatches",),
        "tinygrad_llm.data.window_loader": ("WindowLoader",),
        "tinygrad_llm.data.windows": ("SlidingWindows", "train_validation_split"),
        "tinygrad_llm.data.mapped": (),
        "tinygrad_llm.data.multiple_choice": (),
        "tinygrad_llm.data.random_order": (),
    },
)
