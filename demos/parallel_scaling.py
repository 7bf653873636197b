# %% [markdown]
# # Data-parallel training: how many machines are worth it?
#
# Several processes share every batch (`mpiexec -n N tinygrad-llm train`). Each computes the gradient of its rows; the
# gradients are summed (all-reduce), and every process takes the same step. A step takes
#
#     T(N) = forward and backward / N  +  2 (N - 1) / N · bytes of gradient / bandwidth  +  optimizer
#
# for a batch of constant size: the first term shrinks, the second stays nearly the same for any number of processes,
# and the third is done by every process. The factor 2 (N - 1) / N: every number is sent once to be summed and once as
# a sum.
#
# This is about machines. Workers within one (`--workers`) share memory and send nothing: no second term, and the
# optimizer's work is divided too.
#
# Three quantities are measured here: the time per token, the time of the optimizer, and the speed at which two
# processes of this machine sum. The rest is arithmetic: time per step for other numbers of machines like this one,
# and other networks. Latency is left out (a fraction of a millisecond on Ethernet, far below these times), and so is
# overlap.
#
# Run it with `python demos/parallel_scaling.py` (half a minute, 3 GB of memory). `--small` measures a small model
# instead; `--seconds-per-token` and `--optimizer-seconds` take figures measured elsewhere, for example on another
# machine.

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

import numpy as np

from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.nn import init
from tinygrad_llm.optim import AdamW, clip_grad_norm_
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.train import join_launch

end_quietly()

options = argparse.ArgumentParser(description="Time per step against machines and network, from measured figures.")
options.add_argument("--small", action="store_true", help="measure a model of 2 million parameters, not of 124 million")
options.add_argument("--batch-tokens", type=int, default=524_288, help="tokens per step (default: GPT-2's 524,288)")
options.add_argument("--seconds-per-token", type=float, help="forward and backward at 124M, if measured elsewhere")
options.add_argument("--optimizer-seconds", type=float, help="clipping and AdamW at 124M, if measured elsewhere")
options.add_argument("--gigabits", type=float, nargs="+", default=[1, 10, 100], help="networks (default: 1 10 100)")
options.add_argument(
    "--sum-only", action="store_true", help=argparse.SUPPRESS
)  # the role in which mpiexec starts this file
arguments, _ = options.parse_known_args()

# %% [markdown]
# ## How fast two processes sum
#
# mpiexec starts this part in two processes, which sum an array as training sums gradients. The bandwidth is that of
# the formula: bytes of gradient · 2 (N - 1) / N, divided by the time.


# %%
def sum_bandwidth() -> tuple[float, int]:
    """Bandwidth of the sum that training uses, in bytes per second, and the number of processes."""
    world = join_launch()
    gradients = np.ones(8_000_000, np.float32)
    times = []
    for _ in range(7):
        world.sum(np.zeros(1))  # a barrier: all begin together
        started = time.perf_counter()
        world.sum(gradients)
        times.append(time.perf_counter() - started)
    return gradients.nbytes * 2 * (world.size - 1) / world.size / statistics.median(times), world.size


if arguments.sum_only:
    bandwidth, processes = sum_bandwidth()
    if join_launch().rank == 0:
        print(bandwidth)
    raise SystemExit(0)


def bandwidth_of_this_machine() -> float | None:
    """Bandwidth between two processes of this machine; None without mpi4py or mpiexec. Units: bytes per second."""
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    mpiexec = shutil.which("mpiexec", path=places)
    if mpiexec is None or importlib.util.find_spec("mpi4py") is None:
        return None
    command = [mpiexec, "-n", "2", sys.executable, __file__, "--sum-only"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


# %% [markdown]
# ## Time per token and of the optimizer
#
# One step of the smallest GPT-2 on one sequence of 256 tokens. The optimizer's time does not depend on the batch; the
# rest grows with it. A larger batch uses the processor a little better, so this estimate is on the slow side.


# %%
def measure_step(config: GPTConfig, tokens: int) -> tuple[float, float]:
    """Seconds of forward and backward per token, and of clipping and AdamW per step: medians of three steps."""
    with init.no_initial_values():
        model = GPT(config)
    for parameter in model.parameters():  # any small numbers: what a step costs does not depend on them
        parameter.data[...] = np.resize(np.sin(np.arange(997, dtype=np.float32)) * 0.02, parameter.shape)
    parameters = list(model.parameters())
    optimizer = AdamW(parameters, lr=1e-4)
    ids = np.arange(tokens)[None] * 7919 % config.vocab_size
    products, updates = [], []
    for _ in range(3):
        started = time.perf_counter()
        model.loss(ids, (ids + 1) % config.vocab_size).backward()
        between = time.perf_counter()
        clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        products.append((between - started) / tokens)
        updates.append(time.perf_counter() - between)
    return statistics.median(products), statistics.median(updates)


def count_tied_parameters(config: GPTConfig) -> int:
    """The number of parameters by formula, for models too large to build here; the head shares the token table."""
    c = config.embedding_dim
    block = 12 * c * c + 13 * c  # four projections and a feed-forward four times as wide, biases, two norms
    return (config.vocab_size + config.context_length) * c + config.num_layers * block + 2 * c


def flops_per_token(config: GPTConfig, context: int) -> float:
    """6 for each weight of a product (forward, and twice that backward), and attention's two products, half masked."""
    c = config.embedding_dim
    weights = 12 * config.num_layers * c * c + config.vocab_size * c
    return 6 * weights + 6 * config.num_layers * c * context


gpt2 = {"qkv_bias": True, "tie_weights": True, "dropout": 0.0}
SMALLEST, LARGEST = GPTConfig.preset("gpt2-small", **gpt2), GPTConfig.preset("gpt2-xl", **gpt2)
CONTEXT = SMALLEST.context_length
measured = GPTConfig.preset("micro", qkv_bias=True) if arguments.small else SMALLEST
context = min(256, measured.context_length)

print("== Measured ==")
if arguments.seconds_per_token and arguments.optimizer_seconds:
    measured, per_token, update = SMALLEST, arguments.seconds_per_token, arguments.optimizer_seconds
    print(f"as given: {per_token * 1e3:.2f} ms per token, optimizer {update:.3f} s, at 124M")
else:
    per_token, update = measure_step(measured, context)
    rate = flops_per_token(measured, context) / per_token
    print(
        f"{count_tied_parameters(measured):,} parameters, one sequence of {context}: {per_token * 1e3:.3f} ms per "
        f"token ({rate / 1e9:.0f} GFLOP/s), optimizer {update:.3f} s"
    )
here = bandwidth_of_this_machine()
if here is None:
    print("mpi4py is not installed here, so the sum of two processes was not measured: pip install 'tinygrad-llm[mpi]'")
else:
    print(f"two processes of this machine sum {here / 1e9:.2g} GB/s")

# %% [markdown]
# ## Estimates
#
# The time per token of another model is the measured one scaled by floating-point operations, at GPT-2's own context
# of 1,024 tokens; the time of its optimizer scales with the parameters. More machines are worth it as long as each
# does at least half of the work that it would do alone: an efficiency T(1) / (N · T(N)) of at least 50%. A row of the
# batch cannot be split, so there are at most as many machines as rows.


# %%
def seconds_per_step(config: GPTConfig, machines: int, bytes_per_second: float) -> float:
    """T(N) of the formula at the top. Units: seconds."""
    parameters = count_tied_parameters(config)
    work = arguments.batch_tokens * per_token * flops_per_token(config, CONTEXT) / flops_per_token(measured, context)
    exchange = 2 * (machines - 1) / machines * 4 * parameters / bytes_per_second
    return work / machines + exchange + update * parameters / count_tied_parameters(measured)


def most_that_pay(time_of: Callable[[int], float], rows: int) -> int:
    """The largest power of two at which each machine has a row and the efficiency is at least 50%."""
    machines = 1
    while 2 * machines <= rows and time_of(1) >= 0.5 * 2 * machines * time_of(2 * machines):
        machines *= 2
    return machines


def how_long(seconds: float) -> str:
    for unit, length in (("years", 365 * 86400), ("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.1f} {unit}"
    return f"{seconds:,.1f} s"


rows = max(arguments.batch_tokens // CONTEXT, 1)
networks = {f"{gigabits:g} Gbit/s": gigabits * 1e9 / 8 for gigabits in arguments.gigabits}
if here is not None:
    networks["memory"] = here  # an upper bound: a network as fast as the memory that two cores share
for name, config in (("124M", SMALLEST), ("1.5B", LARGEST)):
    parameters = count_tied_parameters(config)
    print(f"\n== {name}: {arguments.batch_tokens:,} tokens per step, estimated ==")
    memory = 20 * parameters  # the weight, two moments of AdamW, the gradient, and the buffer it is summed in
    print(f"{4 * parameters / 1e9:.2f} GB of gradient; at least {memory / 1e9:.0f} GB of memory in each process")
    print("machines " + "".join(f"{network:>16}" for network in networks) + "   time per step")
    for machines in (2**power for power in range(rows.bit_length())):
        times = [seconds_per_step(config, machines, speed) for speed in networks.values()]
        print(f"{machines:>8} " + "".join(f"{how_long(seconds):>16}" for seconds in times))
    for network, speed in networks.items():

        def time_of(machines: int, config: GPTConfig = config, speed: float = speed) -> float:
            return seconds_per_step(config, machines, speed)

        most = most_that_pay(time_of, rows)
        limit = "the rows end" if 2 * most > rows else "more would mostly wait"
        steps = 20 * parameters / arguments.batch_tokens  # 20 tokens per parameter: Hoffmann et al. 2022
        print(
            f"{network}: {most:,} machines pay, then {limit}; {how_long(time_of(most))} per step; 20 tokens per "
            f"parameter take {how_long(steps * time_of(most))} there and {how_long(steps * time_of(1))} on one"
        )

# %% [markdown]
# ## Beyond that: continue in PyTorch
#
# Beyond that number, machines mostly wait for each other, and faster processors help more than further processes:
# `export` writes a run's weights and tokenizer as a Hugging Face folder with the same logits, and training continues
# in PyTorch on GPUs. The optimizer's state is not exported: begin with a short warm-up.

# %%
print(
    """
== Beyond that ==
tinygrad-llm export --model runs/gpt --out gpt-hf      # the run as a Hugging Face folder
pip install torch transformers
python -c "from transformers import AutoModelForCausalLM as M; M.from_pretrained('gpt-hf')"
torchrun --nproc-per-node 8 your_training.py           # that model in DistributedDataParallel, a short warm-up"""
)
