"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from tinygrad_llm.checks import expect_number
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.optim.blocks import blocks
from tinygrad_llm.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013), in PyTorch's form.

        g ← grad + weight_decay · p
        b ← momentum · b + (1 - dampening) · g        (b ← g at a parameter's first step)
        g ← g + momentum · b  if nesterov, else  b    (without momentum, g stays)
        p ← p - lr · g

    Unlike in Sutskever's form, `lr` stands outside `b`, so a new rate acts on the whole momentum at once.

    >>> from tinygrad_llm import Tensor
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> optimizer = SGD([weight], lr=0.5)
    >>> (weight * weight).sum().backward()
    >>> optimizer.step()
    >>> weight.data
    array([0., 0.], dtype=float32)

    Raises: ConfigError for `nesterov` without momentum or with dampening; see `Optimizer`.
    """

    state_arrays = ("momentum_buffer",)
    unit_of_update = "element"

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        dampening: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "dampening": dampening,
        }
        super().__init__(params, defaults)

    def check_hyperparameters(self, group: Mapping[str, Any]) -> None:
        for name in ("lr", "momentum", "weight_decay", "dampening"):
            expect_number("SGD", name, group[name])
        if group["nesterov"] and (group["momentum"] == 0 or group["dampening"] != 0):
            raise ConfigError(
                "SGD: nesterov needs a momentum above 0 and no dampening; "
                f"got momentum {group['momentum']}, dampening {group['dampening']}"
            )

    @np.errstate(all="ignore")  # infinity and NaN follow IEEE 754, without a warning
    def step(self) -> None:
        for group, parameter, grad in self._updates():
            # A NumPy float64 among the factors would promote float32 arrays; Python's float does not.
            lr, momentum, weight_decay = float(group["lr"]), float(group["momentum"]), float(group["weight_decay"])
            scratch = self._scratch_for(parameter.data)
            if not momentum:
                for p, g in blocks(parameter.data, grad):
                    direction = np.multiply(p, weight_decay, out=scratch[: p.size])
                    direction += g
                    direction *= lr
                    p -= direction
                continue
            taken = 1.0 - float(group["dampening"])
            if parameter not in self.state:
                self.state[parameter] = self.new_state(parameter)
                taken = 1.0  # the first gradient is taken whole
            for p, g, b in blocks(parameter.data, grad, self.state[parameter]["momentum_buffer"]):
                direction = np.multiply(p, weight_decay, out=scratch[: p.size])
                direction += g
                b *= momentum
                b += direction if taken == 1.0 else taken * direction
                if group["nesterov"]:
                    direction += momentum * b
                    direction *= lr
                else:
                    np.multiply(b, lr, out=direction)
                p -= direction
