"""The training step whose speed is measured, and named presets of its sizes."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from tinygrad_llm.architectures import Architecture, architecture_of_config
from tinygrad_llm.arrays import Array
from tinygrad_llm.models import GPTConfig
from tinygrad_llm.optim import AdamW, clip_grad_norm_
from tinygrad_llm.random import manual_seed
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class Workload:
    """A model's config, the batch of one step (sequences of the full context), and the number of steps to measure."""

    config: Any  # of a model that predicts the next token
    batch_size: int
    steps: int

    @property
    def tokens(self) -> int:
        return self.batch_size * self.config.context_length


def gpt_like_nanogpt(vocab_size: int, context_length: int, embedding_dim: int, heads: int, layers: int) -> GPTConfig:
    """nanoGPT's model: biases everywhere, the head tied to the embedding, no dropout."""
    return GPTConfig(
        vocab_size, context_length, embedding_dim, heads, layers, dropout=0.0, qkv_bias=True, tie_weights=True
    )


PRESETS = {
    "smoke": Workload(gpt_like_nanogpt(65, 16, 32, 2, 2), batch_size=2, steps=3),  # a test of the command itself
    "0.8M": Workload(gpt_like_nanogpt(65, 64, 128, 4, 4), batch_size=12, steps=30),
    "12M": Workload(gpt_like_nanogpt(4096, 128, 384, 6, 6), batch_size=32, steps=5),
    "124M": Workload(gpt_like_nanogpt(50257, 256, 768, 12, 12), batch_size=4, steps=3),  # GPT-2 small
}


def preset_of(architecture: Architecture, name: str) -> Workload:
    """The preset `name` for `architecture`: its config takes those of the GPT's settings that it has too."""
    preset = PRESETS[name]
    if isinstance(preset.config, architecture.config):
        return preset
    known = {field.name for field in fields(architecture.config)}
    settings = {key: value for key, value in preset.config.to_dict().items() if key in known}
    return replace(preset, config=architecture.config_from(settings))


class TrainingStep:
    """Calling it trains a model for one step on the same tokens: forward, backward, clipping, AdamW, in float32.

    It uses the public classes, like any training loop. `seed` seeds the default generator, for the initial weights.
    """

    def __init__(self, workload: Workload, seed: int = 0) -> None:
        manual_seed(seed)
        self.model: Any = architecture_of_config(workload.config).begin(workload.config)
        self.parameters = list(self.model.parameters())
        self.optimizer = AdamW(self.parameters, lr=1e-4, weight_decay=0.1)
        self.ids, self.targets = arbitrary_tokens(workload)

    def __call__(self) -> None:
        self.forward().backward()
        self.update()

    def forward(self) -> Tensor:
        loss: Tensor = self.model.loss(self.ids, self.targets)
        return loss

    def update(self) -> None:
        clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()


def arbitrary_tokens(workload: Workload) -> tuple[Array, Array]:
    """Ids and targets spread over the whole vocabulary: the cost of a step does not depend on the text.

    Shapes: -> ids (B, T), targets (B, T)
    """
    shape, size = (workload.batch_size, workload.config.context_length), workload.config.vocab_size
    ids = np.arange(workload.tokens).reshape(shape) * 7919 % size
    return ids, (ids + 1) % size
