"""Adam with decoupled weight decay, the optimizer that GPTs are trained with."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinygrad_llm.checks import expect_number
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.optim.blocks import blocks
from tinygrad_llm.optim.optimizer import Optimizer


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017, arXiv:1711.05101), in PyTorch's form.

        m ← β₁ m + (1 - β₁) g         the mean of past gradients          m̂ = m / (1 - β₁ᵗ)
        v ← β₂ v + (1 - β₂) g²        and of their squares                v̂ = v / (1 - β₂ᵗ)
        p ← p - lr · weight_decay · p - lr · m̂ / (√v̂ + eps)

    t counts the updates of this parameter, from 1; dividing by 1 - βᵗ undoes that m and v start at zero. "Decoupled":
    the decay acts on p itself, outside m and v, so that √v̂ does not scale it away where gradients are large.

    State, by PyTorch's names: `exp_avg` is m, `exp_avg_sq` is v, `step` is t.

    >>> from tinygrad_llm import Tensor
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = AdamW([weight], lr=0.5, weight_decay=0.0)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(4)
    array([0.5, 1.5], dtype=float32)

    Raises: ConfigError for a hyper-parameter outside its range (0 <= β < 1, the others at least 0); see `Optimizer`.
    """

    state_arrays = ("exp_avg", "exp_avg_sq")
    counts_steps = True
    unit_of_update = "element"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    def check_hyperparameters(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "eps", "weight_decay"):
            expect_number("AdamW", name, group[name])
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            raise ConfigError(f"AdamW: betas must be two numbers, such as (0.9, 0.999); got {betas!r}")
        for name, beta in zip(("betas[0]", "betas[1]"), betas, strict=True):
            expect_number("AdamW", name, beta, high=1)

    @np.errstate(all="ignore")  # infinity and NaN follow IEEE 754, without a warning
    def step(self) -> None:
        for group, parameter, grad in self._updates():
            state = self.state.get(parameter)
            if state is None:
                state = self.state[parameter] = {"step": 0, **self.new_state(parameter)}
            state["step"] += 1

            # A NumPy float64 among the factors would promote float32 arrays; Python's float does not.
            lr, beta1, beta2 = float(group["lr"]), float(group["betas"][0]), float(group["betas"][1])
            root_correction2 = math.sqrt(1.0 - beta2 ** state["step"])
            # lr · m̂ / (√v̂ + eps), with both corrections moved out of the arrays: rate · m / (√v + shifted_eps)
            rate = lr * root_correction2 / (1.0 - beta1 ** state["step"])
            shifted_eps = float(group["eps"]) * root_correction2
            shrink = 1.0 - lr * float(group["weight_decay"])

            scratch = self._scratch_for(parameter.data)
            for p, g, m, v in blocks(parameter.data, grad, state["exp_avg"], state["exp_avg_sq"]):
                s = np.multiply(g, 1.0 - beta1, out=scratch[: p.size])
                m *= beta1
                m += s

                np.square(g, out=s)
                s *= 1.0 - beta2
                v *= beta2
                v += s

                np.sqrt(v, out=s)
                s += shifted_eps
                np.divide(m, s, out=s)  # with eps 0, NaN where no gradient ever came
                s *= rate
                if shrink != 1.0:
                    p *= shrink
                p -= s
