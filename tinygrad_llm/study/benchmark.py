"""How fast a training step is, beside what this machine's products allow, and where its time and memory go.

    print(measure(PRESETS["0.8M"]).to_dict())

Steps, and the step's own matrix products alone, take turns, so that whatever else the machine does slows both.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.nn import Module
from tinygrad_llm.ops.attention import QUERY_ROWS, TILE_SCORES
from tinygrad_llm.study.activations import running_modules
from tinygrad_llm.study.counting import ATTENTION, OPTIMIZER_MOMENTS, Flops, Memory, Product, flops, memory
from tinygrad_llm.study.peak_memory import HighWaterMark
from tinygrad_llm.study.timing import Stopwatch, Times
from tinygrad_llm.study.training_step import TrainingStep, Workload
from tinygrad_llm.tensor import Array, observe

PEAK_SIZE = 1024  # rows and columns of the square product whose speed is the machine's best
PEAK_REPEATS = 10
OBSERVED_STEPS = 3
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
    times = [_seconds(step)]  # alone: after it the mark is that of nothing but steps
    peak_memory = mark.risen
    sizes = workload.batch_size, workload.config.context_length
    counted, kept = flops(step.model, *sizes), memory(step.model, *sizes)
    peak = peak_speed()
    products = list(products_alone(counted.products))

    def all_products() -> None:
        for product in products:
            product()

    all_products()
    times_alone = [_seconds(all_products)]
    for done in range(1, steps):
        progress(f"step {done + 1} of {steps}")
        times.append(_seconds(step))
        times_alone.append(_seconds(all_products))
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


def _seconds(work: Callable[[], object]) -> float:
    started = perf_counter()
    work()
    return perf_counter() - started


def peak_speed() -> float:
    """Floating-point operations a second of one large square float32 product: the best of several."""
    a, b, out = (np.full((PEAK_SIZE, PEAK_SIZE), 0.5, np.float32) for _ in range(3))
    return 2 * PEAK_SIZE**3 / min(_seconds(lambda: np.matmul(a, b, out=out)) for _ in range(PEAK_REPEATS))


# -- the products of a step, and nothing else


def products_alone(products: list[Product]) -> Iterator[Callable[[], None]]:
    """For each product of a forward, a function that does it with the two of its backward, on arrays of those shapes.

    Products of the same shapes share their arrays.
    """
    made: dict[tuple[Any, ...], Callable[[], None]] = {}
    for product in products:
        key = (product.operation == ATTENTION, product.factors, product.operands)
        if key not in made:
            made[key] = _attention_alone(product) if product.operation == ATTENTION else _linear_alone(product)
        yield made[key]


def _linear_alone(product: Product) -> Callable[[], None]:
    """y = x Wᵀ, dx = dy W and dW = dyᵀ x."""
    _, rows, inner, columns = product.factors
    x, dx, weight, dweight = (_numbers(n, inner) for n in (rows, rows, columns, columns))
    y = _numbers(rows, columns)

    def multiply() -> None:
        np.matmul(x, weight.T, out=y)
        np.matmul(y, weight, out=dx)
        np.matmul(y.T, x, out=dweight)

    return multiply


def _attention_alone(product: Product) -> Callable[[], None]:
    """The six products of attention, in blocks of queries with the keys that these may see, for some sequences at once.

    A block's hidden pairs are in them, for no block is without any on the diagonal; in the count they are not.
    """
    query, key, value = product.operands
    *batch, heads, length, width = query
    count, sequences = key[-2], int(np.prod(batch))
    causal = product.factors[1] < sequences * heads * length * count
    rows_step = QUERY_ROWS if causal else length
    together = max(1, TILE_SCORES // (heads * min(rows_step, length) * count))
    q, dq = (_heads(sequences, heads, length, width) for _ in range(2))
    k, dk = (_heads(sequences, heads, count, width) for _ in range(2))
    v, dv = (_heads(sequences, heads, count, value[-1]) for _ in range(2))
    o = _heads(sequences, heads, length, value[-1])
    blocks = []
    for first in range(0, sequences, together):
        for stop in range(length, 0, -rows_step):
            rows = slice(max(stop - rows_step, 0), stop)
            seen = slice(0, stop + count - length if causal else count)
            at = slice(first, min(first + together, sequences))
            scores = _numbers(at.stop - at.start, heads, rows.stop - rows.start, seen.stop)
            blocks.append((*(x[at, :, rows] for x in (q, dq, o)), *(x[at, :, seen] for x in (k, dk, v, dv)), scores))

    def multiply() -> None:
        for q, dq, o, k, dk, v, dv, p in blocks:
            np.matmul(q, k.swapaxes(-1, -2), out=p)
            np.matmul(p, v, out=o)
            np.matmul(o, v.swapaxes(-1, -2), out=p)
            np.matmul(p, k, out=dq)
            np.matmul(p.swapaxes(-1, -2), q, out=dk)
            np.matmul(p.swapaxes(-1, -2), o, out=dv)

    return multiply


def _numbers(*shape: int) -> Array:
    """Small enough that no product of them overflows."""
    return np.full(shape, 1e-3, np.float32)


def _heads(sequences: int, heads: int, length: int, width: int) -> Array:
    """(B, H, T, D) laid out with tokens first, as projections leave it."""
    return _numbers(sequences, length, heads, width).swapaxes(1, 2)


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
    """About how many bytes training holds: weights, gradients, AdamW's two moments and the activations."""
    parameters = sum(parameter.data.nbytes for parameter in model.parameters())
    activations = predicted_activations(model, workload.batch_size, workload.config.context_length)
    return (2 + OPTIMIZER_MOMENTS) * parameters + activations
