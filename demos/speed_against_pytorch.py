# %% [markdown]
# # The speed of a training step, here and in PyTorch
#
# Both libraries run the same GPT, batch and optimizer: forward, backward, clipping and AdamW in float32, with the
# same number of threads. Absolute times depend on the machine and its load, so the two alternate, and the ratio of
# each pair is the result. PyTorch is not a dependency of the package: without it the demo measures this package
# alone.
#
# With mpi4py installed, the batch is also shared by one process of one thread per core, as in `mpiexec -n N
# tinygrad-llm train`: then every part of a step runs on all cores, not only its matrix products.
#
# Run it with `python demos/speed_against_pytorch.py`; `--full` adds the 124M model, which needs about 6 GB of memory.
# `tinygrad-llm bench` shows where the time of a step goes.

# %%
import argparse
import importlib.util
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tinygrad_llm import manual_seed
from tinygrad_llm.data import WindowLoader
from tinygrad_llm.measure.peak_memory import HighWaterMark
from tinygrad_llm.measure.products_alone import products_alone
from tinygrad_llm.measure.training_step import PRESETS, TrainingStep, Workload, arbitrary_tokens
from tinygrad_llm.models import GPT
from tinygrad_llm.random import Generator
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.study.counting import flops
from tinygrad_llm.train import Callback, Trainer, TrainingSettings, join_launch
from tinygrad_llm.train.parallel import ParallelTrainer
from tinygrad_llm.train.parallel.launch import available_cores

end_quietly()

SIDES = ("NumPy", "PyTorch")
STEPS_OF_MEMORY = 2  # AdamW's moments exist from the second step on

options = argparse.ArgumentParser(description="Training steps per second, here and in PyTorch, and what they hold.")
options.add_argument("--models", nargs="+", choices=PRESETS, default=["0.8M", "12M"], help="(default: 0.8M 12M)")
options.add_argument("--full", action="store_true", help="also the 124M model of GPT-2")
options.add_argument("--rounds", type=int, default=5, help="timed rounds of each library (default: 5)")
options.add_argument("--share", metavar="MODEL", help=argparse.SUPPRESS)  # the role in which mpiexec starts this file
options.add_argument(
    "--memory-of", nargs=2, metavar=("SIDE", "MODEL"), help="measure only the memory of one library, in bytes"
)
arguments, _ = options.parse_known_args()

# %% [markdown]
# ## This package: its public classes, used as in a training loop
#
# `TrainingStep` is also what `tinygrad-llm bench` measures.

# %% [markdown]
# ## PyTorch: the same model with its own layers and its fused attention


# %%
def pytorch_step(workload: Workload) -> Callable[[], None]:
    """The same step in eager PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", len(available_cores()))))
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

    def step() -> None:
        model(ids, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


STEPS: dict[str, Callable[[Workload], Callable[[], None]]] = {"NumPy": TrainingStep, "PyTorch": pytorch_step}

# %% [markdown]
# ## Memory, each library in its own process
#
# The peak memory of the process minus its memory before the model was built. A step of the smallest model runs first,
# so that what a library loads on first use is not counted.

# %%
if arguments.memory_of:
    side, name = arguments.memory_of
    STEPS[side](PRESETS["smoke"])()
    mark = HighWaterMark()
    step = STEPS[side](PRESETS[name])
    for _ in range(STEPS_OF_MEMORY):
        step()
    print(mark.risen)
    sys.exit()


def peak_memory(side: str, name: str) -> int:
    """The peak memory of a step. Units: bytes."""
    command = [sys.executable, sys.argv[0], "--memory-of", side, name]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


# %% [markdown]
# ## This package with one process per core
#
# mpiexec starts this part. It is the training loop itself: each process computes the gradient of its rows, the
# gradients are summed, and all processes take the same step. The first two steps allocate memory and are not counted.


# %%
class Clock(Callback):
    """Records the time at which each step ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.ends.append(time.perf_counter())


if arguments.share:
    workload, clock = PRESETS[arguments.share], Clock()
    ids = np.arange(10 * workload.tokens) * 7919 % workload.config.vocab_size
    manual_seed(0)
    ParallelTrainer(
        GPT(workload.config, init="gpt2"),
        WindowLoader(ids, workload.config.context_length, workload.batch_size, Generator(0)),
        TrainingSettings(steps=2 + max(2, workload.steps // 3), batch_size=workload.batch_size, eval_interval=0),
        callbacks=[clock],
        communicator=join_launch(),
    ).train()
    if clock.ends:  # those of the first process
        print(statistics.median(np.diff(clock.ends[1:])))
    sys.exit()


def seconds_shared(name: str) -> float:
    """Seconds of a step shared by one process per core."""
    count = str(min(len(available_cores()), PRESETS[name].batch_size))
    command = [str(MPIEXEC), "-n", count, sys.executable, sys.argv[0], "--share", name]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, check=True, text=True, env=environment)
    return float(done.stdout)


# %% [markdown]
# ## A lower bound of the time of a step
#
# NumPy computes matrix products with its BLAS library, PyTorch with another. The products of a step alone are a lower
# bound of the time of this package's step; where PyTorch's whole step takes hardly longer, NumPy cannot be much
# faster than PyTorch.


# %%
def products_of_a_step(workload: Workload) -> Callable[[], None]:
    """The matrix products of one step, forward and backward, and nothing else."""
    counted = flops(GPT(workload.config), workload.batch_size, workload.config.context_length)
    products = list(products_alone(counted.products))

    def multiply() -> None:
        for product in products:
            product()

    return multiply


# %% [markdown]
# ## Speed, in alternating rounds


# %%
def seconds(step: Callable[[], None], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - started) / repeats


print("== A training step, in seconds (medians) ==")
sides = SIDES if importlib.util.find_spec("torch") is not None else SIDES[:1]
if "PyTorch" not in sides:
    print("PyTorch is not installed: this package alone")
MPIEXEC = shutil.which("mpiexec", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
shared = MPIEXEC is not None and importlib.util.find_spec("mpi4py") is not None and len(available_cores()) > 1
for name in dict.fromkeys(arguments.models + ["124M"] * arguments.full):
    workload = PRESETS[name]
    held = {side: peak_memory(side, name) for side in sides}
    steps = {side: STEPS[side](workload) for side in sides}
    multiply = products_of_a_step(workload)
    for work in (*steps.values(), multiply):
        work()  # the first step allocates memory
    repeats = max(1, workload.steps // 3)
    rounds, products = [], []
    for _ in range(arguments.rounds):
        rounds.append({side: seconds(step, repeats) for side, step in steps.items()})
        if shared:
            rounds[-1]["shared"] = seconds_shared(name)
        products.append(seconds(multiply, repeats))
    for side in rounds[0]:
        taken = statistics.median(one[side] for one in rounds)
        memory = f", {held[side] / 1e6:,.0f} MB at most" if side in held else " by a process on each core"
        print(f"{name:>5}: {side:<7} {taken:.4f} s, {workload.tokens / taken:,.0f} tokens/s{memory}")
    if "PyTorch" in sides:
        for side in [side for side in rounds[0] if side != "PyTorch"]:
            ratios = sorted(one["PyTorch"] / one[side] for one in rounds)
            print(
                f"{name:>5}: {side:<7} has {statistics.median(ratios):.2f} times PyTorch's speed "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
                + (f", {held[side] / held['PyTorch']:.2f} times its memory" if side in held else "")
            )
    for side in sides:
        share = statistics.median(alone / one[side] for alone, one in zip(products, rounds, strict=True))
        print(f"{name:>5}: the products of our step alone take {share:.0%} of the time of {side}'s step")
