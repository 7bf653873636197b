"""Fine-tuning: a classifier, LoRA, a model that follows instructions, and preferences."""

from tinygrad_llm.finetune.classifier import classification_loss, classify, evaluate_classifier
from tinygrad_llm.finetune.dpo import (
    DPO,
    DPOOutcome,
    PreferenceReport,
    dpo_loss,
    evaluate_preferences,
    frozen_copy,
    sequence_log_probs,
)
from tinygrad_llm.finetune.instructions import (
    Answer,
    InstructionReport,
    constant_answers,
    evaluate_instructions,
    respond,
)
from tinygrad_llm.finetune.lora import (
    LoRALinear,
    apply_lora,
    load_lora,
    merge_lora,
    merged_state_dict,
    save_lora,
    unmerge_lora,
)
from tinygrad_llm.finetune.metrics import ClassificationReport, confusion_matrix, exact_match, token_f1
from tinygrad_llm.models import Classifier, ClassifierConfig

__all__ = ["DPO", "Answer", "ClassificationReport", "Classifier", "ClassifierConfig", "DPOOutcome"]
__all__ += ["InstructionReport", "LoRALinear", "PreferenceReport", "apply_lora", "classification_loss", "classify"]
__all__ += ["confusion_matrix", "constant_answers", "dpo_loss", "evaluate_classifier", "evaluate_instructions"]
__all__ += ["evaluate_preferences", "exact_match", "frozen_copy", "load_lora", "merge_lora", "merged_state_dict"]
__all__ += ["respond", "save_lora", "sequence_log_probs", "token_f1", "unmerge_lora"]
