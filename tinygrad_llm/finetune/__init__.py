"""Fine-tuning: a classifier, LoRA, a model that follows instructions, preferences, and reinforcement learning."""

from typing import TYPE_CHECKING

from tinygrad_llm.lazy import lazy_imports

if TYPE_CHECKING:
    from tinygrad_llm.finetune.bag_of_words import BagOfWords
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
    from tinygrad_llm.finetune.grpo import GRPO, group_advantages, grpo_loss, kl_estimate
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
    from tinygrad_llm.finetune.metrics import ClassificationReport, bleu, confusion_matrix, exact_match, token_f1
    from tinygrad_llm.finetune.ppo import PPO, generalised_advantages, ppo_loss, value_loss
    from tinygrad_llm.finetune.reinforcement import RolloutLoader, RolloutSettings
    from tinygrad_llm.finetune.reward import LearnedReward, evaluate_rewards, reward_loss, right_answers
    from tinygrad_llm.finetune.rollouts import RolloutBatch, add_value_head, sample_rollouts, token_log_probs
    from tinygrad_llm.models import Classifier, ClassifierConfig, RewardModel

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = [
    "DPO",
    "GRPO",
    "PPO",
    "Answer",
    "BagOfWords",
    "ClassificationReport",
    "Classifier",
    "ClassifierConfig",
    "DPOOutcome",
]
__all__ += ["InstructionReport", "LearnedReward", "LoRALinear", "PreferenceReport", "RewardModel", "RolloutBatch"]
__all__ += [
    "RolloutLoader",
    "RolloutSettings",
    "add_value_head",
    "apply_lora",
    "bleu",
    "classification_loss",
    "classify",
]
__all__ += ["confusion_matrix", "constant_answers", "dpo_loss", "evaluate_classifier", "evaluate_instructions"]
__all__ += ["evaluate_preferences", "evaluate_rewards", "exact_match", "frozen_copy", "generalised_advantages"]
__all__ += ["group_advantages", "grpo_loss", "kl_estimate", "load_lora", "merge_lora", "merged_state_dict", "ppo_loss"]
__all__ += ["respond", "reward_loss", "right_answers", "sample_rollouts", "save_lora", "sequence_log_probs"]
__all__ += ["token_f1", "token_log_probs", "unmerge_lora", "value_loss"]
