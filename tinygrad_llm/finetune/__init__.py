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
    from tinygrad_llm.finetune.inference_scaling import (
        best_answer,
        best_of_k,
        majority_answer,
        majority_of_k,
        pass_at_k,
        sample_answers,
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
    from tinygrad_llm.finetune.metrics import ClassificationReport, bleu, confusion_matrix, exact_match, token_f1
    from tinygrad_llm.finetune.ppo import PPO, generalised_advantages, ppo_loss, value_loss
    from tinygrad_llm.finetune.reinforcement import RolloutLoader, RolloutSettings
    from tinygrad_llm.finetune.reward import LearnedReward, evaluate_rewards, reward_loss, right_answers
    from tinygrad_llm.finetune.rollouts import RolloutBatch, add_value_head, sample_rollouts, token_log_probs
    from tinygrad_llm.models import Classifier, ClassifierConfig, RewardModel

__getattr__, __dir__ = lazy_imports(__name__)

__all__ = ["DPO", "GRPO", "PPO", "Answer", "BagOfWords", "ClassificationReport", "Classifier", "ClassifierConfig"]
__all__ += ["DPOOutcome", "InstructionReport", "LearnedReward", "LoRALinear", "PreferenceReport", "RewardModel"]
__all__ += ["RolloutBatch", "RolloutLoader", "RolloutSettings", "add_value_head", "apply_lora", "best_answer"]
__all__ += ["best_of_k", "bleu", "classification_loss", "classify", "confusion_matrix", "constant_answers", "dpo_loss"]
__all__ += ["evaluate_classifier", "evaluate_instructions", "evaluate_preferences", "evaluate_rewards", "exact_match"]
__all__ += ["frozen_copy", "generalised_advantages", "group_advantages", "grpo_loss", "kl_estimate", "load_lora"]
__all__ += ["majority_answer", "majority_of_k", "merge_lora", "merged_state_dict", "pass_at_k", "ppo_loss", "respond"]
__all__ += ["reward_loss", "right_answers", "sample_answers", "sample_rollouts", "save_lora", "sequence_log_probs"]
__all__ += ["token_f1", "token_log_probs", "unmerge_lora", "value_loss"]
