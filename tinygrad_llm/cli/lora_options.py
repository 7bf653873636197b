"""`--lora-rank` and its companions, for every command that fine-tunes a language model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.finetune import apply_lora, merged_state_dict
from tinygrad_llm.finetune.lora import LORA_SCALINGS, SCALING_OF_OLD_FILES, LoRAScaling
from tinygrad_llm.nn import Linear
from tinygrad_llm.settings import Settings, setting


@dataclass(frozen=True)
class LoRAOptions(Settings):
    lora_rank: int = setting(0, "rank of the trained low-rank updates; 0: no LoRA, the weights themselves", least=0)
    lora_alpha: float = setting(16.0, "alpha; the updates are multiplied by alpha/rank, or as --lora-scaling says")
    lora_scaling: LoRAScaling = setting(
        "alpha/rank",
        "factor of the updates, alpha/rank as in the paper or alpha as in the printed book",
        choices=LORA_SCALINGS,
    )

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Any:
        """The options that a run records; a run from before `lora_scaling` was recorded used alpha."""
        return super().from_dict({"lora_scaling": SCALING_OF_OLD_FILES, **settings})

    def expect_rank_within(self, width: int) -> None:
        """Raises: ConfigError for a rank above the width of the model"""
        if self.lora_rank > width:
            raise ConfigError(f"--lora-rank must be at most {width}, the width of the model; got {self.lora_rank}")

    def add_updates(self, model: Any) -> Callable[[Any], Mapping[str, Any]] | None:
        """Freeze `model` and add the updates to its linear layers, if there is a rank; returns the `finished_weights`.

        The head has none: it may be tied to the embedding, and merging would untie it.
        """
        if not self.lora_rank:
            return None
        linear = [name for name, layer in model.named_modules() if isinstance(layer, Linear)]
        targets = [name for name in linear if name.rpartition(".")[2] != "head"]
        apply_lora(model, self.lora_rank, self.lora_alpha, targets, self.lora_scaling)
        return merged_state_dict


LORA_SETTINGS = tuple(field.name for field in dataclasses.fields(LoRAOptions))
