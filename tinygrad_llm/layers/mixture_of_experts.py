"""Mixture of experts: several feed-forward layers, of which each token uses the few that a router chooses.

E experts of hidden size F, of which each token uses k, compared with one dense layer of hidden size F (both gated,
embedding size C):

    parameters              E · 3 · C · F + E · C       against  3 · C · F
    FLOPs per token         k · 6 · C · F + 2 · E · C   against  6 · C · F
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_sizes
from tinygrad_llm.errors import ConfigError, GraphError
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.nn.module import Module, ModuleList
from tinygrad_llm.ops.softmax import softmax
from tinygrad_llm.primitives import cat
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor


class MixtureOfExperts(Module):
    """A router sends each token to its `experts_per_token` most likely experts, and their outputs are mixed.

        p = softmax(router(x)),  y = Σ g_e · expert_e(x)  over the k most likely e

    With one expert per token its gate g is p itself, as in the Switch Transformer (Fedus et al. 2021,
    arXiv:2101.03961): through it the router has a gradient. With more, the k gates are scaled to sum to 1, as in
    Mixtral (Jiang et al. 2024, arXiv:2401.04088). `normalize_gates` says for any k whether they are. The choice itself
    has no gradient. An expert has no capacity limit.

    `expert` is called once per expert and makes it. `balance` is the weight of `balance_loss`, which a language model
    adds to its loss in training.

    Where several workers share the rows of a batch, `sum_over_rows` sums the counts of tokens over all of them. It also
    returns the targets of the batch divided by those of these rows: the trainer multiplies the whole loss by the
    inverse, but the balance loss must be weighted by tokens.

    Shapes: x (..., C) -> (..., C), where C = embedding_dim
    Raises: ConfigError for a size that is not an integer of at least 1, or more experts per token than experts
    """

    def __init__(
        self,
        embedding_dim: int,
        num_experts: int,
        experts_per_token: int,
        expert: Callable[[], Module],
        balance: float = 0.01,
        *,
        normalize_gates: bool | None = None,
    ) -> None:
        expect_sizes("MixtureOfExperts", num_experts=num_experts, experts_per_token=experts_per_token)
        if experts_per_token > num_experts:
            raise ConfigError(
                f"MixtureOfExperts: experts_per_token must be at most num_experts, {num_experts}; "
                f"got {experts_per_token}"
            )
        self.num_experts, self.experts_per_token, self.balance = num_experts, experts_per_token, balance
        self.normalize_gates = experts_per_token > 1 if normalize_gates is None else normalize_gates
        self.router = Linear(embedding_dim, num_experts, bias=False)
        self.experts = ModuleList(expert() for _ in range(num_experts))
        self._routed: tuple[Tensor, Array] | None = None
        self.sum_over_rows: Callable[[Array], tuple[Array, float]] | None = None
        self.length_of_totals = num_experts + 1  # with the number of tokens

    def forward(self, x: TensorLike) -> Tensor:
        x = as_tensor(x)
        tokens = x.reshape(-1, x.shape[-1])
        probabilities = softmax(self.router(tokens))
        chosen = np.argsort(-probabilities.data.real, axis=-1, kind="stable")[:, : self.experts_per_token]
        gates = probabilities[np.arange(len(chosen))[:, None], chosen]
        if self.normalize_gates:
            gates = gates / gates.sum(axis=-1, keepdims=True)

        order = np.argsort(chosen.reshape(-1), kind="stable")  # the (token, choice) pairs, expert by expert
        counts = np.bincount(chosen.reshape(-1), minlength=self.num_experts)
        routed = tokens[order // self.experts_per_token]
        ends = np.cumsum(counts)
        outputs = cat(
            [expert(routed[end - count : end]) for expert, count, end in zip(self.experts, counts, ends, strict=True)]
        )
        unsorted = outputs[np.argsort(order, kind="stable")].reshape(*gates.shape, x.shape[-1])
        self._routed = (probabilities, counts) if self.training else None
        return (unsorted * gates.unsqueeze(-1)).sum(axis=1).reshape(x.shape)

    def balance_loss(self) -> Tensor:
        """The load-balancing loss of the last forward in training, times `balance`; to be called once per forward.

            balance · E · Σ_e f_e · P_e

        f_e is the number of tokens that chose expert e divided by the number of tokens, and P_e the mean of p_e (Fedus
        et al., equation 4; with k > 1 as in Mixtral). Even use gives balance · k. f has no gradient: P is pushed down
        where f is high.

        Shapes: -> ()
        Raises: GraphError if there was no forward in training since the last call
        """
        if self._routed is None:
            raise GraphError("balance_loss: needs a forward in training mode first; there was none")
        probabilities, counts = self._routed
        self._routed = None  # so that the graph of this step is freed now
        factor, tokens = self.balance * self.num_experts, len(probabilities)
        if self.sum_over_rows is not None:
            totals, weight = self.sum_over_rows(np.append(counts, tokens))
            factor *= weight * tokens / max(1, totals[-1])
            counts, tokens = totals[:-1], totals[-1]
        share = (counts / max(1, tokens)).astype(probabilities.dtype)
        return (probabilities.mean(axis=0) * share).sum() * factor

    extra_loss = balance_loss  # the name by which a model's loss and activation checkpointing find it

    def num_active_parameters(self) -> int:
        """How many parameters one token uses: the router's and those of its experts."""
        return self.router.num_parameters() + self.experts_per_token * self.experts[0].num_parameters()

    def extra_repr(self) -> str:
        return f"experts_per_token={self.experts_per_token}, balance={self.balance}"
