"""Mistakes in the other layers: positions, LayerNorm, residual connections, dropout, weight tying."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.models import GPT
from tinygrad_llm.nn import Module, Parameter, TransformerBlock
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.verify.fault import Fault, Patch


def _embed_without_positions(self: GPT, ids: Any, positions: Any) -> Tensor:
    return self.dropout(self.token_embedding(ids))


def _layer_norm_of_a_sample(_: Any, x: Tensor, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
    centred = x - x.mean(axis=-1, keepdims=True)
    y = centred * (x.var(axis=-1, keepdims=True, correction=1) + eps) ** -0.5 * weight
    return y if bias is None else y + bias


def _part_without_residual(
    self: TransformerBlock, x: Tensor, norm: Module, part: Module, after: Module | None = None, **options: Any
) -> Tensor:
    y = part(norm(x), **options)
    return self.dropout(y if after is None else after(y))


def _dropout_always(dropout: Any, x: Tensor, p: float, training: bool, generator: Any) -> Tensor:
    return dropout(x, p, True, generator)


def _dropout_without_scale(dropout: Any, x: Tensor, p: float, training: bool, generator: Any) -> Tensor:
    y: Tensor = dropout(x, p, training, generator)
    return y * (1 - p) if training and p else y


_correct_init = GPT.__init__


def _init_with_a_copy(self: GPT, *args: Any, **kwargs: Any) -> None:
    _correct_init(self, *args, **kwargs)
    if self.config.tie_weights:
        self.head.weight = Parameter(self.token_embedding.weight.data.copy())


LAYER_FAULTS = (
    Fault(
        name="positions-forgotten",
        caught_by="reached",
        story="Position embeddings exist but are not added: the model does not know the order of the tokens.",
        wrong="x = token_embedding(ids)",
        right="x = token_embedding(ids) + position_embedding(positions)",
        hints=(
            "The model learns, but less well.",
            "A table of parameters is never used.",
            "How does 'dog bites man' differ from 'man bites dog'?",
        ),
        patches=(Patch(GPT, "_embed", _embed_without_positions),),
    ),
    Fault(
        name="wrong-variance",
        caught_by="plain",
        story="LayerNorm divides by C - 1, as statistics does for samples, instead of by C.",
        wrong="x.var(correction=1)",
        right="x.var(correction=0)",
        hints=(
            "It trains as well as ever.",
            "Only weights trained elsewhere give slightly different outputs.",
            "By how many numbers does a variance divide?",
        ),
        ops={"layer_norm": _layer_norm_of_a_sample},
    ),
    Fault(
        name="residual-forgotten",
        caught_by="plain",
        story="The residual connection is missing: each part replaces the residual stream instead of adding to it.",
        wrong="x = part(norm(x))",
        right="x = x + part(norm(x))",
        hints=(
            "It learns slowly, and the deeper the model, the slower.",
            "Compare the gradients of the first and the last layer.",
            "How much of a token's own embedding reaches the last layer?",
        ),
        patches=(Patch(TransformerBlock, "_residual", _part_without_residual),),
    ),
    Fault(
        name="dropout-in-evaluation",
        caught_by="twice",
        story="eval() is not called, or has no effect: dropout stays on when the model is used.",
        wrong="model(ids)",
        right="model.eval(); model(ids)",
        hints=(
            "The training loss is what it should be.",
            "The validation loss is higher than the training loss, from the start.",
            "Run the model twice on the same input.",
        ),
        ops={"dropout": _dropout_always},
    ),
    Fault(
        name="dropout-not-scaled",
        caught_by="dropout",
        story="Dropout zeroes elements but does not scale the others: activations grow when it is switched off.",
        wrong="x * keep",
        right="x * keep / (1 - p)",
        hints=(
            "Training looks right.",
            "The size of activations changes when dropout is switched off.",
            "What is the mean of ones after dropout?",
        ),
        ops={"dropout": _dropout_without_scale},
    ),
    Fault(
        name="tying-by-copy",
        caught_by="tied",
        story="The head gets a copy of the embedding's table instead of the table: they differ after one step.",
        wrong="head.weight = Parameter(embedding.weight.data.copy())",
        right="head.weight = embedding.weight",
        hints=(
            "At the start everything is the same.",
            "The model has more parameters than it should.",
            "Is it one table, or two with the same values?",
        ),
        patches=(Patch(GPT, "__init__", _init_with_a_copy),),
    ),
)
