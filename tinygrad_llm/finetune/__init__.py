"""Fine-tuning: a classifier, LoRA, a model that follows instructions, and preferences."""

from tinygrad_llm.finetune.classifier import (
    GPTClassifier,
    GPTClassifierConfig,
    classification_loss,
    classify,
    evaluate_classifier,
)
from tinygrad_llm.finetune.lora import (
    LoRALinear,
    apply_lora,
    load_lora,
    merge_lora,
    save_lora,
    unmerge_lora,
)
from tinygrad_llm.finetune.metrics import ClassificationReport, confusion_matrix, exact_match, token_f1

__all__ = [
    "ClassificationReport", "GPTClassifier", "GPTClassifierConfig", "LoRALinear", "apply_lora", "classification_loss",
    "classify", "confusion_matrix", "evaluate_classifier", "exact_match", "load_lora", "merge_lora", "save_lora",
    "token_f1", "unmerge_lora",
]  # fmt: skip
