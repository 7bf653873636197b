# %% [markdown]
# # Muon and AdamW: at equal steps, and at equal time
#
# AdamW scales each number of a gradient by its own history. Muon (Jordan et al. 2024) looks at a gradient as a matrix:
# it replaces it by the nearest orthogonal matrix, so that all directions of a weight move alike and not only the few
# that dominate. That needs fewer steps, and each step costs more. Is it worth it?
#
# A character GPT of 0.8M parameters trains on Shakespeare with nanoGPT's recipe for a laptop: 12 x 64 characters per
# step, peak learning rate 1e-3, cosine decay. Per seed there are three trainings: AdamW; Muon with as many steps; and
# Muon with fewer steps, which take the CPU time of AdamW's. Muon updates the matrices inside the blocks, AdamW all
# other parameters; Muon's step is scaled to the size of AdamW's (Liu et al. 2025, arXiv:2502.16982), so that both have
# the same learning rates and weight decay.
#
# `--full` runs the recipe's 2,000 steps with three seeds, about half an hour on one core. Run it with
# OPENBLAS_NUM_THREADS=1: CPU time is then the time of one core. Set TINYGRAD_LLM_DATA to a folder that holds
# `tinyshakespeare.txt`; without it, the text is Python's documentation.

# %%
import argparse
import statistics
import time

import numpy as np

from tinygrad_llm import Generator, manual_seed
from tinygrad_llm.data import WindowBatches, WindowLoader, train_validation_split
from tinygrad_llm.errors import DataError
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.optim import AdamW, Optimizer, clip_grad_norm_, muon_and_adamw
from tinygrad_llm.optim.schedules import warmup_cosine
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import CharTokenizer, corpora
from tinygrad_llm.train import evaluate, evenly_spaced

end_quietly()

options = argparse.ArgumentParser(description="Compare Muon with AdamW at equal steps and at equal time.")
options.add_argument("--full", action="store_true", help="the whole recipe: 2,000 steps, three seeds")
options.add_argument("--peak", type=float, default=1e-3, metavar="X", help="peak learning rate (default: 1e-3)")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own

STEPS, SEEDS = (2000, (0, 1, 2)) if arguments.full else (120, (0,))
CONTEXT, BATCH, EVALUATED = 64, 12, 100 if arguments.full else 20
try:
    text = corpora.load_text("tinyshakespeare")
except DataError as missing:
    print(f"({missing}; the text is Python's documentation)")
    text = corpora.load_text("python-docs")
tokenizer = CharTokenizer.train(text)
train_ids, validation_ids = (np.array(tokenizer.encode(part)) for part in train_validation_split(text, 0.1))
validation = evenly_spaced(WindowBatches(validation_ids, CONTEXT, BATCH), EVALUATED)
print("== Muon and AdamW ==")
print(f"{len(train_ids):,} characters to train on, {tokenizer.vocab_size} different ones")

# %% [markdown]
# ## Two optimizers, one loop
#
# `tinygrad-llm train --optimizer muon` makes the same choice.


# %%
def new_optimizer(model: GPT, name: str) -> Optimizer:
    """AdamW for all parameters; or Muon for the matrices of the blocks, and AdamW for the others."""
    named = list(model.named_parameters())
    groups = [
        {"params": [(name, p) for name, p in named if p.ndim >= 2], "weight_decay": 0.1},
        {"params": [(name, p) for name, p in named if p.ndim < 2], "weight_decay": 0.0},
    ]
    betas = (0.9, 0.99)
    return muon_and_adamw(model, groups, betas=betas) if name == "Muon" else AdamW(groups, betas=betas)


def train_with(name: str, seed: int, steps: int) -> tuple[float, float]:
    """Train a new model. Returns its validation loss in nats per character, and the CPU seconds of a step."""
    manual_seed(seed)
    config = GPTConfig.preset("nano", vocab_size=tokenizer.vocab_size)
    model = GPT(config, init="gpt2")
    loader = WindowLoader(train_ids, CONTEXT, BATCH, Generator(seed))
    optimizer = new_optimizer(model, name)
    rate = warmup_cosine(arguments.peak, min(100, steps // 10), steps, arguments.peak / 10)
    parameters, done, started = list(model.parameters()), 0, time.process_time()
    while done < steps:
        for inputs, targets in loader:
            if done == steps:
                break
            model.loss(inputs, targets).backward()
            clip_grad_norm_(parameters, 1.0)
            for group in optimizer.param_groups:
                group["lr"] = rate(done)
            optimizer.step()
            model.zero_grad()
            done += 1
    seconds = (time.process_time() - started) / steps
    return evaluate(model, validation), seconds


# %% [markdown]
# ## The comparison
#
# All three trainings of a seed start with the same weights and see the same batches in the same order.

# %%
print(f"\n{'seed':>4} {'AdamW':>9} {'Muon, equal steps':>18} {'Muon, equal time':>17}   a step of Muon costs")
differences = []
for seed in SEEDS:
    adamw, seconds = train_with("AdamW", seed, STEPS)
    muon, muon_seconds = train_with("Muon", seed, STEPS)
    ratio = muon_seconds / seconds
    fewer = max(1, round(STEPS / ratio))
    shorter, _ = train_with("Muon", seed, fewer)
    differences.append((muon - adamw, shorter - adamw))
    row = f"{seed:>4} {adamw:>9.4f} {muon:>18.4f} {shorter:>17.4f}"
    print(f"{row}   {ratio:.2f} times AdamW's: {fewer:,} steps of {STEPS:,}", flush=True)

# %%
print("\nvalidation loss, nats per character, Muon minus AdamW (below 0: Muon is better)")
for name, values in zip(("equal steps", "equal time"), zip(*differences, strict=True), strict=True):
    spread = f" ± {statistics.stdev(values):.4f} over {len(values)} seeds" if len(values) > 1 else ""
    print(f"at {name}: {statistics.mean(values):+.4f}{spread}")
