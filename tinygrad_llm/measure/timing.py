"""Where the time of a training step goes: the seconds of every operation, forward and backward, by module.

print(time(model, batch_size, tokens))
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from time import perf_counter

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.nn import Module
from tinygrad_llm.study.activations import running_modules
from tinygrad_llm.study.counting import LOSS, Flops, flops, loss_of, zeros_to_read
from tinygrad_llm.tensor import Array, Gradients, Node, Tensor, enable_grad, observe

REPEATS = 3  # runs, of which the fastest is told: the others were disturbed
UNKNOWN = (LOSS, "recorded before")


@dataclass
class Times:
    """Seconds of one forward and backward, by (path of the module, operation). Together they are `total`.

    Forward, an operation's time begins where the one before ended, so the Python that leads to it is in it. Backward it
    is that of its own backward. `engine` is what is left: finding the order of the walk, handing gradients on and
    adding them up, letting activations go. `counted` are the operations of the same run's forward.
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
            there, back = sums.get(place[0], (0.0, 0.0))
            sums[place[0]] = there + self.forward.get(place, 0.0), back + self.backward.get(place, 0.0)
        return sums

    def __str__(self) -> str:
        """A table that puts each module's share of the time beside its share of the operations."""
        by_module, total = self.by_module, max(self.total, 1e-9)
        operations = self.counted.by_module if self.counted else {}
        counted = max(sum(operations.values()), 1)
        width = max(map(len, [*by_module, "forward and backward"]))
        rows = [f"{'':{width}} {'forward':>11} {'backward':>11} {'time':>7} {'operations':>11}"]
        for path, (there, back) in by_module.items():
            share = f"{(there + back) / total:7.1%}"
            if operations:
                share += f" {operations.get(path, 0) / counted:11.1%}"
            rows.append(f"{path or '(itself)':{width}} {there * 1e3:8.3f} ms {back * 1e3:8.3f} ms {share}")
        rows.append(f"{'the engine':{width}} {'':11} {self.engine * 1e3:8.3f} ms {self.engine / total:7.1%}")
        rows.append(f"{'forward and backward':{width}} {'':11} {self.total * 1e3:8.3f} ms")
        return "\n".join(rows)


class Stopwatch:
    """An observer that times a forward and a backward: each moment of them is given to an operation or the engine.

    Its own work is left out, and told as `watching`. `running` are the paths of the modules at work.
    """

    def __init__(self, running: Sequence[str]) -> None:
        self.times = Times()
        self.watching = 0.0
        self._running = running
        self._places: dict[Node, tuple[str, str]] = {}
        self._going_back = False
        self._started = self._since = perf_counter()

    @property
    def seconds(self) -> float:
        """From its making to the last event or lap."""
        return self._since - self._started

    def lap(self) -> float:
        """The seconds since the last event, which are then nobody's."""
        now = perf_counter()
        taken, self._since = now - self._since, now
        return taken

    def recorded(self, output: Tensor, parents: Sequence[Tensor]) -> None:
        if output.node is None:
            return  # its time goes to the next one that is recorded
        taken = self.lap()
        place = self._running[-1] if self._running else LOSS, output.node.name
        self._places[output.node] = place
        (self.times.backward if self._going_back else self.times.forward)[place] += taken  # in backward: recomputed
        self._watched()

    def before_backward(self, node: Node, dy: Array) -> None:
        self.times.engine += self.lap()
        self._going_back = True
        self._watched()

    def after_backward(self, node: Node, gradients: Gradients) -> None:
        taken = self.lap()
        self.times.backward[self._places.get(node, UNKNOWN)] += taken
        self._watched()

    def _watched(self) -> None:
        self.watching += self.lap()


def time(model: Module, batch_size: int, tokens: int, repeats: int = REPEATS) -> Times:
    """How long the forward, loss and backward of `model` take on ids (batch_size, tokens), by module. Units: seconds.

    Of `repeats` runs it tells the fastest; one more goes before them, which makes what later ones use again. The
    parameters' gradients are left as they were.

    Raises: ConfigError for numbers below 1; what the model raises for ids that do not fit it; GraphError where nothing
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
                with observe(watch):
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
