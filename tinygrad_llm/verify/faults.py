"""The fault lab's catalogue: classic mistakes, each of which can be switched on in the real code for a moment.

    with FAULTS["mask-forgotten"].on():
        ...                               # the package now has this mistake; after the block it has it no more

A mistake takes the place of one function, method or property of the package, for all threads, until the block ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_llm.data import SlidingWindows, WindowLoader
from tinygrad_llm.models import GPT, language_model
from tinygrad_llm.nn import (
    KVCache,
    Module,
    MultiHeadAttention,
    Parameter,
    TransformerBlock,
    attention,
    embedding,
    normalization,
)
from tinygrad_llm.nn import dropout as dropout_layer
from tinygrad_llm.ops.attention import attention_weights
from tinygrad_llm.optim import AdamW
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.primitives import arithmetic
from tinygrad_llm.tensor import Array, Gradients, Tensor, record
from tinygrad_llm.train import trainer

Replacement = tuple[Any, str, Any]  # what is changed, the name of its attribute, and what takes its place


@dataclass(frozen=True)
class Fault:
    """A mistake: its name, what it is, the line as it is written wrongly and rightly, hints, and what it replaces.

    `caught_by` is the check, of those in `verify.checks`, that is meant for it.
    """

    name: str
    story: str
    wrong: str
    right: str
    hints: tuple[str, ...]
    caught_by: str
    replaces: Callable[[], list[Replacement]]

    @contextmanager
    def on(self) -> Iterator[None]:
        """Make this mistake inside the block; afterwards, whatever happened, all is as it was."""
        undo: list[Replacement] = []
        try:
            for owner, name, value in self.replaces():
                undo.append((owner, name, vars(owner)[name]))
                setattr(owner, name, value)
            yield
        finally:
            for owner, name, value in reversed(undo):
                setattr(owner, name, value)


FAULTS: dict[str, Fault] = {}


def _fault(
    name: str, caught_by: str, story: str, wrong: str, right: str, *hints: str
) -> Callable[[Callable[[], list[Replacement]]], Callable[[], list[Replacement]]]:
    def enter(replaces: Callable[[], list[Replacement]]) -> Callable[[], list[Replacement]]:
        FAULTS[name] = Fault(name, story, wrong, right, hints, caught_by, replaces)
        return replaces

    return enter


# -- attention


def _attention_with(**changes: Any) -> list[Replacement]:
    real = attention.scaled_dot_product_attention

    def changed(*args: Any, **kwargs: Any) -> Tensor:
        return real(*args, **{**kwargs, **changes})

    return [(attention, "scaled_dot_product_attention", changed)]


@_fault(
    "mask-forgotten",
    "causality",
    "The causal mask is missing: each token sees the token that it has to guess.",
    "softmax(scores)",
    "softmax(scores.masked_fill(future, -inf))",
    "The training loss looks too good to be true.",
    "Generated text is far worse than the loss says.",
    "What can the first token know about the last?",
)
def _mask_forgotten() -> list[Replacement]:
    return _attention_with(is_causal=False)


@_fault(
    "scale-forgotten",
    "plain",
    "Scores are not divided by √D: they grow with the width of a head, and softmax turns into a choice of one.",
    "scores = q @ k.T",
    "scores = q @ k.T / math.sqrt(head_dim)",
    "It learns, only less well; the wider the heads, the worse.",
    "Look at the shares of attention, how sharp they are.",
    "Which number in the paper's formula depends on the size of a head?",
)
def _scale_forgotten() -> list[Replacement]:
    return _attention_with(scale=1.0)


@_fault(
    "wrong-softmax-axis",
    "ones",
    "Softmax runs over the queries, not over the keys: what a token takes does not add up to 1.",
    "softmax(scores, axis=-2)",
    "softmax(scores, axis=-1)",
    "Early tokens take too much, late ones too little.",
    "Attention ought to be a mean.",
    "A mean of ones is one.",
)
def _wrong_softmax_axis() -> list[Replacement]:
    def over_queries(query: Tensor, key: Tensor, value: Tensor, **kwargs: Any) -> Tensor:
        scores = (query * (1 / math.sqrt(query.shape[-1]))) @ key.transpose(-2, -1)
        if kwargs.get("is_causal"):
            future = np.triu(np.ones(scores.shape[-2:], bool), 1 + scores.shape[-1] - scores.shape[-2])
            scores = scores.masked_fill(future, -1e30)
        powers = (scores - scores.data.max(axis=-2, keepdims=True)).exp()
        return (powers / powers.sum(axis=-2, keepdims=True)) @ value

    return [(attention, "scaled_dot_product_attention", over_queries)]


@_fault(
    "heads-split-by-reshape",
    "causality",
    "Heads are cut out by reshape alone, without transpose: tokens and heads are mixed up.",
    "x.reshape(B, H, T, D)",
    "x.reshape(B, T, H, D).transpose(1, 2)",
    "All shapes are right.",
    "The numbers of one token end up at the place of another.",
    "The mask is there, and yet the future leaks.",
)
def _heads_split_by_reshape() -> list[Replacement]:
    def heads(self: MultiHeadAttention, x: Tensor, count: int) -> Tensor:
        return x.reshape(*x.shape[:-2], count, x.shape[-2], self.head_dim)

    return [(MultiHeadAttention, "_heads", heads)]


@_fault(
    "scores-detached",
    "slopes",
    "The shares of attention are computed from arrays, outside the graph: queries and keys never learn.",
    "weights = Tensor(weights.data)",
    "weights stay the Tensor that they are",
    "The forward is right to the last digit.",
    "Some weights are the same after training as before.",
    "Where does the graph end?",
)
def _scores_detached() -> list[Replacement]:
    def detached(query: Tensor, key: Tensor, value: Tensor, **kwargs: Any) -> Tensor:
        weights = attention_weights(query, key, kwargs.get("attn_mask"), bool(kwargs.get("is_causal")))
        return weights.detach() @ value

    return [(attention, "scaled_dot_product_attention", detached)]


@_fault(
    "cache-offset",
    "cache",
    "With a KV cache, the position of a new token is one too low: the cache's last place is counted twice.",
    "positions = arange(cache.length - 1, ...)",
    "positions = arange(cache.length, ...)",
    "Training is perfect, for it has no cache.",
    "Only generated text is off, from its second token on.",
    "Where does a new token stand?",
)
def _cache_offset() -> list[Replacement]:
    return [(KVCache, "length", property(lambda self: max(0, self.layers[0].length - 1)))]


# -- the other layers


@_fault(
    "positions-forgotten",
    "reached",
    "Position embeddings exist but are not added: the model does not know where a token stands.",
    "x = token_embedding(ids)",
    "x = token_embedding(ids) + position_embedding(positions)",
    "It learns, only less.",
    "A table of parameters is never touched.",
    "What tells 'dog bites man' from 'man bites dog'?",
)
def _positions_forgotten() -> list[Replacement]:
    return [(GPT, "_embed", lambda self, ids, positions: self.dropout(self.token_embedding(ids)))]


@_fault(
    "wrong-variance",
    "plain",
    "LayerNorm divides by C - 1, as statistics books do for samples, not by C.",
    "x.var(correction=1)",
    "x.var(correction=0)",
    "It trains as well as ever.",
    "Only weights that others trained give slightly other answers.",
    "How many numbers does a variance divide by?",
)
def _wrong_variance() -> list[Replacement]:
    def layer_norm(x: Tensor, weight: Tensor, bias: Tensor | None = None, eps: float = 1e-5) -> Tensor:
        centred = x - x.mean(axis=-1, keepdims=True)
        y = centred * (x.var(axis=-1, keepdims=True, correction=1) + eps) ** -0.5 * weight
        return y if bias is None else y + bias

    return [(normalization, "layer_norm", layer_norm)]


@_fault(
    "residual-forgotten",
    "plain",
    "The residual connection is missing: each part replaces the stream where it should add to it.",
    "x = part(norm(x))",
    "x = x + part(norm(x))",
    "It learns slowly, and the deeper the model, the slower.",
    "Compare the gradients of the first and the last layer.",
    "What is left of a token's own embedding at the end?",
)
def _residual_forgotten() -> list[Replacement]:
    def residual(self: Any, x: Tensor, norm: Module, part: Module, **reading: Any) -> Tensor:
        return self.dropout(part(norm(x), **reading))

    return [(TransformerBlock, "_residual", residual)]


@_fault(
    "dropout-in-evaluation",
    "twice",
    "eval() is not called, or does nothing: dropout goes on when the model is used.",
    "model(ids)",
    "model.eval(); model(ids)",
    "The training loss is what it should be.",
    "The validation loss is worse than the training loss, from the start.",
    "Ask the same question twice.",
)
def _dropout_in_evaluation() -> list[Replacement]:
    return [(Module, "eval", lambda self: self.train())]


@_fault(
    "dropout-not-scaled",
    "dropout",
    "Dropout zeroes but does not scale what it keeps: activations are larger in evaluation than in training.",
    "x * keep",
    "x * keep / (1 - p)",
    "Training looks sound.",
    "Something changes its size when dropout is switched off.",
    "What is the mean of ones after dropout?",
)
def _dropout_not_scaled() -> list[Replacement]:
    real = dropout_layer.dropout

    def unscaled(x: Tensor, p: float, training: bool, generator: Any) -> Tensor:
        y = real(x, p, training, generator)
        return y * (1 - p) if training and p else y

    return [(dropout_layer, "dropout", unscaled)]


@_fault(
    "tying-by-copy",
    "tied",
    "The head starts with a copy of the embedding's table, not with the table itself: they part at the first step.",
    "head.weight = Parameter(embedding.weight.data.copy())",
    "head.weight = embedding.weight",
    "At the start all is the same.",
    "The model has more parameters than it should.",
    "One table, or two that look alike?",
)
def _tying_by_copy() -> list[Replacement]:
    real = GPT.__init__

    def init(self: GPT, *args: Any, **kwargs: Any) -> None:
        real(self, *args, **kwargs)
        if self.config.tie_weights:
            self.head.weight = Parameter(self.token_embedding.weight.data.copy())

    return [(GPT, "__init__", init)]


# -- backward


@_fault(
    "embedding-overwritten",
    "slopes",
    "The embedding's backward assigns rows: of a token that came twice, only one place counts.",
    "dweight[ids] = dy",
    "np.add.at(dweight, ids, dy)",
    "The forward is right.",
    "Frequent tokens learn least of what they could.",
    "What if an id comes twice?",
)
def _embedding_overwritten() -> list[Replacement]:
    def overwriting(ids: Any, weight: Tensor) -> Tensor:
        rows = np.asarray(ids.data if isinstance(ids, Tensor) else ids)

        def backward(dy: Array) -> Gradients:
            dweight = np.zeros_like(weight.data)
            dweight[rows] = dy
            return (dweight,)

        return record(weight.data[rows], (weight,), backward)

    return [(embedding, "embedding", overwriting)]


@_fault(
    "broadcast-not-summed",
    "slopes",
    "A small array that was broadcast gets the gradient of its first copy, not the sum over all.",
    "return dz[0]",
    "return dz.sum(axis=0)",
    "The forward is right.",
    "It depends on the size of the batch.",
    "Position embeddings serve every text of a batch.",
)
def _broadcast_not_summed() -> list[Replacement]:
    def first_copy(gradient: Array, shape: tuple[int, ...]) -> Array:
        while gradient.ndim > len(shape):
            gradient = gradient[0]
        for axis, size in enumerate(shape):
            if size == 1:
                gradient = gradient.take([0], axis=axis)
        return gradient

    return [(arithmetic, "unbroadcast", first_copy)]


# -- data and loss


@_fault(
    "targets-not-shifted",
    "next-token",
    "Targets are the inputs themselves: the model learns to repeat the token that it sees.",
    "targets = ids[:-1]",
    "targets = ids[1:]",
    "The loss falls to nearly nothing, very soon.",
    "Generated text says one letter again and again.",
    "What is it asked to guess?",
)
def _targets_not_shifted() -> list[Replacement]:
    epoch, item = WindowLoader._epoch, SlidingWindows.__getitem__

    def batches(self: WindowLoader) -> Iterator[Any]:
        return ((inputs, inputs) for inputs, _ in epoch(self))

    def window(self: SlidingWindows, index: int) -> Any:
        return (item(self, index)[0],) * 2

    return [(WindowLoader, "_epoch", batches), (SlidingWindows, "__getitem__", window)]


def _loss_with(change: Callable[[Callable[..., Tensor], Tensor, Tensor, Any], Tensor]) -> list[Replacement]:
    real = language_model.linear_cross_entropy

    def changed(hidden: Tensor, weight: Tensor, targets: Any) -> Tensor:
        return change(real, hidden, weight, np.asarray(targets))

    return [(language_model, "linear_cross_entropy", changed)]


@_fault(
    "padding-counted",
    "padding",
    "Padding counts in the loss, as if token 0 had been the right answer there.",
    "cross_entropy(logits, targets)",
    "cross_entropy(logits, targets, ignore_index=-100)",
    "Texts of one length show nothing.",
    "In a batch of long and short texts, the loss looks too good.",
    "What should the model say after the end?",
)
def _padding_counted() -> list[Replacement]:
    return _loss_with(lambda real, hidden, weight, targets: real(hidden, weight, np.maximum(targets, 0)))


@_fault(
    "loss-summed",
    "first-loss",
    "The loss is the sum over all tokens, not their mean: it, and its gradient, grow with the batch.",
    'cross_entropy(..., reduction="sum")',
    'cross_entropy(..., reduction="mean")',
    "The first loss is hundreds of nats.",
    "Clipping hides most of it.",
    "What does an even guess cost?",
)
def _loss_summed() -> list[Replacement]:
    return _loss_with(
        lambda real, hidden, weight, targets: real(hidden, weight, targets) * float(max(1, (targets != -100).sum()))
    )


# -- optimizing


@_fault(
    "bias-correction-forgotten",
    "first-step",
    "Adam uses its running means as they are, though they start at 0: its first steps have the wrong length.",
    "p -= lr * m / (sqrt(v) + eps)",
    "p -= lr * m_hat / (sqrt(v_hat) + eps)",
    "After some hundred steps nothing is left of it.",
    "It depends on β₁ and β₂.",
    "How long is the very first step?",
)
def _bias_correction_forgotten() -> list[Replacement]:
    def step(self: AdamW) -> None:
        for group, parameter, grad in self._updates():
            zeros = {"step": 0, "exp_avg": np.zeros_like(grad), "exp_avg_sq": np.zeros_like(grad)}
            state = self.state.setdefault(parameter, zeros)
            (beta1, beta2), rate = group["betas"], group["lr"]
            state["step"] += 1
            state["exp_avg"] = beta1 * state["exp_avg"] + (1 - beta1) * grad
            state["exp_avg_sq"] = beta2 * state["exp_avg_sq"] + (1 - beta2) * grad * grad
            parameter.data *= 1 - rate * group["weight_decay"]
            parameter.data -= rate * state["exp_avg"] / (np.sqrt(state["exp_avg_sq"]) + group["eps"])

    return [(AdamW, "step", step)]


@_fault(
    "gradients-not-zeroed",
    "fresh",
    "zero_grad is not called: each step follows the sum of all gradients since the start.",
    "loss.backward(); optimizer.step()",
    "loss.backward(); optimizer.step(); optimizer.zero_grad()",
    "The first step is right.",
    "The norm of the gradient only grows.",
    "What was in .grad before backward?",
)
def _gradients_not_zeroed() -> list[Replacement]:
    return [(Optimizer, "zero_grad", lambda self: None), (Module, "zero_grad", lambda self: None)]


@_fault(
    "clipped-per-tensor",
    "clipping",
    "Each tensor's gradient is clipped by itself: the step is turned, not only shortened.",
    "for p in parameters: clip_grad_norm_([p], 1.0)",
    "clip_grad_norm_(parameters, 1.0)",
    "No single gradient is too long.",
    "The norm of all together may exceed the limit.",
    "In which direction does the step go?",
)
def _clipped_per_tensor() -> list[Replacement]:
    real = trainer.clip_grad_norm_

    def one_by_one(parameters: list[Tensor], max_norm: float) -> float:
        return math.sqrt(sum(real([parameter], max_norm) ** 2 for parameter in parameters))

    return [(trainer, "clip_grad_norm_", one_by_one)]
