"""Checks of a GPT and its training: small experiments that correct code passes, each with one claim.

Every check makes its own small model, so that a fault that is switched on affects it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.data import WindowLoader
from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.gradcheck import gradcheck
from tinygrad_llm.graph import no_grad
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.nn import Dropout
from tinygrad_llm.ops import composed_ops, scaled_dot_product_attention
from tinygrad_llm.optim import AdamW
from tinygrad_llm.random import Generator, manual_seed
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.train import trainer
from tinygrad_llm.verify.finding import Finding
from tinygrad_llm.verify.model_cases import give_weights
from tinygrad_llm.verify.op_cases import ids, normal

SMALL = GPTConfig(vocab_size=13, context_length=12, embedding_dim=8, num_heads=2, num_layers=2, dropout=0.0)
TEXT = ids(13, 2, 8)
NEXT = ids(13, 2, 8, 1)[..., 0]
ROUNDING = 1e-9  # float64 numbers of about 1, computed in another order, differ by less


def small_gpt(**changes: Any) -> GPT:
    """A float64 GPT in evaluation mode, none of whose weights is 0 or 1."""
    model = GPT(GPTConfig(**{**SMALL.to_dict(), **changes}))
    give_weights(model)
    return model.to(np.float64).eval()


def _largest_difference(one: Array, other: Array) -> float:
    return float(np.abs(one - other).max(initial=0.0))


# -- the checks; their docstrings are the claims that `faults` prints


def slopes() -> Finding:
    """The gradients of backward equal slopes measured by moving each weight."""
    model = small_gpt()
    report = gradcheck(
        lambda: model.loss(TEXT, NEXT), parameters=dict(model.named_parameters()), elements=1, raise_exception=False
    )
    wrong = [one.name for one in report.comparisons if one.problem]
    listed = f"; wrong: {', '.join(wrong[:3])}{' ...' if len(wrong) > 3 else ''}" if wrong else ""
    return Finding(report.ok, f"{report.cases} slopes, worst relative difference {report.worst_relative:.1e}{listed}")


def fused_equals_composed() -> Finding:
    """Fused ops and their definitions give the same loss."""
    model = small_gpt()
    fast = model.loss(TEXT, NEXT).item()
    with composed_ops():
        slow = model.loss(TEXT, NEXT).item()
    return Finding(abs(fast - slow) < ROUNDING, f"loss {fast:.6f} fused, {slow:.6f} composed")


def plain_numpy() -> Finding:
    """The logits equal those of a GPT in plain NumPy, without this package's layers."""
    model = small_gpt()
    with no_grad():
        difference = _largest_difference(model(TEXT).data, plain_gpt(model, TEXT))
    return Finding(difference < 1e-7, f"the logits differ from plain NumPy by {difference:.1e}")


def causality() -> Finding:
    """A token does not change the logits of earlier positions."""
    model, changed = small_gpt(), TEXT.copy()
    changed[:, -1] = (changed[:, -1] + 1) % 13
    with no_grad():
        difference = _largest_difference(model(TEXT).data[:, :-1], model(changed).data[:, :-1])
    return Finding(difference < ROUNDING, f"with another last token, earlier logits change by {difference:.1e}")


def weights_sum_to_one() -> Finding:
    """Attention weights sum to 1: where every value is 1, so is every output."""
    q, k = Tensor(normal(1, 2, 5, 4)), Tensor(normal(1, 2, 5, 4) + 0.1)
    got = scaled_dot_product_attention(q, k, Tensor(np.ones((1, 2, 5, 4))), is_causal=True).data
    return Finding(
        _largest_difference(got, np.ones_like(got)) < ROUNDING, f"values of 1 become {got.min():.3f} to {got.max():.3f}"
    )


def first_loss() -> Finding:
    """An untrained model predicts all tokens evenly: its loss is near ln V."""
    manual_seed(1)
    config = GPTConfig(vocab_size=64, context_length=16, embedding_dim=32, num_heads=4, num_layers=2, dropout=0.0)
    with no_grad():
        loss = GPT(config, init="gpt2").loss(ids(64, 4, 16), ids(64, 4, 16, 1)[..., 0]).item()
    return Finding(abs(loss - math.log(64)) < 0.1, f"the loss at the start is {loss:.3f}, ln 64 = {math.log(64):.3f}")


def batch_size() -> Finding:
    """The loss is a mean: a batch repeated twice has the loss of the batch."""
    model = small_gpt()
    with no_grad():
        once = model.loss(TEXT, NEXT).item()
        twice = model.loss(np.tile(TEXT, (2, 1)), np.tile(NEXT, (2, 1))).item()
    return Finding(abs(once - twice) < ROUNDING, f"the loss of the batch is {once:.4f}, repeated twice {twice:.4f}")


def padding() -> Finding:
    """Padding at the end of a text does not change its loss."""
    model, short = small_gpt(), NEXT.copy()
    short[:, 5:] = -100
    with no_grad():
        padded, cut = model.loss(TEXT, short).item(), model.loss(TEXT[:, :5], NEXT[:, :5]).item()
    return Finding(abs(padded - cut) < ROUNDING, f"the loss is {padded:.4f} with padding, {cut:.4f} without")


def cache() -> Finding:
    """Logits computed token by token with a KV cache equal those computed at once."""
    model = small_gpt()
    with no_grad():
        held = model.new_cache()
        steps = np.concatenate([model(TEXT[:, t : t + 1], cache=held).data for t in range(TEXT.shape[1])], axis=1)
        difference = _largest_difference(steps, model(TEXT).data)
    return Finding(difference < ROUNDING, f"cached and uncached logits differ by {difference:.1e}")


def evaluated_twice() -> Finding:
    """In evaluation mode, the same input gives the same logits twice."""
    manual_seed(1)
    model = small_gpt(dropout=0.5).train()
    model.eval()
    with no_grad():
        difference = _largest_difference(model(TEXT).data, model(TEXT).data)
    return Finding(difference == 0, f"two evaluations differ by {difference:.1e}")


def dropout_keeps_the_mean() -> Finding:
    """Dropout preserves the expected value of its input."""
    layer = Dropout(0.5, Generator(1))
    mean = float(layer(Tensor(np.ones(20_000))).data.mean())
    return Finding(abs(mean - 1) < 0.05, f"after dropout with p = 0.5, ones have the mean {mean:.3f}")


def first_step() -> Finding:
    """Adam's first step moves every weight by the learning rate."""
    weight = Tensor(np.ones(6), requires_grad=True)
    optimizer = AdamW([weight], lr=0.01, weight_decay=0.0)
    weight.grad = np.array([1e-3, -0.1, 0.5, 3.0, -20.0, 100.0])
    optimizer.step()
    moved = float(np.abs(weight.data - 1).max()) / 0.01
    return Finding(abs(moved - 1) < 1e-3, f"the first step is {moved:.3f} times the learning rate")


def gradient_starts_at_zero() -> Finding:
    """After zero_grad, the gradient is that of the next batch alone."""
    model = small_gpt()
    optimizer = AdamW(list(model.parameters()), lr=1e-3)
    norms = []
    for _ in range(2):
        model.loss(TEXT, NEXT).backward()
        norms.append(math.sqrt(sum(float(np.square(p.grad).sum()) for p in model.parameters() if p.grad is not None)))
        optimizer.zero_grad()
    return Finding(
        abs(norms[1] - norms[0]) < ROUNDING,
        f"the gradient norm of the same batch is {norms[0]:.4f}, then {norms[1]:.4f}",
    )


def clipping_keeps_the_direction() -> Finding:
    """Clipping shortens the gradient and keeps its direction."""
    parts = [Tensor(np.zeros(4), requires_grad=True) for _ in range(3)]
    for factor, part in zip((0.2, 2.0, 40.0), parts, strict=True):
        part.grad = factor * normal(4)
    before = np.concatenate([part.grad for part in parts])
    trainer.clip_grad_norm_(parts, 1.0)
    after = np.concatenate([part.grad for part in parts])
    cosine = float(before @ after / np.linalg.norm(before) / np.linalg.norm(after))
    norm = float(np.linalg.norm(after))
    ok = cosine > 1 - ROUNDING and norm <= 1 + ROUNDING
    return Finding(ok, f"the cosine of the gradients before and after clipping is {cosine:.4f}, the norm {norm:.3f}")


def tied() -> Finding:
    """Tied embedding and head are still equal after a step."""
    model = small_gpt(tie_weights=True)
    optimizer = AdamW(list(model.parameters()), lr=0.1)
    model.loss(TEXT, NEXT).backward()
    optimizer.step()
    difference = _largest_difference(model.head.weight.data, model.token_embedding.weight.data)
    return Finding(difference == 0, f"after a step, embedding and head differ by {difference:.3f}")


def every_part_learns() -> Finding:
    """Every parameter gets a gradient that is not all 0."""
    model = small_gpt()
    model.loss(TEXT, NEXT).backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    return Finding(not dead, f"parameters without a gradient: {', '.join(dead[:3]) if dead else 'none'}")


def next_token() -> Finding:
    """The target at each position is the input at the next."""
    inputs, targets = next(iter(WindowLoader(np.arange(400) % 50, 8, 4, Generator(0))))
    right = float(np.mean(inputs[:, 1:] == targets[:, :-1]))
    return Finding(right == 1, f"{right:.0%} of the targets are the next input")


CHECKS: dict[str, Callable[[], Finding]] = {
    "slopes": slopes,
    "fused": fused_equals_composed,
    "plain": plain_numpy,
    "causality": causality,
    "ones": weights_sum_to_one,
    "first-loss": first_loss,
    "batch": batch_size,
    "padding": padding,
    "cache": cache,
    "twice": evaluated_twice,
    "dropout": dropout_keeps_the_mean,
    "first-step": first_step,
    "fresh": gradient_starts_at_zero,
    "clipping": clipping_keeps_the_direction,
    "tied": tied,
    "reached": every_part_learns,
    "next-token": next_token,
}


def run_check(name: str) -> Finding:
    """The finding of a check; an error that it raises is a finding too."""
    try:
        with np.errstate(all="ignore"):
            return CHECKS[name]()
    except (TinygradLLMError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        return Finding(False, f"{type(error).__name__}: {error}")


def claim(name: str) -> str:
    """What the check `name` asserts, in one sentence."""
    return (CHECKS[name].__doc__ or "").strip()


# -- the reference for `plain_numpy`


def plain_gpt(model: GPT, ids_of_texts: Array) -> Array:
    """The logits of `model`, from its weights alone, with loops over texts, heads and tokens.

    Shapes: ids_of_texts (B, T) -> (B, T, V)
    """
    w, config = model.state_dict(), model.config
    head_dim = config.embedding_dim // config.num_heads

    def norm(x: Array, at: str) -> Array:
        mean = x.mean(axis=-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + config.norm_eps) * w[f"{at}.weight"] + w[f"{at}.bias"]

    logits = []
    for text in ids_of_texts:
        x = w["token_embedding.weight"][text] + w["position_embedding.weight"][: len(text)]
        for layer in range(config.num_layers):
            at = f"blocks.{layer}"
            y = norm(x, f"{at}.norm1")
            q, k, v = (y @ w[f"{at}.attention.{part}.weight"].T for part in ("query", "key", "value"))
            mixed = np.zeros_like(q)
            for head, token in itertools.product(range(config.num_heads), range(len(text))):
                columns = slice(head * head_dim, (head + 1) * head_dim)
                powers = np.exp(k[: token + 1, columns] @ q[token, columns] / math.sqrt(head_dim))
                mixed[token, columns] = powers / powers.sum() @ v[: token + 1, columns]
            x = x + mixed @ w[f"{at}.attention.output.weight"].T + w[f"{at}.attention.output.bias"]
            y = norm(x, f"{at}.norm2")
            y = y @ w[f"{at}.feed_forward.up.weight"].T + w[f"{at}.feed_forward.up.bias"]
            y = 0.5 * y * (1 + np.tanh(math.sqrt(2 / math.pi) * (y + 0.044715 * y**3)))
            x = x + y @ w[f"{at}.feed_forward.down.weight"].T + w[f"{at}.feed_forward.down.bias"]
        logits.append(norm(x, "final_norm") @ w["head.weight"].T)
    return np.array(logits)
