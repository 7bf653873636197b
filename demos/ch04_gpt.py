# %% [markdown]
# # Chapter 4: a whole GPT, from its layers to its first text
#
# The chapter first builds a GPT with empty blocks, then layer normalization, the feed-forward layer, shortcut
# connections and the transformer block, and at last the model of 124 million parameters, which generates ten tokens.
# Everything but attention (chapter 3) is written out here; the last cells compare it with the package's `GPT`.
#
# Run it with `python demos/ch04_gpt.py`. It builds full-sized models three times, one after the other, in a few
# seconds and 0.8 GB of memory; `--full` also builds the larger sizes of exercise 4.2.

# %%
import argparse
import math
import time

import numpy as np

import tinygrad_llm.nn.functional as F
from tinygrad_llm import Tensor, manual_seed, nn, no_grad
from tinygrad_llm.errors import DataError
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import GPT2Tokenizer, corpora

end_quietly()

options = argparse.ArgumentParser(description="Chapter 4 of the book: a GPT, from normalization to its first text.")
options.add_argument("--full", action="store_true", help="build GPT-2's larger sizes too, to count their parameters")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
np.set_printoptions(precision=4, suppress=True, floatmode="fixed", threshold=100)

# %% [markdown]
# ## The plan
#
# `GPTConfig()` is the book's configuration of the smallest GPT-2. The model adds a token embedding and a position
# embedding, applies transformer blocks that keep the shape, normalizes, and ends in a head that gives every token of
# the vocabulary a logit. Without blocks and normalization little remains:

# %%
print("== 4.1 Coding an LLM architecture ==")
config = GPTConfig()
print(config)
try:
    corpora.find("gpt2-vocabulary")
    tokenizer = GPT2Tokenizer()
    batch = np.array([tokenizer.encode(text) for text in ("Every effort moves you", "Every day holds a")])
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run starts from the ids that the vocabulary would give, and shows ids where it would show text.")
    tokenizer = None
    batch = np.array([[6109, 3626, 6100, 345], [6109, 1110, 6622, 257]])
print(f"token ids of 'Every effort moves you' and 'Every day holds a':\n{batch}")


class EmptyGPT(nn.Module):
    """A GPT without blocks: its logits depend on the last token and its position only."""

    def __init__(self, config: GPTConfig) -> None:
        self.token_embedding = nn.Embedding(config.vocab_size, config.embedding_dim)
        self.position_embedding = nn.Embedding(config.context_length, config.embedding_dim)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.embedding_dim, config.vocab_size, bias=False)

    def forward(self, ids: np.ndarray) -> Tensor:
        x = self.token_embedding(ids) + self.position_embedding(np.arange(ids.shape[1]))
        return self.head(self.dropout(x))


manual_seed(123)
logits = EmptyGPT(config)(batch)
print(f"logits of the empty model, shape {logits.shape}:\n{logits.data}")
del logits

# %% [markdown]
# ## Layer normalization
#
# Activations that pass through many layers tend to grow or to vanish. Layer normalization gives each row a mean of 0
# and a variance of 1.

# %%
print("\n== 4.2 Normalizing activations with layer normalization ==")
generator = manual_seed(123)
example = Tensor(generator.randn(2, 5))
activations = nn.Linear(5, 6)(example).relu()
mean, variance = activations.mean(axis=-1, keepdims=True), activations.var(axis=-1, keepdims=True)
print(f"activations:\n{activations.data}")
print(f"means {mean.data.ravel()}, variances {variance.data.ravel()}")
normalized = (activations - mean) / variance.sqrt()
print(f"normalized:\n{normalized.data}")
print(f"means {normalized.mean(axis=-1).data}, variances {normalized.var(axis=-1).data}")

# %% [markdown]
# The layer adds two things: a small ε, so that a constant row does not divide by 0, and a learned scale and shift, so
# that the model can undo the normalization. GPT-2 divides by n, not by n - 1, and so does everything below.


# %%
class PlainLayerNorm(nn.Module):
    """(x - mean) / √(variance + ε) along the last axis, then scale and shift."""

    def __init__(self, width: int) -> None:
        self.weight, self.bias = nn.Parameter(np.ones(width, np.float32)), nn.Parameter(np.zeros(width, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(axis=-1, keepdims=True)
        return centred / (x.var(axis=-1, keepdims=True, unbiased=False) + 1e-5).sqrt() * self.weight + self.bias


normalized = PlainLayerNorm(5)(example)
print(f"means {normalized.mean(axis=-1).data}, variances {normalized.var(axis=-1, unbiased=False).data}")
difference = np.abs((normalized - nn.LayerNorm(5)(example)).data).max()
print(f"PlainLayerNorm against nn.LayerNorm: largest difference {difference:.1e}")

# %% [markdown]
# ## The feed-forward layer
#
# GELU is a smooth variant of ReLU, max(x, 0): x times the probability that a standard normal variable is below x.
# Small negative inputs give small negative outputs. GPT-2 was trained with an approximation by tanh, which is written
# here.

# %%
print("\n== 4.3 Implementing a feed forward network with GELU activations ==")


def plain_gelu(x: Tensor) -> Tensor:
    """½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))."""
    return 0.5 * x * (1 + (math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)).tanh())


points = Tensor([-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
print(f"x            {points.data}")
print(f"max(x, 0)    {points.relu().data}")
print(f"GELU by tanh {plain_gelu(points).data}")
print(f"GELU exact   {F.gelu(points).data}")
difference = np.abs((plain_gelu(points) - F.gelu(points, "tanh")).data).max()
print(f"plain_gelu against F.gelu: largest difference {difference:.1e}")


class PlainFeedForward(nn.Module):
    """Expand to four times the width, apply GELU, project back; each token by itself."""

    def __init__(self, width: int) -> None:
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(plain_gelu(self.up(x)))


feed_forward, x = PlainFeedForward(config.embedding_dim), Tensor(generator.rand(2, 3, config.embedding_dim))
print(f"feed-forward layer: {x.shape} -> {feed_forward(x).shape}")

# %% [markdown]
# ## Shortcuts
#
# Gradients get smaller on their way back through many layers. A shortcut connection adds a layer's input to its
# output, and gradients pass through this sum unchanged. Five layers of three units with the same weights, without and
# with shortcuts:

# %%
print("\n== 4.4 Adding shortcut connections ==")


class FiveLayers(nn.Module):
    """3-3-3-3-3-1 with GELU, and shortcuts where the shapes allow."""

    def __init__(self, shortcuts: bool) -> None:
        self.layers, self.shortcuts = nn.ModuleList(nn.Linear(3, width) for width in (3, 3, 3, 3, 1)), shortcuts

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            y = plain_gelu(layer(x))
            x = x + y if self.shortcuts and x.shape == y.shape else y
        return x


for shortcuts in (False, True):
    manual_seed(123)
    network = FiveLayers(shortcuts)
    error = network(Tensor([[1.0, 0.0, -1.0]])) - 0.0  # the target is 0
    (error * error).mean().backward()
    print("mean size of each weight's gradient")
    for number, layer in enumerate(network.layers):
        print(f"{'with' if shortcuts else 'without'} shortcuts, layer {number}: {np.abs(layer.weight.grad).mean()}")

# %% [markdown]
# ## The block
#
# Normalize, attend, add; normalize, feed forward, add. The sums form the residual stream, which runs through the
# whole model: each part reads it and adds its result to it.
#
# **Exercise 4.3** asks for separate dropout rates of embeddings, attention and shortcuts. The block below takes the
# latter two, and the model takes all three.

# %%
print("\n== 4.5 Connecting attention and linear layers in a transformer block ==")


class PlainBlock(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)). Shapes: (B, T, width) -> the same."""

    def __init__(self, width: int, num_heads: int, attention_dropout: float, shortcut_dropout: float) -> None:
        self.attention = nn.MultiHeadAttention(width, num_heads, attention_dropout, causal=True)
        self.feed_forward = PlainFeedForward(width)
        self.norm1, self.norm2 = PlainLayerNorm(width), PlainLayerNorm(width)
        self.dropout = nn.Dropout(shortcut_dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.feed_forward(self.norm2(x)))


generator = manual_seed(123)
x = Tensor(generator.rand(2, 4, config.embedding_dim))
block = PlainBlock(config.embedding_dim, config.num_heads, config.dropout, config.dropout)
print(f"block: {x.shape} -> {block(x).shape}")

# %% [markdown]
# **Exercise 4.1**: which part of a block has more parameters? The feed-forward layer has twice as many as attention.

# %%
for name, part in (("feed-forward", block.feed_forward), ("attention", block.attention)):
    print(f"exercise 4.1, {name}: {part.num_parameters():,} parameters")

# %% [markdown]
# ## The model
#
# The empty model again, now with its blocks and its last normalization.

# %%
print("\n== 4.6 Coding the GPT model ==")


class PlainGPT(nn.Module):
    """Token ids (B, T) to logits (B, T, V), with a dropout rate for each of three places."""

    def __init__(
        self, config: GPTConfig, embedding_dropout: float, attention_dropout: float, shortcut_dropout: float
    ) -> None:
        width, rates = config.embedding_dim, (attention_dropout, shortcut_dropout)
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.position_embedding = nn.Embedding(config.context_length, width)
        self.dropout = nn.Dropout(embedding_dropout)
        self.blocks = nn.Sequential(*[PlainBlock(width, config.num_heads, *rates) for _ in range(config.num_layers)])
        self.final_norm = PlainLayerNorm(width)
        self.head = nn.Linear(width, config.vocab_size, bias=False)

    def forward(self, ids: np.ndarray) -> Tensor:
        x = self.token_embedding(ids) + self.position_embedding(np.arange(ids.shape[1]))
        return self.head(self.final_norm(self.blocks(self.dropout(x))))


start = time.perf_counter()
manual_seed(123)
model = PlainGPT(config, 0.1, 0.1, 0.1)
print(f"built in {time.perf_counter() - start:.1f} s")
with no_grad():
    plain_logits = model(batch).data
print(f"logits, shape {plain_logits.shape}:\n{plain_logits}")

total = model.num_parameters()
print(f"parameters: {total:,}")
print(f"token table {model.token_embedding.weight.shape}, head {model.head.weight.shape}")
print(f"with the head tied to the token table: {total - model.head.num_parameters():,}")
print(f"size in float32: {total * 4 / 2**20:.2f} MB")

# %% [markdown]
# **Exercise 4.2**: GPT-2's larger sizes. A block of width C has 12 C² + 10 C parameters: 3 C² for queries, keys and
# values, C² + C for attention's output, 8 C² + 5 C in the feed-forward layer, and 4 C in two normalizations. Outside
# the blocks are the two embedding tables, the last normalization, and the head.


# %%
def count_parameters(config: GPTConfig) -> int:
    """All parameters of an untied GPT."""
    width = config.embedding_dim
    tables = (config.vocab_size + config.context_length) * width
    return tables + config.num_layers * (12 * width**2 + 10 * width) + 2 * width + width * config.vocab_size


print(f"the formula gives the same: {count_parameters(config) == total}")
for name in ("gpt2-small", "gpt2-medium", "gpt2-large", "gpt2-xl"):
    larger = GPTConfig.preset(name)
    count = count_parameters(larger)
    tied = count - larger.embedding_dim * larger.vocab_size
    print(f"exercise 4.2, {name}: {count:,} parameters, tied {tied:,}, {count * 4 / 2**20:.2f} MB")
    if full:
        with nn.init.no_initial_values():  # zeros that are never touched take no memory
            print(f"    counted in a model: {GPT(larger).num_parameters():,}")

# %% [markdown]
# **Exercise 4.3**, applied: a rate of 0.1 in each of the three places is the model above. With dropout in one place
# only, two runs of a small model over the same tokens are equal before that place and differ after it.


# %%
def places_that_differ(*rates: float) -> list[str]:
    """The places at which two runs with these dropout rates (embeddings, attention, shortcuts) differ."""
    manual_seed(123)
    sizes = GPTConfig(vocab_size=50, context_length=8, embedding_dim=16, num_heads=2, num_layers=1)
    small = PlainGPT(sizes, *rates)
    places = {"embeddings": small.dropout, "attention": small.blocks[0].attention, "logits": small}
    outputs: dict[nn.Module, list[np.ndarray]] = {module: [] for module in places.values()}
    for module in places.values():
        module.register_forward_hook(lambda module, _, output: outputs[module].append(output.data))
    for _ in range(2):
        small(np.array([[1, 2, 3, 4]]))
    return [place for place, module in places.items() if not np.array_equal(*outputs[module])]


for rates in ((0.0, 0.0, 0.0), (0.5, 0.0, 0.0), (0.0, 0.5, 0.0), (0.0, 0.0, 0.5)):
    different = ", ".join(places_that_differ(*rates)) or "nothing"
    print(f"exercise 4.3, rates of embeddings, attention, shortcuts {rates}: two runs differ in {different}")

# %% [markdown]
# ## Text
#
# Greedy generation: compute the logits after the text so far, append the token with the largest one, and repeat. The
# model is untrained, so its text has no meaning; chapter 5 trains it.

# %%
print("\n== 4.7 Generating text ==")


@no_grad()
def continue_greedily(model: nn.Module, ids: list[int], new_tokens: int, context_length: int) -> list[int]:
    """`ids` and `new_tokens` more, each the token of the largest logit after the last `context_length` tokens."""
    for _ in range(new_tokens):
        logits = model(np.array([ids[-context_length:]]))
        ids = [*ids, int(logits.data[0, -1].argmax())]
    return ids


prompt = [15496, 11, 314, 716] if tokenizer is None else tokenizer.encode("Hello, I am")
print(f"'Hello, I am' -> {prompt}")
model.eval()
start = time.perf_counter()
ids = continue_greedily(model, prompt, 10, config.context_length)
print(f"ten tokens more, in {time.perf_counter() - start:.1f} s: {ids}")
print(f"length {len(ids)}")
print("its text needs the vocabulary" if tokenizer is None else tokenizer.decode(ids))

# %% [markdown]
# ## The package's model
#
# `GPT(config)` draws its weights in the same order, so the same seed gives the same model, dropout included. Its
# layers are single operations with hand-written backwards; and with a cache of keys and values, each new token is
# processed once instead of the whole text again.

# %%
print("\n== The same with the package's GPT ==")
del model
manual_seed(123)
package_model = GPT(config)
with no_grad():
    difference = np.abs(package_model(batch).data - plain_logits).max()
    print(f"logits: largest difference {difference:.1e}")
    package_model.eval()
    cache, unread, cached_ids = package_model.new_cache(), prompt, list(prompt)
    start = time.perf_counter()
    for _ in range(10):
        scores = package_model(np.array([unread]), cache).data[0, -1]
        unread = [int(scores.argmax())]
        cached_ids += unread
print(f"ten tokens with a cache, in {time.perf_counter() - start:.1f} s; the same ones: {cached_ids == ids}")
