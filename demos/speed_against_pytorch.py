# %% [markdown]
# # A training step here, and the same step in PyTorch
#
# The same GPT, batch and optimizer on both sides: forward, backward, clipping and AdamW in float32, two threads each.
# Absolute times depend on the machine and on what else runs there, so the two take turns and the ratio of each pair is
# what counts. PyTorch is no dependency of the package: where it is not installed, this demo times our side alone.
#
# Run it with `python demos/speed_against_pytorch.py`; `--full` adds the 124M model, which needs about 6 GB of memory.

# %%
import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np

from tinygrad_llm import manual_seed
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.optim import AdamW, clip_grad_norm_

options = argparse.ArgumentParser(description="Training steps per second, here and in PyTorch.")
options.add_argument("--full", action="store_true", help="also the 124M model of GPT-2")
options.add_argument("--rounds", type=int, default=5, help="timed rounds of each side (default: 5)")
arguments, _ = options.parse_known_args()

MODELS = {  # vocabulary, context, width, heads, layers, batch, steps per round
    "0.8M": (65, 64, 128, 4, 4, 12, 10),
    "12M": (4096, 128, 384, 6, 6, 32, 1),
}
if arguments.full:
    MODELS["124M"] = (50257, 256, 768, 12, 12, 4, 1)

# %% [markdown]
# ## Our side: the public classes, as a training loop uses them


# %%
def numpy_step(vocabulary: int, context: int, width: int, heads: int, layers: int, batch: int) -> Callable[[], None]:
    """A function that does one training step on fixed random tokens."""
    manual_seed(0)
    config = GPTConfig(vocabulary, context, width, heads, layers, dropout=0.0, qkv_bias=True, tie_weights=True)
    model = GPT(config, init="gpt2")
    optimizer = AdamW(model.parameters(), lr=1e-4, weight_decay=0.1)
    parameters = list(model.parameters())
    ids, targets = tokens(vocabulary, batch, context)

    def step() -> None:
        model.loss(ids, targets).backward()
        clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def tokens(vocabulary: int, batch: int, context: int) -> tuple[np.ndarray, np.ndarray]:
    """Made-up ids and targets, without any random stream: what a step costs does not depend on them."""
    ids = np.arange(batch * context).reshape(batch, context) * 7919 % vocabulary
    return ids, (ids + 1) % vocabulary


# %% [markdown]
# ## PyTorch's side: the same model with its own layers and its fused attention


# %%
def pytorch_step(vocabulary: int, context: int, width: int, heads: int, layers: int, batch: int) -> Callable[[], None]:
    """The same step in eager PyTorch with two threads."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(2)
    torch.manual_seed(0)

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
            self.blocks = nn.Sequential(*[Block() for _ in range(layers)])
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
    ids, targets = (torch.from_numpy(array) for array in tokens(vocabulary, batch, context))

    def step() -> None:
        model(ids, targets).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


# %% [markdown]
# ## In turns


# %%
def seconds(step: Callable[[], None], repeats: int) -> float:
    started = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - started) / repeats


print("== A training step, in seconds (medians) ==")
with_pytorch = importlib.util.find_spec("torch") is not None
if not with_pytorch:
    print("PyTorch is not installed here: our side alone")
for name, (*sizes, repeats) in MODELS.items():
    ours = numpy_step(*sizes)
    theirs = pytorch_step(*sizes) if with_pytorch else None
    ours()  # the first step allocates
    if theirs:
        theirs()
    pairs = [(seconds(ours, repeats), seconds(theirs, repeats) if theirs else 0.0) for _ in range(arguments.rounds)]
    here = statistics.median(pair[0] for pair in pairs)
    line = f"{name:>5}: NumPy {here:.4f} s, {sizes[-1] * sizes[1] / here:,.0f} tokens/s"
    if theirs:
        there = statistics.median(pair[1] for pair in pairs)
        ratios = sorted(pair[1] / pair[0] for pair in pairs)
        line += f"; PyTorch {there:.4f} s, {sizes[-1] * sizes[1] / there:,.0f} tokens/s"
        line += f"; speed against PyTorch {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
    print(line)
