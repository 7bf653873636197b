"""The forward of a prompt: logits, attention weights, and what switching heads off does to the loss.

Two numbers belong to switching a head off, both of one intervention: its attention weights A become 0, so that it adds
nothing to the input of the attention's output layer. *Measured* is the change of the loss when the prompt is run again
without the head. *Promised* is what the gradient says of it, to first order: -sum(A * dL/dA).
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import no_grad
from tinygrad_llm.lab.packing import quantize
from tinygrad_llm.lab.views import Prompt, View
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.study.activations import Change, edit, zero
from tinygrad_llm.study.recorded_attention import AttentionCall, recorded_attention

INTERVENTION = (
    "the head's attention weights A are set to 0 (study.edit with zero(heads=...)): it adds nothing to the input of "
    "its attention's output layer. Promised: -sum(A * dL/dA), the first order of that change"
)
LONGEST_ABLATION = 20.0  # seconds

Head = tuple[int, int]  # layer and head


def look(view: View, text: str, off: Iterable[Head] = ()) -> dict[str, Any]:
    """The answer `look`: tokens, losses, logits of the next token, all attention weights and their gradients.

    The score behind a weight is ln(weight) + `logSums` of its row, and q · k is that divided by the head's scale.
    """
    prompt = Prompt.of(view, text)
    ids, off = prompt.ids, sorted(set(off))
    has_loss = len(ids) > 1
    with view.looking(), recorded_attention() as calls:
        logits = view.model(ids)
        losses = cross_entropy(logits[:-1], ids[1:], reduction="none") if has_loss else None
        if losses is not None:
            losses.mean().backward()
    gradients = [call.gradient for call in calls] if has_loss else None
    promised = None if gradients is None else np.concatenate([_promised(call) for call in calls])
    answer: dict[str, Any] = {
        **view.describe(),
        "tokens": prompt.tokens(view.tokenizer),
        "leftOut": prompt.left_out,
        "off": None,
    }
    shown, shown_logits, shown_losses = calls, logits.data, None if losses is None else losses.data
    if off:
        expect_heads(off, calls)
        shown_logits, shown_losses, shown = _without(view, ids, off)
        baseline, changed = _mean(None if losses is None else losses.data), _mean(shown_losses)
        answer["off"] = {
            "heads": [f"{layer}.{head}" for layer, head in off],
            "baseline": baseline,
            "loss": changed,
            "measured": None if baseline is None or changed is None else changed - baseline,
            "promised": None if promised is None else float(sum(promised[_place(one, calls)] for one in off)),
            "intervention": INTERVENTION,
        }
    return {
        **answer,
        "loss": _mean(shown_losses),
        "losses": np.zeros(0, np.float32) if shown_losses is None else shown_losses.astype(np.float32),
        "logits": shown_logits[-1].astype(np.float32),
        "heads": {
            "counts": [len(call.shares) for call in calls],
            "tokens": len(ids),
            "shares": quantize(_triangles([call.shares for call in shown]), "u2"),
            "logSums": np.concatenate([_log_sums(call) for call in shown]).astype(np.float32),
            "scales": np.array([call.scale for call in calls for _ in call.shares], np.float32),
            "gradients": None if gradients is None else quantize(_triangles(gradients), "i2"),
            "promised": None if promised is None else promised.astype(np.float32),
        },
    }


def look_at_head(view: View, text: str, layer: int, head: int, off: Iterable[Head] = ()) -> dict[str, Any]:
    """The answer `head`: one head's weights, their gradients and the scores, as they are."""
    prompt, off = Prompt.of(view, text), sorted(set(off))
    ids = prompt.ids
    with view.looking(), _switched_off(view, off), recorded_attention() as calls:
        logits = view.model(ids)
        if len(ids) > 1:
            cross_entropy(logits[:-1], ids[1:]).backward()
    expect_heads([(layer, head), *off], calls)
    call = calls[layer]
    weights = call.shares[head]
    return {
        **view.describe(),
        "layer": layer,
        "head": head,
        "tokens": prompt.tokens(view.tokenizer),
        "shares": weights.astype(np.float32),
        "gradients": call.gradient[head].astype(np.float32) if len(ids) > 1 else None,
        "scores": call.scores[head].astype(np.float32),
        "scale": float(call.scale),
        "visible": (weights != 0).astype(np.uint8),
    }


def ablate(view: View, text: str) -> dict[str, Any]:
    """The answer `ablate`: the measured change of the loss for every head alone. Raises: ConfigError if it is slow"""
    prompt = Prompt.of(view, text, at_least=2)
    started = time.perf_counter()
    with view.looking(), recorded_attention() as calls:
        baseline = _mean(_losses(view.model(prompt.ids), prompt.ids)) or 0.0
    heads = [(layer, head) for layer, call in enumerate(calls) for head in range(len(call.shares))]
    seconds = (time.perf_counter() - started) * len(heads)
    if seconds > LONGEST_ABLATION:
        raise ConfigError(
            f"switching off {len(heads)} heads, one at a time, would take about {seconds:.0f} seconds; the limit is "
            f"{LONGEST_ABLATION:.0f}: use a shorter prompt, or switch single heads off"
        )
    changed = [_mean(_without(view, prompt.ids, [one])[1]) for one in heads]
    return {**view.describe(), "baseline": baseline, "measured": np.array(changed, np.float64) - baseline}


def loss_of(view: View, ids: Array) -> float | None:
    """The mean loss of predicting each next token of `ids`. Units: nats per token"""
    with view.looking(), no_grad():
        return _mean(_losses(view.model(ids), ids))


def _without(view: View, ids: Array, off: list[Head]) -> tuple[Array, Array | None, list[AttentionCall]]:
    """Logits, losses and attention of the prompt with these heads switched off."""
    with view.looking(), no_grad(), _switched_off(view, off), recorded_attention() as calls:
        logits = view.model(ids)
    return logits.data, _losses(logits, ids), calls


def _switched_off(view: View, off: list[Head]) -> Any:
    if not off:
        return nullcontext()
    changes: dict[str, Change] = {}
    for layer in sorted({layer for layer, _ in off}):
        changes[f"blocks.{layer}.attention.weights"] = zero(heads=[head for one, head in off if one == layer])
    return edit(view.model, changes)


def expect_heads(heads: Iterable[Head], calls: list[AttentionCall]) -> None:
    """Raises ConfigError for a head that the model does not have."""
    for layer, head in heads:
        if not 0 <= layer < len(calls) or not 0 <= head < len(calls[layer].shares):
            counts = sorted({len(call.shares) for call in calls})
            raise ConfigError(
                f"a head is LAYER.HEAD, of {len(calls)} layers with {' or '.join(map(str, counts))} heads each, "
                f"counted from 0; got {layer}.{head}"
            )


def _promised(call: AttentionCall) -> Array:
    """-sum(A * dL/dA) of each head. Shapes: -> (H,)"""
    return -(call.shares.astype(np.float64) * call.gradient).sum(axis=(-1, -2))


def _log_sums(call: AttentionCall) -> Array:
    """ln of each row's sum of exp(score) over the keys that it sees: score = ln share + this. Shapes: -> (H, T)

    -inf for a row without shares, as those of a head that is switched off.
    """
    scores = np.where(call.shares > 0, call.scores.astype(np.float64), -np.inf)
    largest = np.nan_to_num(scores.max(axis=-1, keepdims=True), neginf=0.0)
    with np.errstate(divide="ignore"):
        sums: Array = np.log(np.exp(scores - largest).sum(axis=-1)) + largest[..., 0]
    return sums


def _place(head: Head, calls: list[AttentionCall]) -> int:
    return sum(len(call.shares) for call in calls[: head[0]]) + head[1]


def _losses(logits: Any, ids: Array) -> Array | None:
    if len(ids) < 2:
        return None
    losses: Array = cross_entropy(logits[:-1], ids[1:], reduction="none").data
    return losses


def _mean(losses: Array | None) -> float | None:
    return None if losses is None else float(losses.mean(dtype=np.float64))


def _triangles(maps: list[Array]) -> Array:
    """The lower triangles of all heads, row by row. Shapes: a list of (H, T, T) -> (sum of H, T (T + 1) / 2)"""
    lower = np.tril_indices(maps[0].shape[-1])
    return np.concatenate([one[:, lower[0], lower[1]] for one in maps])
