"""The speed of a training step, compared with its matrix products alone, and where its time and memory go.

    print(measure(PRESETS["0.8M"]).to_dict())

Training steps and runs of the products alone alternate, so that other programs of the machine slow both alike.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_llm.architectures import architecture_of_config
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.measure.memory_of_all import MemoryOfAll, proportional_size
from tinygrad_llm.measure.peak_memory import HighWaterMark
from tinygrad_llm.measure.products_alone import peak_speed, products_alone, seconds_of
from tinygrad_llm.measure.shared_step import SharedProducts, SharedStep
from tinygrad_llm.measure.timing import Stopwatch, Times
from tinygrad_llm.measure.training_step import TrainingStep, Workload
from tinygrad_llm.nn import Module
from tinygrad_llm.ops.attention_tiles import KEPT_KEYS, QUERY_ROWS
from tinygrad_llm.study.counting import OPTIMIZER_MOMENTS, Flops, Memory, flops, memory
from tinygrad_llm.study.module_paths import running_modules
from tinygrad_llm.train.parallel.communicator import share_of

OBSERVED_STEPS = 3
PEAK_FACTOR = 1.1  # peak memory of a step, relative to the sum of its parts: 0.94 to 1.14 was measured
PARTS = ("embedding", "attention", "norms", "feed-forward", "residual sums", "loss")


@dataclass
class Benchmark:
    """Measurements of a training step. Units: seconds, bytes, floating-point operations (of products) per second.

    `step_seconds` are those of steps that were not observed; `product_seconds` those of the step's products alone, one
    for each step. `parts` are the (forward, backward) times of one more step, which was observed: with `optimizer`,
    `engine` and `watching`, the time of observing, they add up to `observed_seconds`. `peak_memory` is how far the
    process's memory rose above what it held before the model; None where the system does not report it.

    Where `workers` share the step, `product_seconds` and `peak_speed` are those of all workers at once, the parts are
    those of the first worker's rows, and `peak_memory` is that of all processes, shared pages counted once.
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
    workers: int = 1

    @property
    def operations(self) -> int:
        """Floating-point operations of one step's products, forward and backward."""
        return self.counted.forward + self.counted.backward

    @property
    def tokens_per_second(self) -> tuple[float, float, float]:
        """Median, minimum and maximum."""
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
        """The share of a step that its products take alone: the median over the pairs that were timed together."""
        pairs = zip(self.product_seconds, self.step_seconds, strict=True)
        return statistics.median(products / step for products, step in pairs)

    def to_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has."""
        median, minimum, maximum = self.tokens_per_second
        return {
            "architecture": architecture_of_config(self.workload.config).name,
            "model": self.workload.config.to_dict(),
            "parameters": self.parameters,
            "batch_size": self.workload.batch_size,
            "workers": self.workers,
            "step_seconds": self.step_seconds,
            "tokens_per_second": {"median": median, "min": minimum, "max": maximum},
            "operations": {"forward": self.counted.forward, "backward": self.counted.backward},
            "gflops": {
                "peak": self.peak_speed / 1e9,
                "products": self.product_speed / 1e9,
                "step": self.step_speed / 1e9,
                "step_share_of_peak": self.step_speed / self.peak_speed,
            },
            "product_seconds": self.product_seconds,
            "product_share_of_step": self.product_share,
            "parts": {
                name: {"forward": forward, "backward": backward} for name, (forward, backward) in self.parts.items()
            },
            "optimizer": self.optimizer,
            "engine": self.engine,
            "watching": self.watching,
            "observed_seconds": self.observed_seconds,
            "memory": {
                "peak": self.peak_memory,
                "all_workers": self.peak_memory,  # the same: pages that workers share are counted once
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
    workers: int | str = 1,
) -> Benchmark:
    """Train for `warmup` and then `steps` steps (unless given, the workload's own number), and measure.

    Peak memory is relative to that at `mark` or, without it, at this call. `workers` is as in `TrainingSettings`.

    Raises: ConfigError for numbers below 1: the first step fills the buffers that later ones reuse, so it is warm-up
    """
    steps = workload.steps if steps is None else steps
    if steps < 1 or warmup < 1:
        raise ConfigError(f"bench: steps and warmup must be at least 1; got {steps} and {warmup}")
    mark = HighWaterMark() if mark is None else mark
    held = proportional_size(os.getpid())
    if workers != 1:
        shared = SharedStep(workload, workers, seed)
        with shared:
            if shared.trainer.workers > 1:  # else "auto" has chosen one, or no worker could be started
                return _measure_shared(shared, workload, steps, warmup, progress, held)
        del shared
    step = TrainingStep(workload, seed)
    for done in range(warmup):
        progress(f"warming up: step {done + 1} of {warmup}")
        step()
    times = [seconds_of(step)]  # before anything else is measured, so that the peak is that of training steps
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
    peak = max(peak, peak_speed())  # another program may have disturbed the first
    progress("timing the parts of a step")
    watch, optimizer = _observed(step)
    return _result(workload, step.model, times, times_alone, peak, watch, optimizer, peak_memory, counted, kept)


def _measure_shared(
    step: SharedStep,
    workload: Workload,
    steps: int,
    warmup: int,
    progress: Callable[[str], None],
    held: int | None,
) -> Benchmark:
    """The same where workers share the step: its products are shared too, and its parts are those of one worker."""
    workers, context = step.trainer.workers, workload.config.context_length
    with MemoryOfAll(step.processes) as held_by_all:
        for done in range(warmup):
            progress(f"warming up: step {done + 1} of {warmup}")
            step()
    peak_memory = None if held is None else held_by_all.highest - held
    counted, kept = flops(step.model, workload.batch_size, context), memory(step.model, workload.batch_size, context)
    rows = [share_of(workload.batch_size, rank, workers) for rank in range(workers)]
    counts = [share.stop - share.start for share in rows]
    products = {count: flops(step.model, count, context).products if count else [] for count in set(counts)}
    times, times_alone = [], []
    with SharedProducts([products[count] for count in counts]) as all_products:
        all_products()
        for done in range(steps):
            progress(f"step {done + 1} of {steps}")
            times.append(seconds_of(step))
            times_alone.append(seconds_of(all_products))
        peaks = [all_products.peak_speed() for _ in range(2)]  # another program may disturb one
    progress("timing the parts of a step in one worker")
    own = TrainingStep(replace(workload, batch_size=counts[0]))
    own()
    watch, optimizer = _observed(own)
    result = _result(workload, step.model, times, times_alone, max(peaks), watch, optimizer, peak_memory, counted, kept)
    return replace(result, workers=workers)


def _result(
    workload: Workload,
    model: Module,
    times: list[float],
    times_alone: list[float],
    peak: float,
    watch: Stopwatch,
    optimizer: float,
    peak_memory: int | None,
    counted: Flops,
    kept: Memory,
) -> Benchmark:
    return Benchmark(
        workload,
        model.num_parameters(),
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


# -- the time of each part


def _observed(step: TrainingStep) -> tuple[Stopwatch, float]:
    """The stopwatch of a step, and the optimizer's seconds: the median of several steps."""
    observed = []
    with running_modules(step.model) as (running, _):
        for _ in range(OBSERVED_STEPS):
            watch = Stopwatch(running)
            with watch.watch():
                loss = step.forward()
                watch.times.engine += watch.lap()
                loss.backward()
                del loss
                watch.times.engine += watch.lap()
            step.update()
            observed.append((watch, watch.lap()))
    return sorted(observed, key=lambda one: one[0].seconds)[OBSERVED_STEPS // 2]


def parts_of(times: Times) -> dict[str, tuple[float, float]]:
    """The (forward, backward) times of a model by the part that each operation belongs to."""
    parts = dict.fromkeys(PARTS, (0.0, 0.0))
    for place in times.forward | times.backward:
        part = _part(*place)
        forward, backward = parts[part]
        parts[part] = forward + times.forward.get(place, 0.0), backward + times.backward.get(place, 0.0)
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
    return "embedding"  # the tables of tokens and positions, and their sum


# -- memory, before training


def predicted_activations(model: Module, batch_size: int, tokens: int) -> int:
    """An estimate of the activations, in bytes, that a forward on (batch_size, tokens) keeps, without running it.

    One short sequence is run instead of the batch: activations grow linearly with the batch, and with the tokens where
    these are more than the keys whose attention weights are kept. Without dropout and windows, that is: what dropout
    keeps of the weights, and the mask of a window, grow with the square.
    """
    length = min(tokens, KEPT_KEYS + QUERY_ROWS)
    return memory(model, 1, length).activations * batch_size * tokens // length


def training_bytes(model: Module, workload: Workload) -> int:
    """An estimate of the peak memory of training, in bytes: weights, gradients, AdamW's two moments, activations."""
    parameters = sum(parameter.data.nbytes for parameter in model.parameters())
    activations = predicted_activations(model, workload.batch_size, workload.config.context_length)
    return round(PEAK_FACTOR * ((2 + OPTIMIZER_MOMENTS) * parameters + activations))
