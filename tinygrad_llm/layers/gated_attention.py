"""Gated attention: each feature of what the heads found passes a gate that the token itself computes."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.nn.attention import MultiHeadAttention
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.tensor import Tensor


class GatedAttention(MultiHeadAttention):
    """`MultiHeadAttention` with a sigmoid gate before the output projection (Qiu et al. 2025, arXiv:2505.06708).

        y = W_o ([head_1 ... head_H] ⊙ σ(W_g x))

    A head can so add nothing to a token; without a gate, heads send their attention to the first token for that.
    Parameters, shapes and errors are those of `MultiHeadAttention`; `gate` has a weight (H · D, input_dim).
    """

    def __init__(self, *sizes: Any, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self.gate = Linear(self.query.in_features, self.num_heads * self.head_dim, bias=False)

    def _project(self, heads: Tensor, x: Tensor) -> Tensor:
        return super()._project(heads * self.gate(x).sigmoid(), x)
