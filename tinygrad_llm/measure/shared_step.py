"""The training step that workers share, as `train` takes it, and its matrix products alone, shared in the same way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Self

from tinygrad_llm.architectures import architecture_of_config
from tinygrad_llm.measure.products_alone import peak_speed, products_alone
from tinygrad_llm.measure.training_step import Workload, arbitrary_tokens
from tinygrad_llm.random import manual_seed
from tinygrad_llm.study.counting import Product
from tinygrad_llm.train.parallel.processes import Processes, can_fork
from tinygrad_llm.train.parallel.workers import started
from tinygrad_llm.train.settings import TrainingSettings
from tinygrad_llm.train.trainer import Trainer

ENDLESS = 10**9  # steps


class SharedStep:
    """Calling it takes one step of a `Trainer` on the same tokens, shared by workers while the `with` block lasts.

    `workers` and `optimizer` are as in `TrainingSettings`: "auto" is what training would choose.
    """

    def __init__(
        self, workload: Workload, workers: int | str = "auto", seed: int = 0, optimizer: str = "adamw"
    ) -> None:
        manual_seed(seed)
        self.model: Any = architecture_of_config(workload.config).begin(workload.config)
        settings = TrainingSettings(
            steps=ENDLESS,
            batch_size=workload.batch_size,
            learning_rate=1e-4,
            warmup_steps=0,
            eval_interval=0,
            workers=workers,
            seed=seed,
            optimizer=optimizer,
        )
        self.trainer = Trainer(self.model, SameBatch(workload), settings)

    def __enter__(self) -> Self:
        self._team = ExitStack()
        self._team.enter_context(started(self.trainer))
        return self

    def __exit__(self, *error: object) -> None:
        self._team.close()

    def __call__(self) -> None:
        self.trainer.take_step()

    @property
    def processes(self) -> list[int]:
        """The numbers of the processes that take the step, the first of which is this one."""
        return [] if self.trainer.team is None else self.trainer.team.processes.numbers


class SameBatch:
    """A loader that gives one batch without end."""

    def __init__(self, workload: Workload) -> None:
        self.batch = arbitrary_tokens(workload)

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.batch

    def state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """There is nothing to restore."""


class SharedProducts:
    """The products of a step, each process those of its rows; calling it computes them all once.

    `products` are those of each process.
    """

    def __init__(self, products: Sequence[list[Product]]) -> None:
        self._processes = Processes(_ProductsOfOne(products), [], len(products), can_fork())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._processes.stop()

    def __call__(self) -> None:
        self._processes.call("multiply")

    def peak_speed(self) -> float:
        """Floating-point operations per second of large square products, one in each process at the same time."""
        return sum(self._processes.call("peak_speed"))


class _ProductsOfOne:
    def __init__(self, products: Sequence[list[Product]]) -> None:
        self.products = products

    def begin(self, rank: int, wait: Callable[[], None]) -> None:
        self._multiply = list(products_alone(self.products[rank]))

    def multiply(self) -> None:
        for product in self._multiply:
            product()

    def peak_speed(self) -> float:
        return peak_speed()
