"""`torch.optim.lr_scheduler`: objects that set an optimizer's learning rates, one call of `step()` after each update.

Each rate is computed from the step and the first rate, never from the rate before; so what a loop writes into
`param_groups` in between is overwritten.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.torch.missing import missing_word


class LRScheduler:
    """The base of schedules: a subclass defines `rate(first, step)`, for the rate that a group began with."""

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        if last_epoch != -1:
            raise ConfigError(f"{type(self).__name__}: last_epoch must be -1; got {last_epoch}; use load_state_dict()")
        self.optimizer = optimizer
        firsts = vars(optimizer).setdefault("initial_lrs", [group["lr"] for group in optimizer.param_groups])
        self.base_lrs: list[float] = list(firsts)
        self.last_epoch = -1
        self.step()

    def rate(self, first: float, step: int) -> float:
        raise NotImplementedError(f"{type(self).__name__} must define rate")

    def get_lr(self) -> list[float]:
        return [self.rate(first, self.last_epoch) for first in self.base_lrs]

    def step(self) -> None:
        """Go on by one step, and set the rate of every group."""
        self.last_epoch += 1
        for group, rate in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        return {"last_epoch": self.last_epoch, "base_lrs": self.base_lrs}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go to the step of a saved state; the next `step()` goes on from there."""
        self.base_lrs, self.last_epoch = list(state_dict["base_lrs"]), int(state_dict["last_epoch"])


class LambdaLR(LRScheduler):
    """first · lr_lambda(step); a list gives each group its own function."""

    def __init__(self, optimizer: Any, lr_lambda: Any, last_epoch: int = -1) -> None:
        count = len(optimizer.param_groups)
        self.factors: list[Callable[[int], float]] = (
            list(lr_lambda) if isinstance(lr_lambda, list | tuple) else [lr_lambda] * count
        )
        if len(self.factors) != count:
            raise ConfigError(f"LambdaLR: one function for each of {count} groups is needed; got {len(self.factors)}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [first * factor(self.last_epoch) for first, factor in zip(self.base_lrs, self.factors, strict=True)]


class StepLR(LRScheduler):
    """first · gamma^⌊step / step_size⌋."""

    def __init__(self, optimizer: Any, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, first: float, step: int) -> float:
        return first * self.gamma ** (step // self.step_size)


class ExponentialLR(LRScheduler):
    """first · gamma^step."""

    def __init__(self, optimizer: Any, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def rate(self, first: float, step: int) -> float:
        return first * self.gamma**step


class LinearLR(LRScheduler):
    """From first · start_factor to first · end_factor on a straight line over `total_iters` steps: a warmup."""

    def __init__(
        self,
        optimizer: Any,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def rate(self, first: float, step: int) -> float:
        progress = min(step, self.total_iters) / self.total_iters
        return first * (self.start_factor + (self.end_factor - self.start_factor) * progress)


class CosineAnnealingLR(LRScheduler):
    """From first to `eta_min` on half a cosine over `T_max` steps (Loshchilov and Hutter 2017, arXiv:1608.03983)."""

    def __init__(self, optimizer: Any, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def rate(self, first: float, step: int) -> float:
        return self.eta_min + (first - self.eta_min) * (1 + math.cos(math.pi * step / self.T_max)) / 2


class SequentialLR(LRScheduler):
    """One schedule after the other: the next begins, at its own step 0, at each of the `milestones`."""

    def __init__(
        self, optimizer: Any, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        if len(milestones) != len(schedulers) - 1:
            raise ConfigError(
                f"SequentialLR: a milestone between each two of {len(schedulers)} schedules is needed; "
                f"got {len(milestones)}"
            )
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        current = bisect_right(self.milestones, self.last_epoch)
        scheduler = self.schedulers[current]
        scheduler.last_epoch = self.last_epoch - (self.milestones[current - 1] if current else 0)
        return scheduler.get_lr()


_LRScheduler = LRScheduler


def __getattr__(name: str) -> Any:
    raise AttributeError(missing_word("torch.optim.lr_scheduler", name, globals()))
