# %% [markdown]
# # Linear attention: a state in place of a cache
#
# Attention keeps the keys and values of all tokens, so its cache grows with the text, and so does the time of the next
# token. A layer of Gated DeltaNet (Yang et al. 2024, arXiv:2412.06464) keeps one matrix per head, whatever the length:
# each token lets the matrix decay, then corrects what it gives for the token's key. Qwen3-Next and Kimi Linear have
# three such layers to one of attention.
#
# The demo computes the same outputs token by token and by chunks, measures memory and time over the length of the
# text, and trains a model of each kind. `--plot FILE` draws the measurements (`pip install '.[plots]'`); `--full` reads
# texts of up to 8,192 tokens and trains for longer, some five minutes on one core. Run it with OPENBLAS_NUM_THREADS=1.

# %%
import argparse
import gc
import statistics
import time
import tracemalloc

import numpy as np

from tinygrad_llm import Generator, Tensor, manual_seed, nn, no_grad
from tinygrad_llm.data import WindowBatches, WindowLoader, train_validation_split
from tinygrad_llm.functions.delta_rule import gated_delta_rule, gated_delta_rule_recurrent
from tinygrad_llm.generate import generate
from tinygrad_llm.models import Llama, LlamaConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import CharTokenizer, corpora
from tinygrad_llm.train import Trainer, TrainingSettings, evaluate, evenly_spaced

end_quietly()

options = argparse.ArgumentParser(description="Gated DeltaNet: a state of fixed size in place of a cache.")
options.add_argument("--full", action="store_true", help="texts of up to 8,192 tokens, 200 steps, three seeds")
options.add_argument("--plot", metavar="FILE", help="draw memory and time over length (needs matplotlib)")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own

# %% [markdown]
# ## One rule, two forms
#
# The recurrent form takes one token after the other: the definition. The chunked form solves a triangular system for
# all corrections inside a chunk and goes from chunk to chunk, so that most of the work is products of matrices. Both
# have the same outputs and gradients; in float64 they differ by rounding only.

# %%
print("== 1 The same outputs and gradients ==")
draw = Generator(0)
B, H, T, D = 2, 3, 96, 16
arrays = [draw.randn(B, H, T, D, dtype=np.float64) for _ in range(3)]
arrays[1] /= np.linalg.norm(arrays[1], axis=-1, keepdims=True)  # keys of length 1
arrays += [-draw.rand(B, H, T, dtype=np.float64), draw.rand(B, H, T, dtype=np.float64)]


def outputs_and_gradients(rule, **more):
    """The outputs, the final state, and the gradients of a weighted sum of both."""
    inputs = [Tensor(array, requires_grad=True) for array in arrays]
    outputs, state = rule(*inputs, **more)
    weights = Generator(1).randn(*outputs.shape, dtype=np.float64)
    ((outputs * weights).sum() + state.sum()).backward()
    return [outputs.data, state.data, *(x.grad for x in inputs)]


started = time.process_time()
expected = outputs_and_gradients(gated_delta_rule_recurrent)
seconds = time.process_time() - started
print(f"token by token       {seconds * 1e3:>7.1f} ms of one core, forward and backward")
for chunk in (1, 16, 32, 96):
    started = time.process_time()
    found = outputs_and_gradients(gated_delta_rule, chunk=chunk)
    seconds = time.process_time() - started
    worst = max(np.abs(one - other).max() for one, other in zip(found, expected, strict=True))
    print(f"chunks of {chunk:>2} tokens  {seconds * 1e3:>7.1f} ms, largest difference {worst:.0e}")

# %% [markdown]
# ## Memory and time over the length of the text
#
# Models of the same width and depth: attention, attention with a window in every layer or in all but the last, Gated
# DeltaNet in all layers but the last, and in all. After a text of each length, the memory that the
# cache holds is measured (what tracemalloc sees freed with it), and the time of one more token.

# %%
LAYERS, WIDTH, HEADS, WINDOW = 4, 128, 4, 128
LENGTHS = (256, 512, 1024, 2048, 4096, 8192) if arguments.full else (128, 256, 512)
KINDS = {
    "attention": {},
    f"window of {WINDOW}": {"window": WINDOW},
    f"window, {LAYERS - 1}:1": {"window": WINDOW, "window_pattern": f"{LAYERS - 1}:1"},
    f"DeltaNet, {LAYERS - 1}:1": {"delta_net_pattern": f"{LAYERS - 1}:1", "attention_gate": True},
    "DeltaNet": {"delta_net_pattern": "1:0"},
}


def read_in_parts(model: Llama, ids: np.ndarray, cache: nn.KVCache) -> None:
    """Read a text, 256 tokens at a time."""
    with no_grad():
        for start in range(0, ids.shape[1], 256):
            model.hidden(ids[:, start : start + 256], cache)


def memory_and_time(kind: dict, length: int) -> tuple[int, float]:
    """The bytes that deleting the cache of `length` tokens frees, and the CPU seconds of one more token (median)."""
    manual_seed(0)
    model = Llama(LlamaConfig(256, length + 16, WIDTH, HEADS, LAYERS, **kind)).eval()
    ids, times = Generator(2).randint(0, 256, (1, length + 15)), []
    cache = model.new_cache()
    read_in_parts(model, ids[:, :length], cache)
    for place in range(length, length + 15):
        started = time.process_time()
        read_in_parts(model, ids[:, place : place + 1], cache)
        times.append(time.process_time() - started)
    tracemalloc.start()
    cache = model.new_cache()
    read_in_parts(model, ids[:, :length], cache)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    del cache
    freed = before - tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return freed, statistics.median(times)


print(f"\n== 2 {LAYERS} layers, {WIDTH} wide: the cache's memory, and the time of one more token ==")
print(f"{'tokens read':<18}" + "".join(f"{length:>9,}" for length in LENGTHS))
measurements = {name: [memory_and_time(kind, length) for length in LENGTHS] for name, kind in KINDS.items()}
for name, found in measurements.items():
    print(f"{name:<18}" + "".join(f"{held / 1e3:>9,.0f}" for held, _ in found) + "  KB")
for name, found in measurements.items():
    print(f"{name:<18}" + "".join(f"{seconds * 1e3:>9.2f}" for _, seconds in found) + "  ms")

# %% [markdown]
# Gated DeltaNet keeps the same memory for any text. With one layer of attention in four, the cache grows a quarter as
# fast as attention's. The time of a token tells two things: the products of attention over a long text, which grow,
# and what a layer costs besides, which is more for Gated DeltaNet here: it runs as operations on Tensors, and attention
# as a few calls of NumPy.

# %%
if arguments.plot:
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("--plot needs matplotlib: pip install '.[plots]'") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.5))
    for name, found in measurements.items():
        axes[0].plot(LENGTHS, [held / 1e6 for held, _ in found], marker="o", label=name)
        axes[1].plot(LENGTHS, [seconds * 1e3 for _, seconds in found], marker="o", label=name)
    for axis, title, unit in zip(axes, ("memory of the cache", "time of one more token"), ("MB", "ms"), strict=True):
        axis.set(title=title, xlabel="tokens read", ylabel=unit)
        axis.grid(alpha=0.3)
    for axis in axes:
        axis.set_ylim(0, None)
    axes[0].legend()
    figure.tight_layout()
    figure.savefig(arguments.plot)
    print(f"drawn in {arguments.plot}")

# %% [markdown]
# ## A state generates what the whole text gives
#
# With the state, each new token costs one step; without it, the whole text is read again. The texts are the same.

# %%
print("\n== 3 Text with the state, and by reading everything again ==")
text = corpora.load_text("python-docs")
tokenizer = CharTokenizer.train(text)
train_ids, validation_ids = (np.array(tokenizer.encode(part)) for part in train_validation_split(text, 0.1))
CONTEXT, BATCH, STEPS = 128, 8, 200 if arguments.full else 12
sizes = {"vocab_size": tokenizer.vocab_size, "context_length": CONTEXT, "tie_weights": True}
sizes |= {"embedding_dim": 64, "num_heads": 2, "num_layers": LAYERS}
TRAINED = {name: kind for name, kind in KINDS.items() if "window" not in kind}
TRAINED["window of 16, 3:1"] = {"window": 16, "window_pattern": "3:1"}


def trained_of_kind(kind: dict, seed: int) -> tuple[Llama, float, float]:
    """A model of this kind, its validation loss in nats per character, and the CPU seconds of a step."""
    manual_seed(seed)
    model = Llama(LlamaConfig(**sizes, **kind))
    settings = TrainingSettings(
        steps=STEPS, batch_size=BATCH, learning_rate=3e-3, min_learning_rate=3e-4, warmup_steps=STEPS // 10, workers=1
    )
    started = time.process_time()
    Trainer(model, WindowLoader(train_ids, CONTEXT, BATCH, Generator(seed)), settings).train()
    seconds = (time.process_time() - started) / STEPS
    return model, evaluate(model, evenly_spaced(WindowBatches(validation_ids, CONTEXT, BATCH), 40)), seconds


found = {
    name: [trained_of_kind(kind, seed) for seed in range(3 if arguments.full else 1)] for name, kind in TRAINED.items()
}
prompt = np.array(tokenizer.encode("The value of "))
for name, runs in found.items():
    texts = [generate(runs[0][0], prompt, 60, use_cache=use_cache).tolist() for use_cache in (True, False)]
    print(f"{name:<18}{'equal' if texts[0] == texts[1] else 'different'}: {tokenizer.decode(texts[0])!r}")

# %%
print(f"\n== 4 Validation loss after {STEPS} steps of {BATCH} x {CONTEXT} characters ==")
for name, runs in found.items():
    losses = [loss for _, loss, _ in runs]
    spread = f" ± {statistics.stdev(losses):.3f} over {len(losses)} seeds" if len(losses) > 1 else ""
    kept = sum(getattr(layer, "state_size", 0) for layer in runs[0][0].modules())
    kept += sum(
        layer.cache_width * CONTEXT for layer in runs[0][0].modules() if isinstance(layer, nn.MultiHeadAttention)
    )
    milliseconds = statistics.median(seconds for _, _, seconds in runs) * 1e3
    print(
        f"{name:<18}{statistics.mean(losses):.3f}{spread} nats, {runs[0][0].num_parameters():,} parameters, "
        f"{milliseconds:.0f} ms a step"
    )
