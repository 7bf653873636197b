"""The time of a training step by module and operation, forward and backward.

print(time(model, batch_size, tokens))
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import Gradients, Node, enable_grad, observe
from tinygrad_llm.nn import Module
from tinygrad_llm.ops.dispatch import intercept
from tinygrad_llm.study.counting import LOSS, Flops, flops
from tinygrad_llm.study.module_paths import running_modules
from tinygrad_llm.study.zero_batch import loss_of, zeros_to_read
from tinygrad_llm.tensor import Tensor

REPEATS = 3  # runs, of which the fastest is returned: other programs disturbed the others
UNKNOWN = (LOSS, "recorded before")


@dataclass
class Times:
    """Seconds of one forward and backward, by (path of the module, operation); their sum is `total`.

    Forward, an operation's time begins where the one before ended, so it includes the Python code that leads to it.
    Backward, it is the time of its own backward. `engine` is the rest: ordering the graph, passing gradients on and
    adding them up, freeing activations. `counted` are the floating-point operations of the same forward.
    """

    forward: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    backward: dict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))
    engine: float = 0.0
    counted: Flops | None = None

    @property
    def total(self) -> float:
        return sum(self.forward.values()) + sum(self.backward.values()) + self.engine

    @property
    def by_module(self) -> dict[str, tuple[float, float]]:
        """(forward, backward) by module path, in the order of the forward."""
        sums: dict[str, tuple[float, float]] = {}
        for place in self.forward | self.backward:
            forward, backward = sums.get(place[0], (0.0, 0.0))
            sums[place[0]] = forward + self.forward.get(place, 0.0), backward + self.backward.get(place, 0.0)
        return sums

    def __str__(self) -> str:
        """A table of each module's time, its share of the time and its share of the operations."""
        by_module, total = self.by_module, max(self.total, 1e-9)
        operations = self.counted.by_module if self.counted else {}
        counted = max(sum(operations.values()), 1)
        width = max(map(len, [*by_module, "forward and backward"]))
        rows = [f"{'':{width}} {'forward':>11} {'backward':>11} {'time':>7} {'operations':>11}"]
        for path, (forward, backward) in by_module.items():
            share = f"{(forward + backward) / total:7.1%}"
            if operations:
                share += f" {operations.get(path, 0) / counted:11.1%}"
            rows.append(f"{path or '(itself)':{width}} {forward * 1e3:8.3f} ms {backward * 1e3:8.3f} ms {share}")
        rows.append(f"{'the engine':{width}} {'':11} {self.engine * 1e3:8.3f} ms {self.engine / total:7.1%}")
        rows.append(f"{'forward and backward':{width}} {'':11} {self.total * 1e3:8.3f} ms")
        return "\n".join(rows)


class Stopwatch:
    """Times a forward and a backward: each moment counts for one operation, the engine, or the stopwatch itself.

    It is an observer of the engine, which sees operations forward and backward, and a handler of the ops, which knows
    the op that an operation is a part of. `running` are the paths of the modules at work, innermost last;
    `watching` is the time of the stopwatch's own work.
    """

    def __init__(self, running: Sequence[str]) -> None:
        self.times = Times()
        self.watching = 0.0
        self._running = running
        self._places: dict[Node, tuple[str, str]] = {}
        self._in_backward = False
        self._op = ""  # the op at work, "" outside of ops
        self._started = self._since = perf_counter()

    @property
    def seconds(self) -> float:
        """From the start to the last event or lap."""
        return self._since - self._started

    def lap(self) -> float:
        """The seconds since the last event; the caller decides what they count for."""
        now = perf_counter()
        taken, self._since = now - self._since, now
        return taken

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Time what runs inside the block."""
        with observe(self), intercept(self._run_op):
            yield

    def _run_op(self, op_name: str, op: Callable[..., Tensor], *args: Any, **kwargs: Any) -> Tensor:
        """Name the operations inside an op after it: a definition in primitives counts for its op."""
        outer, self._op = self._op, self._op or op_name
        try:
            return op(*args, **kwargs)
        finally:
            self._op = outer

    def recorded(self, output: Tensor, parents: Sequence[Tensor]) -> None:
        if output.node is None:
            return  # its time goes to the next one that is recorded
        taken = self.lap()
        place = self._running[-1] if self._running else LOSS, self._op or output.node.name
        self._places[output.node] = place
        seconds = self.times.backward if self._in_backward else self.times.forward  # in backward: recomputed
        seconds[place] += taken
        self._watched()

    def before_backward(self, node: Node, dy: Array) -> None:
        self.times.engine += self.lap()
        self._in_backward = True
        self._watched()

    def after_backward(self, node: Node, gradients: Gradients) -> None:
        taken = self.lap()
        self.times.backward[self._places.get(node, UNKNOWN)] += taken
        self._watched()

    def _watched(self) -> None:
        self.watching += self.lap()


def time(model: Module, batch_size: int, tokens: int, repeats: int = REPEATS) -> Times:
    """How long the forward, loss and backward of `model` take on ids (batch_size, tokens), by module. Units: seconds.

    The fastest of `repeats` runs, after one that fills the buffers which later runs reuse. The parameters' gradients
    are left unchanged.

    Raises: ConfigError for numbers below 1; what the model raises for ids that do not fit it; GraphError if nothing
            requires a gradient
    """
    if repeats < 1:
        raise ConfigError(f"time: repeats must be at least 1; got {repeats}")
    counted = flops(model, batch_size, tokens)
    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    runs = []
    try:
        with (
            zeros_to_read(model, batch_size, tokens) as (inputs, targets),
            running_modules(model) as (running, _),
            enable_grad(),
        ):
            for _ in range(1 + repeats):
                model.zero_grad()
                watch = Stopwatch(running)
                with watch.watch():
                    loss = loss_of(model, inputs, targets)
                    watch.times.engine += watch.lap()
                    loss.backward()
                    watch.times.engine += watch.lap()
                del loss
                runs.append(watch.times)
    finally:
        for parameter, grad in before:
            parameter.grad = grad
    fastest = min(runs[1:], key=lambda times: times.total)
    fastest.counted = counted
    return fastest
