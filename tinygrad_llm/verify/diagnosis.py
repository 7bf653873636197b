"""Checks of a model before or after training, which find most mistakes within seconds, each with its usual cause.

for finding in diagnose(model, batch, tokenizer, untrained=True):
    print(finding)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from tinygrad_llm.nn import Module
from tinygrad_llm.optim import AdamW, clip_grad_norm_
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train.batch_loss import Loss, language_model_loss
from tinygrad_llm.train.evaluation import evaluating
from tinygrad_llm.verify.finding import Finding

LOSS_TOLERANCE = 0.5  # nats; an untrained GPT's loss differs from ln(vocabulary) by a few hundredths
OVERFITTED = 0.5  # of the first loss; two short sequences are soon memorised
OVERFITTING_STEPS = 150
GRADIENT_RATIO = 1e4  # largest gradient over smallest, by layer; above it they explode or vanish


def diagnose(
    model: Any, batch: Any, tokenizer: Tokenizer, untrained: bool, loss: Loss = language_model_loss
) -> Iterator[Finding]:
    """Check tokenizer, loss, gradients and learning, in this order; the weights are restored afterwards.

    Shapes: batch (inputs, targets), both (B, T)
    """
    yield from _check_tokenizer(model, tokenizer)
    ids = np.concatenate([np.ravel(part) for part in batch])
    if ids.max() >= model.config.vocab_size:
        return  # the model cannot read these ids
    with evaluating(model):
        first = loss(model, batch).item()
    yield _judge_first_loss(first, model.config.vocab_size, untrained)
    if not math.isfinite(first):
        broken = [name for name, p in model.named_parameters() if not np.isfinite(p.data).all()]
        yield Finding(
            not broken,
            f"weights that are not finite: {_listed(broken)}",
            "a run that diverged before it was saved: learning rate too high, no warm-up, no gradient clipping",
        )
        return
    yield from _check_gradients(model, batch, loss)
    yield _overfit(model, batch, loss)


def _check_tokenizer(model: Any, tokenizer: Tokenizer) -> Iterator[Finding]:
    tokens, rows = tokenizer.vocab_size, model.config.vocab_size
    yield Finding(
        tokens == rows,
        f"the tokenizer has {tokens} tokens, the model {rows}",
        "a tokenizer of another run: use the one in the model's folder, or resize_token_embeddings",
    )


def _judge_first_loss(loss: float, vocab_size: int, untrained: bool) -> Finding:
    expected = math.log(vocab_size)
    if untrained:
        return Finding(
            abs(loss - expected) < LOSS_TOLERANCE,
            f"the loss before training is {loss:.3f}; a uniform guess has ln({vocab_size}) = {expected:.3f} nats",
            "far above: initial weights too large, or targets not shifted by one; far below: the answer is among the "
            "inputs, as without a causal mask",
        )
    return Finding(
        loss < expected,
        f"the loss is {loss:.3f}; a uniform guess has ln({vocab_size}) = {expected:.3f} nats",
        "another tokenizer, a different kind of text, or weights that were not loaded",
    )


def _check_gradients(model: Module, batch: Any, loss: Loss) -> Iterator[Finding]:
    """One backward: gradients that are not finite, 0, or of very different sizes (root mean squares by layer)."""
    model.zero_grad()
    loss(model, batch).backward()
    sizes = {
        name: 0.0 if p.grad is None else float(np.sqrt(np.square(p.grad, dtype=np.float64).mean()))
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    model.zero_grad()
    broken = [name for name, size in sizes.items() if not math.isfinite(size)]
    dead = [name for name, size in sizes.items() if size == 0]
    layers: dict[str, float] = {}
    for name, size in sizes.items():
        if math.isfinite(size) and name.endswith("weight"):
            parts = name.split(".")
            layer = ".".join(parts[:2]) if parts[1].isdigit() else parts[0]
            layers[layer] = max(size, layers.get(layer, 0.0))
    shown = ", ".join(f"{layer} {size:.1e}" for layer, size in layers.items())
    yield Finding(
        not broken,
        f"gradients are finite: {_listed(broken) if broken else 'all'}",
        "NaN or infinity in weights, or logits that overflow; in Python, detect_anomaly() names the operation",
    )
    yield Finding(
        not dead,
        f"gradients that are 0: {_listed(dead)}",
        "a layer that the loss does not use, a detach() or no_grad() before the loss, or dead units",
    )
    largest, smallest = max(layers.values(), default=0.0), min(filter(None, layers.values()), default=0.0)
    yield Finding(
        largest <= GRADIENT_RATIO * smallest,
        f"gradients by layer (root mean square): {shown}",
        "exploding or vanishing gradients: initial weights too large or small, a missing norm or residual connection",
    )


def _overfit(model: Module, batch: Any, loss: Loss) -> Finding:
    """Whether the model can memorise one small batch; a model that cannot will not learn more."""
    small = tuple(np.asarray(part)[:2] for part in batch)
    before = {name: array.copy() for name, array in model.state_dict().items()}
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = AdamW(parameters, 3e-3)
    with evaluating(model):
        first = last = loss(model, small).item()
    modes = [(module, module.training) for module in model.modules()]
    model.eval()  # without dropout, which would only slow memorising down
    steps = 0
    try:
        while steps < OVERFITTING_STEPS and math.isfinite(last) and last > OVERFITTED * first:
            steps += 1
            value = loss(model, small)
            last = value.item()
            value.backward()
            clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
    finally:
        model.load_state_dict(before)
        for module, mode in modes:
            module.training = mode
    return Finding(
        last <= OVERFITTED * first,
        f"one batch memorised: loss {first:.3f} to {last:.3f} in {steps} steps",
        "targets that do not depend on the inputs, frozen or dead layers, or a model too small for its vocabulary",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "") if names else "none"
