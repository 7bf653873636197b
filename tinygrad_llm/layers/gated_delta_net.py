"""Gated DeltaNet: attention with a state of fixed size in place of a cache that grows with the text."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.errors import ConfigError, GraphError
from tinygrad_llm.functions.activation import silu
from tinygrad_llm.functions.delta_rule import gated_delta_rule
from tinygrad_llm.functions.elementwise import softplus
from tinygrad_llm.functions.statistics import normalize
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.layers.kv_cache import LayerCache
from tinygrad_llm.layers.rms_norm import RMSNorm
from tinygrad_llm.nn import init
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module, Parameter
from tinygrad_llm.primitives import cat
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor


class GatedDeltaNet(Module):
    """A layer in the place of attention whose heads each keep one matrix (Yang et al. 2024, arXiv:2412.06464).

        q, k, v = heads of silu(conv(W x)),   k and q of length 1,   β = σ(W_β x),   log α = -A · softplus(W_α x + b)
        o = gated_delta_rule(q / √D, k, v, log α, β)          (see functions/delta_rule.py)
        y = W_o (RMSNorm(o) ⊙ silu(W_z x))

    `conv` mixes each feature over the last `conv_width` tokens. It is causal and needs no positions: the decay orders
    the tokens. Reading a text costs time proportional to its length, and its state has the same size after any number
    of tokens: H · D · E numbers, and the last conv_width - 1 inputs of the convolution.

    Shapes: x (B, T, C) -> (B, T, C), where C = embedding_dim, H = num_heads, D = head_dim, E = value_dim
    Raises: ConfigError for a size that is not an integer of at least 1
    """

    causal = True

    def __init__(
        self,
        embedding_dim: int,
        num_heads: int,
        *,
        head_dim: int | None = None,
        value_dim: int | None = None,
        conv_width: int = 4,
        chunk: int = 32,
        norm_eps: float = 1e-6,
    ) -> None:
        head_dim = embedding_dim // num_heads if head_dim is None else head_dim
        value_dim = head_dim if value_dim is None else value_dim
        expect_sizes(
            "GatedDeltaNet",
            embedding_dim=embedding_dim,
            num_heads=num_heads,
            head_dim=head_dim,
            value_dim=value_dim,
            conv_width=conv_width,
            chunk=chunk,
        )
        self.num_heads, self.head_dim, self.value_dim = num_heads, head_dim, value_dim
        self.conv_width, self.chunk = conv_width, chunk
        features = num_heads * (2 * head_dim + value_dim)
        self.qkv = Linear(embedding_dim, features, bias=False)
        self.conv_weight = Parameter(np.zeros((conv_width, features), np.float32))
        self.rate = Linear(embedding_dim, num_heads, bias=False)
        self.decay = Linear(embedding_dim, num_heads)
        self.log_a = Parameter(np.zeros(num_heads, np.float32))
        self.gate = Linear(embedding_dim, num_heads * value_dim, bias=False)
        self.norm = RMSNorm(value_dim, norm_eps)
        self.output = Linear(num_heads * value_dim, embedding_dim, bias=False)
        self.initialize_memory()

    def initialize_memory(self) -> None:
        """Draw the convolution, and give the heads decays from slow to fast.

        As in Mamba 2 (Dao and Gu 2024, arXiv:2405.21060), A is between 1 and 16, and softplus(b) between 0.001 and 0.1:
        at first a head's state loses half in between 0.4 and 700 tokens.
        """
        heads, dtype = self.num_heads, self.log_a.dtype
        self.conv_weight.data = init.uniform(init.fan_in_bound(self.conv_width), self.conv_weight.shape).astype(dtype)
        self.log_a.data = np.log(np.linspace(1.0, 16.0, heads)).astype(dtype)
        rate = np.geomspace(0.001, 0.1, heads)
        self.decay.bias = Parameter(np.log(np.expm1(rate)), dtype=dtype)  # softplus(b) = rate

    def forward(
        self, x: TensorLike, mask: TensorLike | None = None, cache: StateCache | None = None, positions: Any = None
    ) -> Tensor:
        """Read x after what the cache has read. `mask` marks padding on the left, as `generate` gives it; `positions`
        are not needed.

        Shapes: x (B, T, C), mask (B, 1, 1, S), True at the real tokens of the S read so far -> (B, T, C)
        Raises: GraphError for a cache while gradients are recorded; ConfigError for a mask of another form
        """
        x = as_tensor(x)
        batched = x if x.ndim == 3 else x.unsqueeze(0)
        real = self._real_tokens(mask, batched.shape[-2])
        features = self.qkv(batched)
        if real is not None:  # padding must leave neither the convolution nor the state a trace
            features = features * real[..., None].astype(features.dtype)
        padded = self._after_recent(features, None if cache is None else cache.recent)
        mixed = silu(self._convolved(padded))
        width = self.num_heads * self.head_dim
        queries, keys = (self._heads(mixed[..., part : part + width]) for part in (0, width))
        values = self._heads(mixed[..., 2 * width :])
        rate, log_decay = self._rate_and_decay(batched, real)
        outputs, state = gated_delta_rule(
            normalize(queries) * (1 / math.sqrt(self.head_dim)),
            normalize(keys),
            values,
            log_decay,
            rate,
            None if cache is None else cache.state,
            self.chunk,
        )
        if cache is not None:
            if state.requires_grad:
                raise GraphError("GatedDeltaNet: no gradient flows through a cache; use it under no_grad()")
            cache.advance(state.data, padded.data, features.shape[-2])
        gated = self.norm(outputs.transpose(-3, -2)) * silu(self._tokens_first(self.gate(batched)))
        y = self.output(gated.reshape(*batched.shape[:-1], self.num_heads * self.value_dim))
        return y if x.ndim == 3 else y.squeeze(0)

    def new_cache(self) -> StateCache:
        """An empty cache for this layer."""
        return StateCache()

    @property
    def cache_width(self) -> int:
        """How many numbers a cache keeps per token: none, its size does not depend on the text."""
        return 0

    @property
    def state_size(self) -> int:
        """How many numbers a cache keeps whatever the length of the text: the state, and the convolution's inputs."""
        return self.num_heads * self.head_dim * self.value_dim + (self.conv_width - 1) * self.qkv.out_features

    def _after_recent(self, features: Tensor, recent: Array | None) -> Tensor:
        """The input of the convolution: the features after `recent`, or after zeros.

        Shapes: features (B, T, F), recent (B, conv_width - 1, F) -> (B, conv_width - 1 + T, F)
        """
        if recent is None:
            recent = np.zeros((features.shape[0], self.conv_width - 1, features.shape[-1]), features.dtype)
        return cat([Tensor(recent), features], axis=-2)

    def _convolved(self, padded: Tensor) -> Tensor:
        """Each feature as a weighted sum of its last `conv_width` values.

        Shapes: padded (B, conv_width - 1 + T, F) -> (B, T, F)
        """
        length = padded.shape[-2] - self.conv_width + 1
        shifted = [padded[:, start : start + length] * self.conv_weight[start] for start in range(self.conv_width)]
        return sum(shifted[1:], shifted[0])

    def _rate_and_decay(self, x: Tensor, real: Array | None) -> tuple[Tensor, Tensor]:
        """β and log α of each token and head; padding has β = 0 and α = 1. Shapes: x (B, T, C) -> (B, H, T) twice"""
        rate = self.rate(x).sigmoid().transpose(-2, -1)
        log_decay = -(softplus(self.decay(x)) * self.log_a.exp()).transpose(-2, -1)
        if real is not None:
            padding = ~real[:, None, :]
            rate, log_decay = rate.masked_fill(padding, 0.0), log_decay.masked_fill(padding, 0.0)
        return rate, log_decay

    def _real_tokens(self, mask: TensorLike | None, length: int) -> Array | None:
        """Which of the last `length` tokens are no padding. Shapes: -> (B, T) booleans"""
        if mask is None:
            return None
        visible = np.asarray(as_tensor(mask).data)
        if visible.dtype.kind != "b" or visible.ndim != 4 or visible.shape[1:3] != (1, 1) or visible.shape[-1] < length:
            raise ConfigError(
                "GatedDeltaNet: mask must be booleans (B, 1, 1, S), True at tokens that are no padding; got "
                f"{visible.dtype} {visible.shape}"
            )
        return visible[:, 0, 0, -length:]

    def _tokens_first(self, x: Tensor) -> Tensor:
        """(B, T, H · D) -> (B, T, H, D)."""
        return x.reshape(*x.shape[:-1], self.num_heads, x.shape[-1] // self.num_heads)

    def _heads(self, x: Tensor) -> Tensor:
        """(B, T, H · D) -> (B, H, T, D)."""
        return self._tokens_first(x).transpose(-3, -2)

    def extra_repr(self) -> str:
        return f"num_heads={self.num_heads}, head_dim={self.head_dim}, value_dim={self.value_dim}"


class StateCache(LayerCache):
    """What a `GatedDeltaNet` keeps of the tokens it has read: its state, and the last inputs of its convolution.

    A state cannot go back: `truncate` to fewer tokens forgets everything, and the text must be read again.

    Shapes: state (B, H, D, E), recent (B, conv_width - 1, F); None before the first token
    """

    def __init__(self) -> None:
        super().__init__(0)
        self.state: Array | None = None
        self.recent: Array | None = None

    def advance(self, state: Array, padded: Array, length: int) -> None:
        """Keep the state after `length` new tokens, and the end of the convolution's input `padded`."""
        self.length += length
        self.state, self.recent = state, padded[:, length:].copy()

    @property
    def nbytes(self) -> int:
        """The memory of its arrays. Units: bytes"""
        return 0 if self.state is None or self.recent is None else self.state.nbytes + self.recent.nbytes

    def truncate(self, length: int) -> None:
        """Forget everything if `length` is less than what was read. Raises: ConfigError for more than that"""
        if not 0 <= length <= self.length:
            raise ConfigError(f"cache: can be cut to a length in 0..{self.length}, what it has read; got {length}")
        if length < self.length:
            self.length, self.state, self.recent = 0, None, None

    def select(self, rows: Array) -> None:
        """Make sequence rows[i] the new sequence i; see `LayerCache.select`. Shapes: rows (N,)"""
        if self.state is not None and self.recent is not None:
            self.state, self.recent = self.state[rows], self.recent[rows]
