"""Adam in its first form, and its variant that never forgets the largest second moment."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from tinygrad_llm.optim.adamw import AdamW
from tinygrad_llm.optim.blocks import blocks


class Adam(AdamW):
    """Adam (Kingma & Ba 2014, arXiv:1412.6980), in PyTorch's form: AdamW, but weight decay is added to the gradient.

        g ← g + weight_decay · p
        m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  m̂ = m / (1 - β₁ᵗ),  v̂ = v / (1 - β₂ᵗ)
        p ← p - lr · m̂ / (√v̂ + eps)

    With `amsgrad`, v̂ uses the largest v so far (Reddi et al. 2018, arXiv:1904.09237), so that the step of a parameter
    never grows because its gradients became smaller. With `decoupled_weight_decay` the decay is AdamW's.

    State, by PyTorch's names: `exp_avg` is m, `exp_avg_sq` is v, `max_exp_avg_sq` its largest, `step` is t.

    >>> from tinygrad_llm import Tensor
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = Adam([weight], lr=0.5, amsgrad=True)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data.round(4)
    array([0.5, 1.5], dtype=float32)

    Raises: as `AdamW`
    """

    unit_of_update = "element"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        self.amsgrad, self.decoupled_weight_decay = amsgrad, decoupled_weight_decay
        if amsgrad:
            self.state_arrays = (*AdamW.state_arrays, "max_exp_avg_sq")  # type: ignore[assignment, misc]
        super().__init__(params, lr, betas, eps, weight_decay)

    def step(self) -> None:
        for group, parameter, grad in self._updates():
            state = self.state.get(parameter)
            if state is None:
                state = self.state[parameter] = {"step": 0, **self.new_state(parameter)}
            state["step"] += 1
            # Python's floats, because a NumPy float64 would promote float32 arrays.
            lr, beta1, beta2 = float(group["lr"]), float(group["betas"][0]), float(group["betas"][1])
            decay = float(group["weight_decay"])
            root_correction2 = math.sqrt(1.0 - beta2 ** state["step"])
            rate = lr * root_correction2 / (1.0 - beta1 ** state["step"])
            shifted_eps = float(group["eps"]) * root_correction2
            for p, g, *moments in blocks(parameter.data, grad, *(state[name] for name in self.state_arrays)):
                m, v = moments[:2]
                if decay and not self.decoupled_weight_decay:
                    g = g + decay * p
                m *= beta1
                m += (1.0 - beta1) * g
                v *= beta2
                v += (1.0 - beta2) * np.square(g)
                if self.amsgrad:
                    v = np.maximum(moments[2], v, out=moments[2])
                if decay and self.decoupled_weight_decay:
                    p *= 1.0 - lr * decay
                with np.errstate(divide="ignore", invalid="ignore"):  # eps 0 divides 0 by 0 where no gradient came
                    p -= rate * m / (np.sqrt(v) + shifted_eps)
