"""A reward model: one number for a whole text, read by a new head on the body of a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.errors import ShapeError
from tinygrad_llm.models.classifier import checked_lengths
from tinygrad_llm.nn import Linear, Module
from tinygrad_llm.settings import Settings, setting
from tinygrad_llm.tensor import Tensor


@dataclass(frozen=True)
class RewardModelConfig(Settings):
    """The config of a reward model: that of its body."""

    body: Any = setting(help="the config of the body")


class RewardModel(Module):
    """Token ids to one number per text: a linear head on the last real token's hidden state (Ouyang et al. 2022,
    arXiv:2203.02155).

    `body` is a causal language model, such as a GPT or a Llama. It is changed in place, not copied: its head becomes a
    linear layer to one number, which starts at 0.

    Shapes: ids (B, T), lengths (B,), the number of real tokens, T unless given -> rewards (B,)
    """

    body: Any

    def __init__(self, body: Any) -> None:
        self.config = RewardModelConfig(body.config)
        self.body = body
        body.head = Linear(body.config.embedding_dim, 1).to(body.token_embedding.weight.dtype)
        for parameter in body.head.parameters():
            parameter.data[...] = 0

    def forward(self, ids: Any, lengths: Any = None) -> Tensor:
        """The reward of each text. Shapes: ids (B, T), padded on the right, lengths (B,) -> (B,)"""
        ids = np.asarray(ids)
        if ids.ndim != 2:
            raise ShapeError(f"RewardModel: ids must be (B, T); got {ids.shape}")
        lengths = checked_lengths("RewardModel", ids, lengths)
        hidden = self.body.hidden(ids[:, : lengths.max(initial=1)])
        return self.body.head(hidden[np.arange(len(ids)), lengths - 1]).reshape(-1)
