# %% [markdown]
# # Chapter 3: attention, one idea at a time
#
# Five steps: a mean weighted by similarity; learned queries, keys and values; a causal mask; dropout on the attention
# weights; several heads. Each step is written with Tensor operations. The last cells compare the results and
# gradients with the package's own attention, which never stores the (T, T) matrix of weights.
#
# Run it with `python demos/ch03_attention.py`; `--full` compares at GPT-2's full context of 1,024 tokens.

# %%
import argparse
import math
import time

import numpy as np

import tinygrad_llm.nn.functional as F
from tinygrad_llm import Tensor, cat, default_generator, manual_seed, nn, no_grad, stack
from tinygrad_llm.scripts import end_quietly

end_quietly()

options = argparse.ArgumentParser(description="Chapter 3 of the book: attention from a weighted mean to several heads.")
options.add_argument("--full", action="store_true", help="compare at GPT-2's context of 1,024 tokens instead of 64")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
np.set_printoptions(precision=4, suppress=True, floatmode="fixed")

# %% [markdown]
# The first two sections of the chapter have no code. A recurrent network compresses all that it has read into one
# vector before it answers; attention lets every position read all the others and weight them.
#
# The text is "Your journey starts with one step", with each word already represented by three numbers.

# %%
print("== 3.1 The problem with modeling long sequences ==")
print("\n== 3.2 Capturing data dependencies with attention mechanisms ==")
words = ["Your", "journey", "starts", "with", "one", "step"]
inputs = Tensor(
    [
        [0.43, 0.15, 0.89],
        [0.55, 0.87, 0.66],
        [0.57, 0.85, 0.64],
        [0.22, 0.58, 0.33],
        [0.77, 0.25, 0.10],
        [0.05, 0.80, 0.55],
    ]
)
print(f"{len(words)} words of {inputs.shape[1]} numbers each: {' '.join(words)}")

# %% [markdown]
# ## Step 1: a weighted mean
#
# How relevant is each word to "journey"? The dot product measures similarity; softmax turns these scores into weights
# that are positive and sum to 1; the context vector is the mean of all words with these weights.

# %%
print("\n== 3.3 Attending to different parts of the input with self-attention ==")
print("\n== 3.3.1 A simple self-attention mechanism without trainable weights ==")
query = inputs[1]
scores = inputs @ query
print(f"scores of {words[1]!r}: {scores.data}")
print(f"the first one by hand: {sum(a * b for a, b in zip(inputs[0].tolist(), query.tolist(), strict=True)):.4f}")
print(f"divided by their sum:  {(scores / scores.sum()).data}")


def naive_softmax(x: Tensor) -> Tensor:
    """eˣ / Σ eˣ along the last axis. Large x overflow here, and not in `F.softmax`, which shifts by the largest."""
    powers = x.exp()
    return powers / powers.sum(axis=-1, keepdims=True)


weights = naive_softmax(scores)
print(f"softmax, as written:   {weights.data}, sum {weights.sum().item():.4f}")
print(f"softmax, package's:    {F.softmax(scores).data}")
print(f"context vector:        {(weights @ inputs).data}")

# %% [markdown]
# The same holds for every word. All pairs of words at once are one product of the matrix with its transpose.

# %%
print("\n== 3.3.2 Computing attention weights for all input tokens ==")
scores = inputs @ inputs.T
print(f"scores of all pairs:\n{scores.data}")
weights = F.softmax(scores)
print(f"weights:\n{weights.data}")
print(f"sums of the rows: {weights.sum(axis=-1).data}")
print(f"context vectors:\n{(weights @ inputs).data}")

# %% [markdown]
# ## Step 2: learned projections
#
# The similarity of fixed word vectors cannot be trained. Three learned matrices give each word three vectors: a query
# (what it looks for), a key (what it is found by), and a value (what it passes on).

# %%
print("\n== 3.4 Implementing self-attention with trainable weights ==")
print("\n== 3.4.1 Computing the attention weights step by step ==")
d_in, d_out = inputs.shape[1], 2
generator = manual_seed(123)
W_query, W_key, W_value = (Tensor(generator.rand(d_in, d_out)) for _ in range(3))
query_2, keys, values = inputs[1] @ W_query, inputs @ W_key, inputs @ W_value
print(f"query of {words[1]!r}: {query_2.data}; keys {keys.shape}, values {values.shape}")
print(f"its score with itself: {(query_2 * keys[1]).sum().item():.4f}")
scores_2 = keys @ query_2
print(f"its scores:  {scores_2.data}")

# %% [markdown]
# Before softmax, scores are divided by √d, where d is the width of a key. A dot product of d terms of size 1 has size
# √d; without the division, softmax would put nearly all weight on one word and its gradient would vanish.

# %%
weights_2 = F.softmax(scores_2 / math.sqrt(d_out))
print(f"its weights: {weights_2.data}")
print(f"its context: {(weights_2 @ values).data}")

# %%
print("\n== 3.4.2 Implementing a compact self-attention Python class ==")


def attend(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """softmax(q kᵀ / √d) v."""
    scores = queries @ keys.transpose(-2, -1)
    return F.softmax(scores / math.sqrt(keys.shape[-1])) @ values


class SelfAttentionV1(nn.Module):
    """Self-attention with three matrices of uniform numbers in [0, 1)."""

    def __init__(self, d_in: int, d_out: int) -> None:
        draw = default_generator().rand
        self.query, self.key, self.value = (nn.Parameter(draw(d_in, d_out)) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return attend(x @ self.query, x @ self.key, x @ self.value)


class SelfAttentionV2(nn.Module):
    """The same with linear layers, whose first values are small and centred on 0: better to learn from."""

    def __init__(self, d_in: int, d_out: int) -> None:
        self.query, self.key, self.value = (nn.Linear(d_in, d_out, bias=False) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return attend(self.query(x), self.key(x), self.value(x))


manual_seed(123)
print(f"version 1, seed 123:\n{SelfAttentionV1(d_in, d_out)(inputs).data}")
manual_seed(789)
version_2 = SelfAttentionV2(d_in, d_out)
print(f"version 2, seed 789:\n{version_2(inputs).data}")

# %% [markdown]
# **Exercise 3.1**: with the weights of a version 2, version 1 gives the same result. A linear layer stores its matrix
# as (outputs, inputs), so it must be transposed.

# %%
manual_seed(123)
source, target = SelfAttentionV2(d_in, d_out), SelfAttentionV1(d_in, d_out)
target.load_state_dict({name.removesuffix(".weight"): array.T for name, array in source.state_dict().items()})
print(f"exercise 3.1, version 2:\n{source(inputs).data}")
print(f"version 1 with its weights:\n{target(inputs).data}")

# %% [markdown]
# ## Step 3: the causal mask
#
# A model that predicts the next word must not see it. First the direct way: compute all weights, set those of later
# words to 0, and divide each row by its sum.

# %%
print("\n== 3.5 Hiding future words with causal attention ==")
print("\n== 3.5.1 Applying a causal attention mask ==")
queries, keys = version_2.query(inputs), version_2.key(inputs)
scores = queries @ keys.T
weights = F.softmax(scores / math.sqrt(d_out))
print(f"weights:\n{weights.data}")
past = Tensor(np.ones((6, 6), np.float32)).tril()
print(f"what each word may see:\n{past.data}")
masked = weights * past
print(f"masked:\n{masked.data}")
renormalised = masked / masked.sum(axis=-1, keepdims=True)
print(f"divided by the sum of each row:\n{renormalised.data}")

# %% [markdown]
# The same in one step: a score of -∞ has weight e^-∞ = 0 and adds nothing to the sum, so softmax itself divides
# correctly. All attention in the package works this way.

# %%
hidden_scores = scores.masked_fill(past == 0, -math.inf)
print(f"scores with the future hidden:\n{hidden_scores.data}")
weights = F.softmax(hidden_scores / math.sqrt(d_out))
print(f"weights with the future hidden:\n{weights.data}")
print(f"masked before or after: largest difference {np.abs((weights - renormalised).data).max():.1e}")

# %% [markdown]
# ## Step 4: dropout
#
# During training, dropout sets random weights to 0, so that the model does not rely on single words. The others are
# multiplied by 1 / (1 - p), here 2, so that the expected sum stays the same.

# %%
print("\n== 3.5.2 Masking additional attention weights with dropout ==")
dropout = nn.Dropout(0.5)
manual_seed(123)
print(f"dropout of ones:\n{dropout(np.ones((6, 6), np.float32)).data}")
manual_seed(123)
print(f"dropout of the weights:\n{dropout(weights).data}")
manual_seed(123)
by_hand = weights * (default_generator().rand(6, 6, dtype=np.float64) < 1 - dropout.p) / (1 - dropout.p)
manual_seed(123)
difference = np.abs((by_hand - dropout(weights)).data).max()
print(f"kept where a uniform number is below 1 - p: largest difference {difference:.1e}")

# %%
print("\n== 3.5.3 Implementing a compact causal attention class ==")
batch = stack((inputs, inputs))
print(f"two texts in a batch: {batch.shape}")


class CausalAttention(nn.Module):
    """One head that sees the past only, with dropout on its weights. Shapes: (B, T, d_in) -> (B, T, d_out)."""

    def __init__(self, d_in: int, d_out: int, dropout: float, softmax_axis: int = -1) -> None:
        self.query, self.key, self.value = (nn.Linear(d_in, d_out, bias=False) for _ in range(3))
        self.dropout, self.softmax_axis = nn.Dropout(dropout), softmax_axis

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = self.query(x), self.key(x), self.value(x)
        future = np.triu(np.ones((x.shape[1], x.shape[1]), bool), 1)
        scores = (queries @ keys.transpose(1, 2)).masked_fill(future, -math.inf)
        return self.dropout(F.softmax(scores / math.sqrt(keys.shape[-1]), self.softmax_axis)) @ values


manual_seed(123)
print(f"causal attention, seed 123:\n{CausalAttention(d_in, d_out, 0.0)(batch).data}")

# %% [markdown]
# ## Step 5: several heads
#
# One head represents one kind of relation between words. Several heads, each with its own matrices, are computed in
# parallel and their results concatenated.

# %%
print("\n== 3.6 Extending single-head attention to multi-head attention ==")
print("\n== 3.6.1 Stacking multiple single-head attention layers ==")


class HeadsSideBySide(nn.Module):
    """`num_heads` causal heads of width d_out, concatenated. Shapes: (B, T, d_in) -> (B, T, num_heads · d_out)."""

    def __init__(self, d_in: int, d_out: int, dropout: float, num_heads: int, softmax_axis: int = -1) -> None:
        self.heads = nn.ModuleList(CausalAttention(d_in, d_out, dropout, softmax_axis) for _ in range(num_heads))

    def forward(self, x: Tensor) -> Tensor:
        return cat([head(x) for head in self.heads], axis=-1)


manual_seed(123)
print(f"two heads of width 2, seed 123:\n{HeadsSideBySide(d_in, 2, 0.0, num_heads=2)(batch).data}")

# %% [markdown]
# **Exercise 3.2**: two heads whose result has width 2 in all: give each a width of 1.
#
# The solution printed in the book's repository starts with -0.0915 and ends with -1.4744. Those numbers come from
# softmax along the wrong axis, that of the queries: then columns sum to 1 instead of rows, and the result for the
# last word is no longer a mean of values. Both are printed below.

# %%
manual_seed(123)
print(f"exercise 3.2:\n{HeadsSideBySide(d_in, 1, 0.0, num_heads=2)(batch)[0].data}")
manual_seed(123)
print(f"softmax along the queries:\n{HeadsSideBySide(d_in, 1, 0.0, num_heads=2, softmax_axis=1)(batch)[0].data}")

# %% [markdown]
# Separate heads need separate small products. One wide product and a reshape do the same work at once: the width is
# split into heads, and the head axis is moved before the token axis, where a batched product treats it as a batch
# axis.

# %%
print("\n== 3.6.2 Implementing multi-head attention with weight splits ==")
example = Tensor(
    [
        [[0.2745, 0.6584, 0.2775, 0.8573], [0.8993, 0.0390, 0.9268, 0.7388], [0.7179, 0.7058, 0.9156, 0.4340]],
        [[0.0772, 0.3565, 0.1479, 0.5331], [0.4066, 0.2318, 0.4545, 0.9737], [0.4606, 0.5159, 0.4220, 0.5786]],
    ]
).unsqueeze(0)
together = example @ example.transpose(2, 3)
print(f"one product for both heads, {example.shape} -> {together.shape}:\n{together.data}")
for number in (0, 1):
    head = example[0, number]
    print(f"head {number + 1} alone:\n{(head @ head.T).data}")


class PlainMultiHeadAttention(nn.Module):
    """Causal multi-head attention with every step written out. Shapes: (B, T, d_in) -> (B, T, d_out)."""

    def __init__(self, d_in: int, d_out: int, dropout: float, num_heads: int) -> None:
        self.query, self.key, self.value = (nn.Linear(d_in, d_out, bias=False) for _ in range(3))
        self.output = nn.Linear(d_out, d_out)  # mixes the heads
        self.dropout, self.num_heads = nn.Dropout(dropout), num_heads

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        future = np.triu(np.ones((x.shape[1], x.shape[1]), bool), 1)
        scores = (queries @ keys.transpose(2, 3)).masked_fill(future, -math.inf)
        weights = self.dropout(F.softmax(scores / math.sqrt(keys.shape[-1])))
        side_by_side = (weights @ values).transpose(1, 2)
        return self.output(side_by_side.reshape(*x.shape[:2], -1))

    def split(self, x: Tensor) -> Tensor:
        """(B, T, heads · width) -> (B, heads, T, width)."""
        return x.reshape(*x.shape[:2], self.num_heads, -1).transpose(1, 2)


manual_seed(123)
print(f"two heads by splitting, seed 123:\n{PlainMultiHeadAttention(d_in, 2, 0.0, num_heads=2)(batch).data}")

# %% [markdown]
# **Exercise 3.3**: attention of GPT-2's smallest size: width 768, 12 heads of 64.

# %%
manual_seed(123)
plain = PlainMultiHeadAttention(768, 768, 0.0, num_heads=12)
print(f"exercise 3.3: {plain.num_parameters():,} parameters, heads of width {768 // plain.num_heads}")

# %% [markdown]
# ## The package's layer
#
# `nn.MultiHeadAttention` draws its weights in the same order, so the same seed gives the same weights. It computes
# the same function in blocks of query rows that skip future keys, never stores the (T, T) matrix of weights, and has
# a hand-written backward. Results and gradients must agree, with dropout as well.

# %%
print("\n== The same with the package's attention ==")
for p in (0.0, 0.5):
    manual_seed(123)
    ours = PlainMultiHeadAttention(d_in, 2, p, num_heads=2)(batch)
    manual_seed(123)
    fast = nn.MultiHeadAttention(2, 2, dropout=p, causal=True, input_dim=d_in)(batch)
    print(f"two heads, dropout {p}: largest difference {np.abs((ours - fast).data).max():.1e}")

length = 1024 if full else 64
x = Tensor(manual_seed(7).randn(1, length, 768))
manual_seed(123)
fast_layer = nn.MultiHeadAttention(768, 12, causal=True)
with no_grad():
    for layer in (plain, fast_layer):
        layer(x)  # the first call warms up
for name, layer in (("written out", plain), ("package's", fast_layer)):
    start = time.perf_counter()
    result = layer(x)
    (result * result).sum().backward()
    print(f"12 heads, {length} tokens, {name}: forward and backward in {time.perf_counter() - start:.3f} s")
with no_grad():
    print(f"results: largest difference {np.abs((plain(x) - fast_layer(x)).data).max():.1e}")
pairs = zip(plain.parameters(), fast_layer.parameters(), strict=True)
relative = max(np.abs(a.grad - b.grad).max() / np.abs(b.grad).max() for a, b in pairs)
print(f"gradients: largest difference {relative:.1e} of the largest gradient")
