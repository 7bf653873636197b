"""The gated delta rule: linear attention whose memory is one matrix per head, whatever the length of the text.

A head keeps a state S (D, E) that maps keys to values. Each token first lets the state decay, then corrects it: of the
value that the state already gives for the token's key, a part β is replaced by the token's value (Yang et al. 2024,
arXiv:2412.06464; the delta rule is that of Widrow and Hoff 1960).

    S_t = α_t S_{t-1} + β_t k_t (v_t - (α_t S_{t-1})ᵀ k_t)ᵀ,     o_t = S_tᵀ q_t,     α_t = e^(log_decay_t)

`gated_delta_rule_recurrent` computes this token by token. `gated_delta_rule` gives the same by products of matrices
over chunks of tokens: inside a chunk each token's correction depends linearly on those before it, so all of them are
the solution of one triangular system.
"""

from __future__ import annotations

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.errors import ShapeError
from tinygrad_llm.graph import Gradients, TensorLike, record_operation
from tinygrad_llm.primitives import cat, stack
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor


def gated_delta_rule_recurrent(
    queries: TensorLike,
    keys: TensorLike,
    values: TensorLike,
    log_decay: TensorLike,
    rate: TensorLike,
    state: TensorLike | None = None,
) -> tuple[Tensor, Tensor]:
    """The definition, token by token: what `gated_delta_rule` must equal, gradients included."""
    q, k, v, g, beta, s = _operands(queries, keys, values, log_decay, rate, state)
    outputs = []
    for t in range(q.shape[-2]):
        key = k[..., t, :].unsqueeze(-1)  # (B, H, D, 1)
        s = s * g[..., t].exp().unsqueeze(-1).unsqueeze(-1)
        known = (s * key).sum(axis=-2)
        correction = (v[..., t, :] - known) * beta[..., t].unsqueeze(-1)
        s = s + key * correction.unsqueeze(-2)
        outputs.append((s * q[..., t, :].unsqueeze(-1)).sum(axis=-2))
    return (stack(outputs, axis=-2) if outputs else v * 0.0), s


def gated_delta_rule(
    queries: TensorLike,
    keys: TensorLike,
    values: TensorLike,
    log_decay: TensorLike,
    rate: TensorLike,
    state: TensorLike | None = None,
    chunk: int = 32,
) -> tuple[Tensor, Tensor]:
    """Outputs and the final state of the gated delta rule, over chunks of tokens; see above.

    `log_decay` is at most 0, `rate` β usually in [0, 1]; keys should have length 1. `state` is that of the tokens
    before, 0 unless given.

    Shapes: queries, keys (B, H, T, D), values (B, H, T, E), log_decay, rate (B, H, T), state (B, H, D, E)
            -> outputs (B, H, T, E), state (B, H, D, E)
    Raises: ShapeError if the shapes do not fit; ConfigError for a chunk below 1
    """
    expect_count("gated_delta_rule", "chunk", chunk)
    q, k, v, g, beta, s = _operands(queries, keys, values, log_decay, rate, state)
    outputs = []
    for start in range(0, q.shape[-2], chunk):
        part = slice(start, start + chunk)
        o, s = _chunk(q[..., part, :], k[..., part, :], v[..., part, :], g[..., part], beta[..., part], s)
        outputs.append(o)
    return (cat(outputs, axis=-2) if outputs else v * 0.0), s


def _chunk(q: Tensor, k: Tensor, v: Tensor, g: Tensor, beta: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """The outputs of one chunk, and the state after it.

    With G_i the sum of log_decay up to token i, and decay(i, j) = e^(G_i - G_j), the corrections c_i of the chunk solve

        c_i + β_i Σ_{j<i} decay(i, j) (k_i · k_j) c_j = β_i (v_i - e^(G_i) Sᵀ k_i)
    """
    count = q.shape[-2]
    total = g.cumsum(axis=-1)
    later = np.triu(np.ones((count, count), bool), 1)
    difference = total.unsqueeze(-1) - total.unsqueeze(-2)
    decay = difference.masked_fill(later, -np.inf).exp()  # (B, H, T, T), 0 above the diagonal
    from_start = total.exp().unsqueeze(-1)
    rates = beta.unsqueeze(-1)
    coupling = (rates * (k @ k.transpose(-2, -1)) * decay).masked_fill(np.eye(count, dtype=bool), 0.0)
    corrections = inverse_of_unit_lower(coupling) @ (rates * (v - from_start * (k @ s)))
    outputs = from_start * (q @ s) + (q @ k.transpose(-2, -1) * decay) @ corrections
    last = total[..., -1:]
    to_end = (last - total).exp().unsqueeze(-1)
    s = s * last.exp().unsqueeze(-1) + (k * to_end).transpose(-2, -1) @ corrections
    return outputs, s


def inverse_of_unit_lower(x: TensorLike) -> Tensor:
    """Y = (I + X)⁻¹ for a strictly lower triangular X;  dX = the strictly lower part of -Yᵀ dY Yᵀ.

    What X holds on and above the diagonal is not read.

    Shapes: x (..., T, T) -> (..., T, T)
    Raises: ShapeError for x that is not (..., T, T)
    """
    x = as_tensor(x)
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ShapeError(f"inverse_of_unit_lower: x must be (..., T, T); got {x.shape}")
    y = np.linalg.inv(np.tril(x.data, -1) + np.eye(x.shape[-1], dtype=x.dtype))
    transposed = np.swapaxes(y, -2, -1)

    def backward(dy: Array) -> Gradients:
        return (np.tril(-(transposed @ dy @ transposed), -1),)

    return record_operation(y, (x,), backward)


def _operands(
    queries: TensorLike,
    keys: TensorLike,
    values: TensorLike,
    log_decay: TensorLike,
    rate: TensorLike,
    state: TensorLike | None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """All operands as Tensors, with a state of zeros where there is none. Raises: ShapeError"""
    q, k, v, g, beta = (as_tensor(x) for x in (queries, keys, values, log_decay, rate))
    rows, width = q.shape[:-2], v.shape[-1:]
    expected = {"keys": q.shape, "values": (*q.shape[:-1], *width), "log_decay": q.shape[:-1], "rate": q.shape[:-1]}
    got = {"keys": k.shape, "values": v.shape, "log_decay": g.shape, "rate": beta.shape}
    if state is None:
        state = np.zeros((*rows, *q.shape[-1:], *width), q.dtype)
    s = as_tensor(state)
    expected["state"], got["state"] = (*rows, *q.shape[-1:], *width), s.shape
    for name, shape in expected.items():
        if q.ndim < 2 or got[name] != shape:
            raise ShapeError(
                f"gated_delta_rule: {name} must be {shape} to match queries {q.shape} and values {v.shape}; "
                f"got {got[name]}"
            )
    return q, k, v, g, beta, s
