# %% [markdown]
# # The speed of a training step, here and in PyTorch
#
# All sides train the same GPT on the same batch with the same optimizer: forward, backward, clipping and AdamW in
# float32. Absolute times depend on the machine and its load, so the sides take turns, and the ratio of each round is
# the result. PyTorch is not a dependency of the package: without it the demo measures this package alone.
#
# - `workers`: this package as it trains by default, one worker of one BLAS thread per core
# - `one process`: the same without workers, products on all cores
# - `PyTorch`: eager, as many threads as cores
# - `compiled`: the same through `torch.compile`, where a C++ compiler is installed
# - `JAX`: jitted, where it is installed; `--python-of JAX=PATH` uses the Python of another environment for a side
#
# Each side is a process of its own, which waits while another one is measured. Its turn begins with a pause, because
# PyTorch's threads stay on their cores for a while after a step, and a step that is not timed. Run it with
# `python demos/speed_against_pytorch.py`; `--full` adds the 124M model, which needs about 12 GB of memory for all
# sides; `--busy` keeps one core busy with another program meanwhile, as on any laptop. `tinygrad-llm bench` shows where
# the time of a step goes.
#
# AVX-512 doubles the speed of products. OpenBLAS uses it where it is, the MKL of PyTorch only on Intel's processors.
# With `OPENBLAS_CORETYPE=Haswell NPY_DISABLE_CPU_FEATURES=X86_V4,AVX512_ICL ATEN_CPU_CAPABILITY=avx2
# MKL_ENABLE_INSTRUCTIONS=AVX2` (names of NumPy 2.4), all sides compute as on a processor with AVX2 alone.

# %%
import argparse
import contextlib
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygrad_llm.measure.busy_program import busy_program
from tinygrad_llm.measure.memory_of_all import MemoryOfAll, proportional_size
from tinygrad_llm.measure.products_alone import products_alone
from tinygrad_llm.measure.shared_step import SharedProducts, SharedStep
from tinygrad_llm.measure.training_step import PRESETS, Workload, arbitrary_tokens
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.study.counting import flops
from tinygrad_llm.train.parallel import share_of
from tinygrad_llm.train.parallel.blas_threads import openblas_kernels
from tinygrad_llm.train.parallel.cores_and_memory import available_cores

end_quietly()

OURS = ("workers", "one process")
SIDES = (*OURS, "PyTorch", "compiled", "JAX")
PAUSE = 0.2  # seconds before each turn

options = argparse.ArgumentParser(description="Training steps per second, here and in PyTorch, and what they hold.")
options.add_argument("--models", nargs="+", choices=PRESETS, default=["0.8M", "12M"], help="(default: 0.8M 12M)")
options.add_argument("--full", action="store_true", help="also the 124M model of GPT-2")
options.add_argument("--rounds", type=int, default=5, help="timed rounds of each side (default: 5)")
options.add_argument("--sides", nargs="+", choices=SIDES, help="(default: all that are installed)")
options.add_argument("--busy", action="store_true", help="keep one core busy with another program meanwhile")
options.add_argument("--python-of", nargs="+", metavar="SIDE=PATH", default=[], help="Python that has a side's package")
options.add_argument("--serve", nargs=2, metavar=("SIDE", "MODEL"), help=argparse.SUPPRESS)  # the role of a side
arguments, _ = options.parse_known_args()

# %% [markdown]
# ## PyTorch: the same model with its own layers and its fused attention


# %%
def pytorch_step(workload: Workload, compiled: bool = False) -> Callable[[], None]:
    """The same step in PyTorch, eager or compiled."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(len(available_cores()))
    torch.manual_seed(0)
    config, batch = workload.config, workload.batch_size
    vocabulary, context, width, heads = (
        config.vocab_size,
        config.context_length,
        config.embedding_dim,
        config.num_heads,
    )

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.query_key_value, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            projected = self.query_key_value(self.norm1(x)).view(batch, context, 3, heads, width // heads)
            query, key, value = projected.permute(2, 0, 3, 1, 4)
            attended = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + self.output(attended.transpose(1, 2).reshape(batch, context, width))
            return x + self.down(functional.gelu(self.up(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token_embedding = nn.Embedding(vocabulary, width)
            self.position_embedding = nn.Embedding(context, width)
            self.blocks = nn.Sequential(*[Block() for _ in range(config.num_layers)])
            self.final_norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)
            self.head.weight = self.token_embedding.weight
            for parameter in self.parameters():
                if parameter.ndim == 2:
                    nn.init.normal_(parameter, std=0.02)

        def forward(self, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
            x = self.token_embedding(ids) + self.position_embedding(torch.arange(context))
            logits = self.head(self.final_norm(self.blocks(x)))
            return functional.cross_entropy(logits.view(-1, vocabulary), targets.view(-1))

    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1)
    ids, targets = (torch.from_numpy(array) for array in arbitrary_tokens(workload))

    forward: Callable[[Any, Any], Any] = torch.compile(model) if compiled else model

    def step() -> None:
        forward(ids, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


# %% [markdown]
# ## JAX: the same model as a function of its weights


# %%
def jax_step(workload: Workload) -> Callable[[], None]:
    """The same step in JAX, compiled as a whole."""
    import jax
    import jax.numpy as jnp
    import optax

    config, (batch, context) = workload.config, (workload.batch_size, workload.config.context_length)
    vocabulary, width, heads = config.vocab_size, config.embedding_dim, config.num_heads
    keys = iter(jax.random.split(jax.random.PRNGKey(0), 1000))

    def matrix(rows: int, columns: int) -> Any:
        return 0.02 * jax.random.normal(next(keys), (rows, columns), jnp.float32)

    def affine(rows: int, columns: int) -> dict[str, Any]:
        return {"weight": matrix(rows, columns), "bias": jnp.zeros(columns)}

    def norm() -> dict[str, Any]:
        return {"scale": jnp.ones(width), "shift": jnp.zeros(width)}

    def block() -> dict[str, Any]:
        parts = {"query_key_value": affine(width, 3 * width), "output": affine(width, width)}
        parts |= {"up": affine(width, 4 * width), "down": affine(4 * width, width)}
        return parts | {"norm1": norm(), "norm2": norm()}

    weights = {
        "tokens": matrix(vocabulary, width),
        "positions": matrix(context, width),
        "blocks": [block() for _ in range(config.num_layers)],
        "norm": norm(),
    }

    def normalized(x: Any, p: Any) -> Any:
        centered = x - x.mean(-1, keepdims=True)
        return centered * jax.lax.rsqrt((centered**2).mean(-1, keepdims=True) + 1e-5) * p["scale"] + p["shift"]

    def loss(weights: Any, ids: Any, targets: Any) -> Any:
        x = weights["tokens"][ids] + weights["positions"]
        for p in weights["blocks"]:
            projected = normalized(x, p["norm1"]) @ p["query_key_value"]["weight"] + p["query_key_value"]["bias"]
            query, key, value = (part.reshape(batch, context, heads, -1) for part in jnp.split(projected, 3, -1))
            attended = jax.nn.dot_product_attention(query, key, value, is_causal=True).reshape(batch, context, width)
            x = x + attended @ p["output"]["weight"] + p["output"]["bias"]
            hidden = jax.nn.gelu(normalized(x, p["norm2"]) @ p["up"]["weight"] + p["up"]["bias"], approximate=True)
            x = x + hidden @ p["down"]["weight"] + p["down"]["bias"]
        logits = normalized(x, weights["norm"]) @ weights["tokens"].T
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-4, weight_decay=0.1))
    state = optimizer.init(weights)

    def update(weights: Any, state: Any, ids: Any, targets: Any) -> tuple[Any, Any]:
        updates, state = optimizer.update(jax.grad(loss)(weights, ids, targets), state, weights)
        return optax.apply_updates(weights, updates), state

    jitted, tokens = jax.jit(update, donate_argnums=(0, 1)), [jnp.asarray(x) for x in arbitrary_tokens(workload)]

    def step() -> None:
        nonlocal weights, state
        weights, state = jax.block_until_ready(jitted(weights, state, *tokens))

    return step


# %% [markdown]
# ## A lower bound of the time of a step
#
# The matrix products of our step alone, each worker's on one thread: no step of NumPy can be faster. Where PyTorch's
# whole step takes hardly longer, NumPy cannot be much faster than PyTorch.


# %%
def products_of(step: SharedStep, workload: Workload) -> Callable[[], None]:
    """The products of one step, forward and backward, divided among workers as the step is."""
    workers, context = step.trainer.workers, workload.config.context_length
    rows = [share_of(workload.batch_size, rank, workers) for rank in range(workers)]
    counted = [flops(step.model, share.stop - share.start, context).products for share in rows]
    if workers > 1:
        return SharedProducts(counted)
    alone = list(products_alone(counted[0]))

    def multiply() -> None:
        for product in alone:
            product()

    return multiply


# %% [markdown]
# ## Each side in its own process
#
# It takes orders from its standard input, `step` or `products` and how many, and answers with the seconds of each.
# `memory` is the peak of the first two steps, AdamW's moments included, above what the process held before it built the
# model; `memory_of_all` is the peak with Python and all packages. Pages that workers share are counted once.


# %%
def new_step(side: str, workload: Workload) -> Callable[[], None]:
    if side in OURS:
        return SharedStep(workload, "auto" if side == "workers" else 1)
    return jax_step(workload) if side == "JAX" else pytorch_step(workload, side == "compiled")


def serve(side: str, name: str) -> None:
    workload = PRESETS[name]
    new_step(side, PRESETS["smoke"])()  # what a library loads on first use is not counted
    held = proportional_size(os.getpid()) or 0
    with contextlib.ExitStack() as stack:
        work: dict[str, Callable[[], object]] = {}
        pids = [os.getpid()]
        work["step"] = step = new_step(side, workload)
        if isinstance(step, SharedStep):
            pids = stack.enter_context(step).processes or pids
        with MemoryOfAll(pids) as memory:
            for _ in range(2):
                work["step"]()
        print(memory.highest, held, sep="\n", flush=True)
        for line in sys.stdin:
            order, count = line.split()
            if order not in work:
                work[order] = products_of(step, workload)
                work[order]()
            time.sleep(PAUSE)
            work[order]()
            started = time.perf_counter()
            for _ in range(int(count)):
                work[order]()
            print((time.perf_counter() - started) / int(count), flush=True)


if arguments.serve:
    serve(*arguments.serve)
    sys.exit()


class Side:
    """The process of one side, and its answers."""

    def __init__(self, side: str, name: str) -> None:
        threads = {"OPENBLAS_NUM_THREADS": "1"} if side == "workers" else {}
        pythons = dict(one.partition("=")[::2] for one in arguments.python_of)
        self.process = subprocess.Popen(
            [pythons.get(side, sys.executable), sys.argv[0], "--serve", side, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **threads},
        )
        self.memory_of_all = self._answer()
        self.memory = self.memory_of_all - self._answer()  # without Python and the packages

    def seconds(self, order: str, count: int) -> float:
        self.process.stdin.write(f"{order} {count}\n")  # type: ignore[union-attr]
        self.process.stdin.flush()  # type: ignore[union-attr]
        return self._answer()

    def end(self) -> None:
        self.process.communicate()

    def _answer(self) -> float:
        line = self.process.stdout.readline()  # type: ignore[union-attr]
        if not line:
            sys.exit(f"the process of one side ended with code {self.process.wait()}; see its error above")
        return float(line)


# %% [markdown]
# ## Speed, in rounds in which all sides take turns


# %%
def installed(side: str) -> bool:
    if any(one.startswith(f"{side}=") for one in arguments.python_of) or side in OURS:
        return True
    package = {"JAX": "optax"}.get(side, "torch")
    return importlib.util.find_spec(package) is not None and (side != "compiled" or shutil.which("g++") is not None)


busy = " beside another busy program" if arguments.busy else ""
kernels = f"; OpenBLAS's kernels: {found}" if (found := openblas_kernels()) else ""
print(f"== A training step{busy}, in seconds (medians{kernels}) ==")
sides = [side for side in SIDES if installed(side) and side in (arguments.sides or SIDES)]
if "PyTorch" not in sides:
    print("PyTorch is not installed: this package alone" if not arguments.sides else "without PyTorch")
for name in dict.fromkeys(arguments.models + ["124M"] * arguments.full):
    workload = PRESETS[name]
    running = {side: Side(side, name) for side in sides}
    repeats = max(1, workload.steps // 3)
    rounds, products = [], []
    with busy_program(arguments.busy):
        for _ in range(arguments.rounds):
            rounds.append({side: one.seconds("step", repeats) for side, one in running.items()})
            products.append(running[sides[0]].seconds("products", repeats) if sides[0] in OURS else np.nan)
    for side, one in running.items():
        one.end()
        taken = statistics.median(times[side] for times in rounds)
        print(
            f"{name:>5}: {side:<11} {taken:.4f} s, {workload.tokens / taken:,.0f} tokens/s, "
            f"{one.memory / 1e6:,.0f} MB at most ({one.memory_of_all / 1e6:,.0f} in all)"
        )
    for side in [side for side in sides if side != "PyTorch" and "PyTorch" in sides]:
        ratios = sorted(times["PyTorch"] / times[side] for times in rounds)
        one, other = running[side], running["PyTorch"]
        print(
            f"{name:>5}: {side:<11} has {statistics.median(ratios):.2f} times PyTorch's speed ({ratios[0]:.2f} to "
            f"{ratios[-1]:.2f}), {one.memory / other.memory:.2f} times its memory "
            f"({one.memory_of_all / other.memory_of_all:.2f} in all)"
        )
    for side in sides if sides[0] in OURS else ():
        share = statistics.median(alone / times[side] for alone, times in zip(products, rounds, strict=True))
        print(f"{name:>5}: the products of our step alone take {share:.0%} of the time of a step of {side}")
