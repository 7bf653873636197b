"""Mistakes in attention: mask, scale, softmax axis, split into heads, graph, KV cache."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm.nn import KVCache, MultiHeadAttention
from tinygrad_llm.ops.attention import attention_weights
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.verify.fault import Fault, Patch

ATTENTION = "scaled_dot_product_attention"


def _without_mask(attention: Any, *operands: Tensor, **options: Any) -> Tensor:
    return attention(*operands, **{**options, "is_causal": False})


def _without_scale(attention: Any, *operands: Tensor, **options: Any) -> Tensor:
    return attention(*operands, **{**options, "scale": 1.0})


def _softmax_over_queries(_: Any, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    scores = (query * (1 / math.sqrt(query.shape[-1]))) @ key.transpose(-2, -1)
    if options.get("is_causal"):
        future = np.triu(np.ones(scores.shape[-2:], bool), 1 + scores.shape[-1] - scores.shape[-2])
        scores = scores.masked_fill(future, -1e30)
    powers = (scores - scores.data.max(axis=-2, keepdims=True)).exp()
    return (powers / powers.sum(axis=-2, keepdims=True)) @ value


def _with_detached_weights(_: Any, query: Tensor, key: Tensor, value: Tensor, **options: Any) -> Tensor:
    weights = attention_weights(query, key, options.get("attn_mask"), bool(options.get("is_causal")))
    return weights.detach() @ value


def _heads_by_reshape(self: MultiHeadAttention, x: Tensor, count: int) -> Tensor:
    return x.reshape(*x.shape[:-2], count, x.shape[-2], self.head_dim)


def _length_minus_one(self: KVCache) -> int:
    return max(0, self.layers[0].length - 1)


ATTENTION_FAULTS = (
    Fault(
        name="mask-forgotten",
        caught_by="causality",
        story="The causal mask is missing: each position attends to the token that it has to predict.",
        wrong="softmax(scores)",
        right="softmax(scores.masked_fill(future, -inf))",
        hints=(
            "The training loss is lower than it can be.",
            "Generated text is far worse than the loss suggests.",
            "What can the first token know about the last?",
        ),
        ops={ATTENTION: _without_mask},
    ),
    Fault(
        name="scale-forgotten",
        caught_by="plain",
        story="Scores are not divided by √D: they grow with the head's width, and softmax picks nearly one key.",
        wrong="scores = q @ k.T",
        right="scores = q @ k.T / math.sqrt(head_dim)",
        hints=(
            "The model learns, but less well; the wider the heads, the worse.",
            "The attention weights are close to 0 and 1.",
            "Which number in the paper's formula depends on the width of a head?",
        ),
        ops={ATTENTION: _without_scale},
    ),
    Fault(
        name="wrong-softmax-axis",
        caught_by="ones",
        story="Softmax runs over the queries instead of the keys: a query's attention weights do not add up to 1.",
        wrong="softmax(scores, axis=-2)",
        right="softmax(scores, axis=-1)",
        hints=(
            "The outputs of early tokens are too large, those of late tokens too small.",
            "Attention is a weighted mean.",
            "The mean of ones is one.",
        ),
        ops={ATTENTION: _softmax_over_queries},
    ),
    Fault(
        name="heads-split-by-reshape",
        caught_by="causality",
        story="Heads are split by reshape alone, without a transpose: tokens and heads are mixed up.",
        wrong="x.reshape(B, H, T, D)",
        right="x.reshape(B, T, H, D).transpose(1, 2)",
        hints=(
            "All shapes are right.",
            "Features of one token end up at the position of another.",
            "The mask is applied, and yet the future leaks.",
        ),
        patches=(Patch(MultiHeadAttention, "_heads", _heads_by_reshape),),
    ),
    Fault(
        name="scores-detached",
        caught_by="slopes",
        story="Attention weights are computed outside the graph: queries and keys get no gradient.",
        wrong="weights = Tensor(weights.data)",
        right="weights stay the Tensor that the graph knows",
        hints=(
            "The forward is right to the last digit.",
            "Some weights are the same after training as before.",
            "Where does the graph end?",
        ),
        ops={ATTENTION: _with_detached_weights},
    ),
    Fault(
        name="cache-offset",
        caught_by="cache",
        story="With a KV cache, the position of a new token is too low by one: two tokens share a position.",
        wrong="positions = arange(cache.length - 1, ...)",
        right="positions = arange(cache.length, ...)",
        hints=(
            "Training, which uses no cache, is right.",
            "Only generated text is wrong, from its second token on.",
            "Which position does a new token have?",
        ),
        patches=(Patch(KVCache, "length", property(_length_minus_one)),),
    ),
)
