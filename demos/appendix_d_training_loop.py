# %% [markdown]
# # Appendix D: warm-up, cosine decay and clipping
#
# Three techniques keep the training of large models stable: warm-up of the learning rate, cosine decay, and clipping
# of the gradient norm. Each is written out here and compared with the package's function; the last section adds them
# to the loop of chapter 5.
#
# `python demos/appendix_d_training_loop.py` takes half a minute and 1.4 GB of memory: the gradients are those of the
# 124M model, the training is that of a small one. `--full` trains the book's model for its 15 epochs, which takes
# minutes to tens of minutes.

# %%
import argparse
import itertools
import math
import time

import numpy as np

from tinygrad_llm import Tensor, manual_seed, optim
from tinygrad_llm.data import DataLoader, SlidingWindows, train_validation_split
from tinygrad_llm.errors import DataError
from tinygrad_llm.generate import generate
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import GPT2Tokenizer, SimpleTokenizerV2, Tokenizer, corpora
from tinygrad_llm.train import duration, evaluate

end_quietly()

options = argparse.ArgumentParser(description="Appendix D of the book: learning rates over time, clipped gradients.")
options.add_argument("--full", action="store_true", help="train the book's 124M model for its 15 epochs")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own

try:
    text = corpora.load_text("the-verdict")
    corpora.find("gpt2-vocabulary")
    tokenizer: Tokenizer = GPT2Tokenizer()
    books_data = True
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run learns from Python's own documentation; its gradients and losses are not the book's.\n")
    text = corpora.load_text("python-docs")[:20_000]
    tokenizer = SimpleTokenizerV2.train(text)
    books_data = False

config = GPTConfig(context_length=256)
front, end = (SlidingWindows(tokenizer.encode(part), 256) for part in train_validation_split(text, 0.1))
manual_seed(123)
training = DataLoader(front, batch_size=2, shuffle=True, drop_last=True)
validation = DataLoader(end, batch_size=2)

# %% [markdown]
# ## Warm-up
#
# At first gradients are large and AdamW's moments are not yet reliable, so the learning rate starts low and rises
# linearly. 15 epochs, with a fifth of all steps for the warm-up:

# %%
print("== D.1 Learning rate warmup ==")
epochs, initial, peak = 15, 0.0001, 0.01
total_steps = len(training) * epochs
warmup_steps = int(0.2 * total_steps)
print(f"batches: {len(training)}, steps: {total_steps}, of them for warm-up: {warmup_steps}")

increment = (peak - initial) / warmup_steps
rates = []
for _ in range(epochs):
    for batch in training:
        inputs, targets = batch  # here the model would compute the loss, and the optimizer take a step
        rates.append(initial + len(rates) * increment if len(rates) < warmup_steps else peak)


def show(rates: list[float]) -> None:
    """The learning rates of some steps."""
    for step in (0, 1, 13, warmup_steps - 1, warmup_steps, (warmup_steps + total_steps) // 2, total_steps - 1):
        print(f"step {step}: learning rate {rates[step]:.6f}")


show(rates)

# %% [markdown]
# ## Cosine decay
#
# Near the end, large steps would overshoot the minimum. After the warm-up the rate follows half a cosine from the
# peak down to a tenth of the initial rate: slow at first, fast in the middle, slow at the end. The package's
# `warmup_cosine` does both.

# %%
print("\n== D.2 Cosine decay ==")
minimum = 0.1 * initial
rates = []
for _ in range(epochs):
    for batch in training:
        inputs, targets = batch
        step = len(rates)
        if step < warmup_steps:
            rates.append(initial + step * increment)
        else:
            progress = (step - warmup_steps) / (total_steps - warmup_steps)
            rates.append(minimum + (peak - minimum) * 0.5 * (1 + math.cos(math.pi * progress)))
show(rates)
rate = optim.schedules.warmup_cosine(peak, warmup_steps, total_steps, minimum, initial)
difference = max(abs(rate(step) - rates[step]) for step in range(total_steps))
print(f"warmup_cosine against the steps by hand: largest difference {difference:.1e}")

# %% [markdown]
# ## Clipping
#
# The norm of a gradient is the square root of the sum of its squares. If it exceeds the limit, the gradient is
# multiplied by limit / norm, which keeps its direction.

# %%
print("\n== D.3 Gradient clipping ==")
gradient = np.array([[1.0, 2.0], [2.0, 4.0]])
norm = math.sqrt(np.square(gradient).sum())
print(f"norm {norm:.1f}, clipped to 1: {(gradient / norm).tolist()}")
weight = Tensor(np.zeros((2, 2)), requires_grad=True)
weight.backward(gradient)
print(f"clip_grad_norm_ returns {optim.clip_grad_norm_([weight], max_norm=1.0):.1f}")
print(f"clip_grad_norm_ against division by hand: largest difference {np.abs(weight.grad - gradient / norm).max():.1e}")

# %% [markdown]
# Now the gradients of the 124M model, for the last batch of the loop above. The gradients of all parameters are one
# long vector with one norm, and one factor scales them all.


# %%
def largest_gradient(model: GPT) -> float:
    """The largest element of all gradients (the largest value, not the largest absolute value)."""
    return max(float(parameter.grad.max()) for parameter in model.parameters())


manual_seed(123)
model = GPT(config)  # in training mode: the masks of dropout are drawn after the weights
model.loss(inputs, targets).backward()
print(f"largest gradient: {largest_gradient(model):.4f}")
print(f"norm of all of them: {optim.clip_grad_norm_(model.parameters(), max_norm=1.0):.4f}")
print(f"largest gradient, clipped: {largest_gradient(model):.4f}")
print(f"norm, clipped: {optim.grad_norm(model.parameters()):.4f}")
del model

# %% [markdown]
# ## All three in the loop
#
# The learning rate is set before each step, and gradients are clipped after the warm-up. The package's `Trainer` does
# the same, but clips from the first step.
#
# Two details matter for the figures. Steps count from 0, so the first one has the initial rate. And each evaluation
# draws one batch of each loader from the default random stream, as in the book.

# %%
print("\n== D.4 The modified training function ==")
if full and not books_data:
    print("NOTE: --full needs the story and GPT-2's vocabulary; this run stays small.")
if full and books_data:
    peak, opening = 0.001, "Every effort moves you"
else:
    tokenizer = SimpleTokenizerV2.train(text)
    config = GPTConfig(tokenizer.vocab_size, context_length=64, embedding_dim=128, num_heads=4, num_layers=2)
    front, end = (SlidingWindows(tokenizer.encode(part), 64) for part in train_validation_split(text, 0.1))
    training = DataLoader(front, batch_size=4, shuffle=True, drop_last=True)
    validation = DataLoader(end, batch_size=4)
    peak, opening = 0.004, " ".join(text.split()[:4])


def train_steadily(model: GPT, optimizer: optim.AdamW, epochs: int, warmup_steps: int, initial: float, minimum: float):
    """Train with warm-up, cosine decay and clipping; print losses and samples; return each step's learning rate."""
    peak, total_steps = optimizer.param_groups[0]["lr"], epochs * len(training)
    rates: list[float] = []
    for epoch in range(1, epochs + 1):
        model.train()
        for inputs, targets in training:
            step = len(rates)
            if step < warmup_steps:
                rates.append(initial + step * (peak - initial) / warmup_steps)
            else:
                progress = (step - warmup_steps) / (total_steps - warmup_steps)
                rates.append(minimum + (peak - minimum) * 0.5 * (1 + math.cos(math.pi * progress)))
            for group in optimizer.param_groups:
                group["lr"] = rates[-1]
            optimizer.zero_grad()
            model.loss(inputs, targets).backward()
            if step > warmup_steps:
                optim.clip_grad_norm_(model.parameters(), max_norm=1.0)
            optimizer.step()
            if step % 5 == 0:
                seen, unseen = (evaluate(model, itertools.islice(loader, 1)) for loader in (training, validation))
                print(f"epoch {epoch} (step {step:06d}): training loss {seen:.3f}, validation loss {unseen:.3f}")
        sample = generate(model, tokenizer.encode(opening), 50)
        print(" ".join(tokenizer.decode([int(token) for token in sample]).split("\n")))
    return rates


manual_seed(123)
model = GPT(config)
optimizer = optim.AdamW(model.parameters(), lr=peak, weight_decay=0.1)
warmup_steps = int(0.2 * epochs * len(training))
started = time.perf_counter()
rates = train_steadily(model, optimizer, epochs, warmup_steps, initial=1e-5, minimum=1e-5)
print(f"{epochs} epochs took {duration(time.perf_counter() - started)}")
print(f"learning rate: first {rates[0]:.6f}, highest {max(rates):.6f} at step {np.argmax(rates)}, last {rates[-1]:.6f}")
