"""How fast a training step is, beside what this machine's products allow, and where its time and memory go.

    print(measure(PRESETS["0.8M"]).to_dict())

Steps, and the step's own matrix products alone, take turns, so that whatever else the machine does slows both.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure.peak_memory import HighWaterMark
from tinygrad_llm.measure.products_alone import peak_speed, products_alone, seconds_of
from tinygrad_llm.measure.timing import Stopwatch, Times
from tinygrad_llm.measure.training_step import TrainingStep, Workload
from tinygrad_llm.nn import Module
from tinygrad_llm.ops.attention import QUERY_ROWS
from tinygrad_llm.study.activations import running_modules
from tinygrad_llm.study.counting import OPTIMIZER_MOMENTS, Flops, Memory, flops, memory
from tinygrad_llm.tensor import observe

OBSERVED_STEPS = 3
BACKWARD = 1.1  # what a step holds at most, of all these together: 0.94 to 1.14 was measured
PARTS = ("embedding", "attention", "norms", "feed-forward", "residual sums", "loss")


@dataclass
class Benchmark:
    """What was measured of a training step. Units: seconds, bytes, floating-point operations (of products) a second.

    `step_seconds` are those of undisturbed steps; `product_seconds` those of the step's own products alone, one for
    each step. The `parts` are those of one more step, which was watched: (forward, backward) of each; with `optimizer`
    and `engine` they are `observed_seconds` but for what watching took. `peak_memory` is how far the process's memory
    rose above what it held before the model, None where the system does not tell.
    """

    workload: Workload
    parameters: int
    step_seconds: list[float]
    product_seconds: list[float]
    peak_speed: float
    counted: Flops
    parts: dict[str, tuple[float, float]]
    optimizer: float
    engine: float
    watching: float
    observed_seconds: float
    peak_memory: int | None
    memory: Memory

    @property
    def operations(self) -> int:
        """Of one step's products, forward and backward."""
        return self.counted.forward + self.counted.backward

    @property
    def tokens_per_second(self) -> tuple[float, float, float]:
        """Median, least and most."""
        tokens, times = self.workload.tokens, self.step_seconds
        return tokens / statistics.median(times), tokens / max(times), tokens / min(times)

    @property
    def step_speed(self) -> float:
        return self.operations / statistics.median(self.step_seconds)

    @property
    def product_speed(self) -> float:
        return self.operations / statistics.median(self.product_seconds)

    @property
    def product_share(self) -> float:
        """How much of a step its own products would take alone: the median over the pairs that were timed together."""
        pairs = zip(self.product_seconds, self.step_seconds, strict=True)
        return statistics.median(products / step for products, step in pairs)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON holds it."""
        median, least, most = self.tokens_per_second
        return {
            "model": self.workload.config.to_dict(),
            "parameters": self.parameters,
            "batch_size": self.workload.batch_size,
            "step_seconds": self.step_seconds,
            "tokens_per_second": {"median": median, "min": least, "max": most},
            "operations": {"forward": self.counted.forward, "backward": self.counted.backward},
            "gflops": {
                "peak": self.peak_speed / 1e9,
                "products": self.product_speed / 1e9,
                "step": self.step_speed / 1e9,
                "step_share_of_peak": self.step_speed / self.peak_speed,
            },
            "product_seconds": self.product_seconds,
            "product_share_of_step": self.product_share,
            "parts": {name: {"forward": there, "backward": back} for name, (there, back) in self.parts.items()},
            "optimizer": self.optimizer,
            "engine": self.engine,
            "watching": self.watching,
            "observed_seconds": self.observed_seconds,
            "memory": {
                "peak": self.peak_memory,
                "counted": self.memory.training,
                "parameters": self.memory.parameters,
                "gradients": self.memory.gradients,
                "optimizer": self.memory.optimizer,
                "activations": self.memory.activations,
            },
        }


def measure(
    workload: Workload,
    steps: int | None = None,
    warmup: int = 2,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
    mark: HighWaterMark | None = None,
) -> Benchmark:
    """Train for `warmup` and then `steps` steps (the workload's own number, unless given), and measure.

    Memory is what has been added since the `mark`, which is made here unless it was before.

    Raises: ConfigError for numbers below 1: the first step makes what later ones use again, so one must warm up
    """
    steps = workload.steps if steps is None else steps
    if steps < 1 or warmup < 1:
        raise ConfigError(f"bench: steps and warmup must be at least 1; got {steps} and {warmup}")
    mark = HighWaterMark() if mark is None else mark
    step = TrainingStep(workload, seed)
    for done in range(warmup):
        progress(f"warming up: step {done + 1} of {warmup}")
        step()
    times = [seconds_of(step)]  # alone: after it the mark is that of nothing but steps
    peak_memory = mark.risen
    sizes = workload.batch_size, workload.config.context_length
    counted, kept = flops(step.model, *sizes), memory(step.model, *sizes)
    peak = peak_speed()
    products = list(products_alone(counted.products))

    def all_products() -> None:
        for product in products:
            product()

    all_products()
    times_alone = [seconds_of(all_products)]
    for done in range(1, steps):
        progress(f"step {done + 1} of {steps}")
        times.append(seconds_of(step))
        times_alone.append(seconds_of(all_products))
    peak = max(peak, peak_speed())  # something else may have run beside the first
    progress("watching where the time goes")
    watch, optimizer = _observed(step)
    return Benchmark(
        workload,
        step.model.num_parameters(),
        times,
        times_alone,
        peak,
        counted,
        parts_of(watch.times),
        optimizer,
        watch.times.engine,
        watch.watching,
        watch.seconds,
        peak_memory,
        kept,
    )


# -- where the time goes


def _observed(step: TrainingStep) -> tuple[Stopwatch, float]:
    """The stopwatch of a whole step, and the optimizer's seconds: of several steps, the one in the middle."""
    observed = []
    with running_modules(step.model) as (running, _):
        for _ in range(OBSERVED_STEPS):
            watch = Stopwatch(running)
            with observe(watch):
                loss = step.forward()
                watch.times.engine += watch.lap()
                loss.backward()
                del loss
                watch.times.engine += watch.lap()
            step.update()
            observed.append((watch, watch.lap()))
    return sorted(observed, key=lambda one: one[0].seconds)[OBSERVED_STEPS // 2]


def parts_of(times: Times) -> dict[str, tuple[float, float]]:
    """A GPT's times, (forward, backward), by the part that each operation belongs to."""
    parts = dict.fromkeys(PARTS, (0.0, 0.0))
    for place in times.forward | times.backward:
        part = _part(*place)
        there, back = parts[part]
        parts[part] = there + times.forward.get(place, 0.0), back + times.backward.get(place, 0.0)
    return parts


def _part(path: str, operation: str) -> str:
    names = path.split(".")
    if "attention" in names:
        return "attention"
    if "feed_forward" in names:
        return "feed-forward"
    if "norm" in names[-1]:
        return "norms"
    if names[0] == "blocks":
        return "residual sums"
    if path == "head" or "cross_entropy" in operation:
        return "loss"
    return "embedding"  # both tables, and their sum


# -- what it will need


def predicted_activations(model: Module, batch_size: int, tokens: int) -> int:
    """About how many bytes of activations a forward on (batch_size, tokens) will keep, without running it.

    One short text is run in place of the batch: what is kept grows with the batch, and with tokens as a polynomial of
    second degree, because of attention.
    """
    lengths = [tokens] if tokens <= 3 * QUERY_ROWS else [QUERY_ROWS, 2 * QUERY_ROWS, 3 * QUERY_ROWS]
    kept = [float(memory(model, 1, length).activations) for length in lengths]
    if len(kept) == 1:
        return batch_size * round(kept[0])
    x = tokens / QUERY_ROWS  # Newton's form through x = 1, 2, 3
    slope, bend = kept[1] - kept[0], kept[2] - 2 * kept[1] + kept[0]
    return batch_size * round(kept[0] + (x - 1) * (slope + (x - 2) * bend / 2))


def training_bytes(model: Module, workload: Workload) -> int:
    """About how many bytes training holds at most: weights, gradients, AdamW's two moments, and the activations."""
    parameters = sum(parameter.data.nbytes for parameter in model.parameters())
    activations = predicted_activations(model, workload.batch_size, workload.config.context_length)
    return round(BACKWARD * ((2 + OPTIMIZER_MOMENTS) * parameters + activations))
