"""Mistakes around the model: data, loss, optimizer, clipping."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_llm.data import SlidingWindows, WindowLoader
from tinygrad_llm.nn import Module
from tinygrad_llm.optim import AdamW
from tinygrad_llm.optim.optimizer import Optimizer
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train import trainer
from tinygrad_llm.verify.fault import Fault, Patch

_correct_epoch, _correct_window = WindowLoader._epoch, SlidingWindows.__getitem__
_correct_clipping = trainer.clip_grad_norm_


def _epoch_with_inputs_as_targets(self: WindowLoader) -> Iterator[Any]:
    return ((inputs, inputs) for inputs, _ in _correct_epoch(self))


def _window_with_inputs_as_targets(self: SlidingWindows, index: int) -> Any:
    inputs, _ = _correct_window(self, index)
    return inputs, inputs


def _loss_counting_padding(loss: Any, hidden: Tensor, weight: Tensor, targets: Any) -> Tensor:
    return loss(hidden, weight, np.maximum(targets, 0))


def _summed_loss(loss: Any, hidden: Tensor, weight: Tensor, targets: Any) -> Tensor:
    counted = (np.asarray(targets) != -100).sum()
    return loss(hidden, weight, targets) * float(max(1, counted))


def _adamw_step_without_correction(self: AdamW) -> None:
    for group, parameter, grad in self._updates():
        zeros = {"step": 0, "exp_avg": np.zeros_like(grad), "exp_avg_sq": np.zeros_like(grad)}
        state = self.state.setdefault(parameter, zeros)
        (beta1, beta2), lr = group["betas"], group["lr"]
        state["step"] += 1
        state["exp_avg"] = beta1 * state["exp_avg"] + (1 - beta1) * grad
        state["exp_avg_sq"] = beta2 * state["exp_avg_sq"] + (1 - beta2) * grad * grad
        parameter.data *= 1 - lr * group["weight_decay"]
        parameter.data -= lr * state["exp_avg"] / (np.sqrt(state["exp_avg_sq"]) + group["eps"])


def _keep_gradients(self: Any) -> None:
    """zero_grad that does nothing."""


def _clip_each_tensor(parameters: list[Tensor], max_norm: float) -> float:
    return math.sqrt(sum(_correct_clipping([parameter], max_norm) ** 2 for parameter in parameters))


TRAINING_FAULTS = (
    Fault(
        name="targets-not-shifted",
        caught_by="next-token",
        story="The targets are the inputs themselves: the model learns to repeat the token that it reads.",
        wrong="targets = ids[:-1]",
        right="targets = ids[1:]",
        hints=(
            "The loss falls to nearly 0 within a few steps.",
            "Generated text repeats one letter.",
            "Which token is the model asked to predict?",
        ),
        patches=(
            Patch(WindowLoader, "_epoch", _epoch_with_inputs_as_targets),
            Patch(SlidingWindows, "__getitem__", _window_with_inputs_as_targets),
        ),
    ),
    Fault(
        name="padding-counted",
        caught_by="padding",
        story="Padding counts in the loss, as if token 0 were the right answer there.",
        wrong="cross_entropy(logits, targets)",
        right="cross_entropy(logits, targets, ignore_index=-100)",
        hints=(
            "With texts of equal length nothing is wrong.",
            "In a batch of long and short texts, the loss is too low.",
            "What should the model predict after the end of a text?",
        ),
        ops={"linear_cross_entropy": _loss_counting_padding},
    ),
    Fault(
        name="loss-summed",
        caught_by="first-loss",
        story="The loss is the sum over all tokens instead of the mean: it grows with the batch, as do its gradients.",
        wrong='cross_entropy(..., reduction="sum")',
        right='cross_entropy(..., reduction="mean")',
        hints=(
            "The first loss is hundreds of nats.",
            "Gradient clipping hides most of it.",
            "What is the loss of a uniform guess?",
        ),
        ops={"linear_cross_entropy": _summed_loss},
    ),
    Fault(
        name="bias-correction-forgotten",
        caught_by="first-step",
        story="Adam's moments start at 0 and are used without bias correction: its first steps have the wrong length.",
        wrong="p -= lr * m / (sqrt(v) + eps)",
        right="p -= lr * m_hat / (sqrt(v_hat) + eps)",
        hints=(
            "After some hundred steps the effect is gone.",
            "It depends on β₁ and β₂.",
            "How long is the very first step?",
        ),
        patches=(Patch(AdamW, "step", _adamw_step_without_correction),),
    ),
    Fault(
        name="gradients-not-zeroed",
        caught_by="fresh",
        story="zero_grad is not called: each step uses the sum of all gradients since the start.",
        wrong="loss.backward(); optimizer.step()",
        right="loss.backward(); optimizer.step(); optimizer.zero_grad()",
        hints=(
            "The first step is right.",
            "The gradient norm only grows.",
            "What is in .grad before backward?",
        ),
        patches=(Patch(Optimizer, "zero_grad", _keep_gradients), Patch(Module, "zero_grad", _keep_gradients)),
    ),
    Fault(
        name="clipped-per-tensor",
        caught_by="clipping",
        story="Each tensor's gradient is clipped on its own: the step changes direction as well as length.",
        wrong="for p in parameters: clip_grad_norm_([p], 1.0)",
        right="clip_grad_norm_(parameters, 1.0)",
        hints=(
            "No single gradient is too long.",
            "The global norm may exceed the limit.",
            "In which direction does the step go?",
        ),
        patches=(Patch(trainer, "clip_grad_norm_", _clip_each_tensor),),
    ),
)
