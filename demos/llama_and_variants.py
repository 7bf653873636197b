# %% [markdown]
# # From GPT to Llama, one part at a time, and the cost of variants of attention and feed-forward
#
# A Llama is a GPT with other parts: RMSNorm instead of LayerNorm, a gated feed-forward layer, rotary positions
# instead of a learned table, no biases. Here the parts are exchanged one by one in the same blocks, and every model
# is trained on the same batches with the same settings. Then one part of Llama is changed at a time: fewer key-value
# heads, a sliding window, latent attention, a mixture of experts.
#
# It takes about a minute. `--full` trains every model for about half a minute instead of a few seconds.

# %%
import argparse
import time
from collections.abc import Callable

import numpy as np

from tinygrad_llm import Generator, gradcheck, manual_seed, nn, no_grad, study
from tinygrad_llm.data import WindowLoader
from tinygrad_llm.generate import generate
from tinygrad_llm.layers import tokens_held
from tinygrad_llm.models import GPT, GPTConfig, LanguageModel, Llama, LlamaConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import CharTokenizer, corpora
from tinygrad_llm.train import Trainer, TrainingSettings, duration, evaluate

end_quietly()

options = argparse.ArgumentParser(description="From GPT to Llama, one part at a time, and its variants.")
options.add_argument("--full", action="store_true", help="train every model for longer")
full = options.parse_known_args()[0].full  # not parse_args: a notebook has arguments of its own
started = time.monotonic()

# %% [markdown]
# ## The text and the sizes
#
# The text is Python's own documentation, tokenized by characters; its last tenth is for validation. All models have
# four layers of width 96 with four heads. The gated feed-forward layer has three matrices where the plain one has
# two, and is 8/3 instead of 4 times as wide inside: both have about the same number of parameters.

# %%
print("== 1 Text and sizes ==")
CONTEXT, WIDTH, HEADS, LAYERS, BATCH = 64, 96, 4, 4, 16
HEAD_DIM = WIDTH // HEADS
text = corpora.load_text("python-docs")
tokenizer = CharTokenizer.train(text)
ids = np.array(tokenizer.encode(text))
cut = len(ids) * 9 // 10
held_out = list(WindowLoader(ids[cut:], CONTEXT, BATCH, Generator(1)))[:20]
steps = 600 if full else 60
sizes = {
    "vocab_size": tokenizer.vocab_size,
    "context_length": CONTEXT,
    "embedding_dim": WIDTH,
    "num_heads": HEADS,
    "num_layers": LAYERS,
    "dropout": 0.0,
    "tie_weights": True,
}
settings = TrainingSettings(
    steps=steps, batch_size=BATCH, learning_rate=3e-3, min_learning_rate=3e-4, warmup_steps=steps // 10, eval_interval=0
)
print(f"{cut:,} letters to learn from, {tokenizer.vocab_size} different ones; {steps} steps of {BATCH * CONTEXT} each")

# %% [markdown]
# ## The models
#
# A model is made of its parts; all start from weights drawn as GPT-2's are. The first four lead from GPT to Llama;
# each of the others changes one part of Llama.


# %%
def gpt(
    norm: Callable[[], nn.Module] | None = None, feed_forward: Callable[[], nn.Module] | None = None
) -> LanguageModel:
    """A GPT with other parts in its blocks."""
    model = GPT(GPTConfig(**sizes))
    for block in model.blocks:
        if norm is not None:
            block.norm1, block.norm2 = norm(), norm()
        if feed_forward is not None:
            block.feed_forward = feed_forward()
    if norm is not None:
        model.final_norm = norm()
    model.initialize_as_gpt2()
    return model


def llama(**changes: object) -> LanguageModel:
    return Llama(LlamaConfig(**{**sizes, **changes}))


def gated(hidden_dim: int | None = None) -> nn.Module:
    return nn.FeedForward(WIDTH, hidden_dim, nn.SiLU(), bias=False, gated=True)


def with_latents(latent_dim: int, rotary_dim: int) -> LanguageModel:
    model = llama()
    for block in model.blocks:
        rotary = nn.RotaryPositions(rotary_dim)
        block.attention = nn.MultiHeadLatentAttention(WIDTH, HEADS, latent_dim, rotary=rotary)
    model.initialize_as_gpt2()
    return model


WINDOW, LATENT, ROTARY = 16, 32, 8
MODELS: dict[str, Callable[[], LanguageModel]] = {
    "GPT": gpt,
    "  with RMSNorm": lambda: gpt(norm=lambda: nn.RMSNorm(WIDTH)),
    "  and gated by SiLU": lambda: gpt(norm=lambda: nn.RMSNorm(WIDTH), feed_forward=gated),
    "Llama": llama,
    "  one head of keys": lambda: llama(num_kv_heads=1),
    f"  a window of {WINDOW}": lambda: llama(window=WINDOW),
    f"  latents of {LATENT}": lambda: with_latents(LATENT, ROTARY),
    "  8 experts, 2 in use": lambda: llama(num_experts=8, experts_per_token=2, feed_forward_dim=WIDTH * 8 // 3 // 2),
}

# %% [markdown]
# ## Every gradient first
#
# Before training, each model's gradients are compared with finite differences in float64: all parameters are moved a
# little along one random direction.

# %%
print("\n== 2 Gradients against finite differences ==")
few = ids[:12].reshape(2, 6)
for name, build in MODELS.items():
    manual_seed(1)
    model = build()
    report = gradcheck(
        lambda model=model: model.loss(few[:, :-1], few[:, 1:]),
        parameters=dict(model.named_parameters()),
        elements=1,
        directions=1,
    )
    print(f"{name:<24}{report.cases:>5} cases, worst difference {report.worst_absolute:.0e}")

# %% [markdown]
# ## Training
#
# "In use" counts the parameters that one token passes through: of the experts, two and the router. The loss is in
# nats per character on the validation text, without the load-balancing loss. "Cached" counts the numbers that the
# cache keeps per token while generating; "bytes" is the size of the cache's arrays after one full context.

# %%
print("\n== 3 Training ==")
print(f"{'':<24}{'parameters':>11}{'in use':>10}{'loss':>8}{'seconds':>9}{'cached':>8}{'bytes':>10}")
trained: dict[str, LanguageModel] = {}
for name, build in MODELS.items():
    manual_seed(123)
    trained[name] = model = build()
    begun = time.monotonic()
    Trainer(model, WindowLoader(ids[:cut], CONTEXT, BATCH, Generator(2)), settings).train()
    seconds = time.monotonic() - begun
    experts = [part for part in model.modules() if isinstance(part, nn.MixtureOfExperts)]
    in_use = model.num_parameters() - sum(part.num_parameters() - part.num_active_parameters() for part in experts)
    cached = sum(block.attention.cache_width for block in model.blocks)
    cache = model.new_cache()
    with no_grad():
        model.eval().hidden(ids[None, :CONTEXT], cache)
    print(
        f"{name:<24}{model.num_parameters():>11,}{in_use:>10,}{evaluate(model, held_out):>8.3f}{seconds:>9.1f}"
        f"{cached:>8}{cache.nbytes:>10,}"
    )
held = tokens_held(CONTEXT, WINDOW)
print(f"(a window looks at {WINDOW} of {CONTEXT} letters; its cache has room for {held}: drafts may be discarded)")

# %% [markdown]
# ## Operations per token
#
# Each weight that a token passes through costs one multiplication and one addition forward, and twice that backward.
# The products of attention come in addition and grow with the number of tokens attended to: scores and weighted
# values, each one multiplication and addition per head feature and token. Latent attention costs more here: read
# through a cache, every head works on whole latents.

# %%
print("\n== 4 FLOPs of one more letter at the end of a context, forward ==")
for name, model in trained.items():
    table = model.token_embedding.weight
    experts = [part for part in model.modules() if isinstance(part, nn.MixtureOfExperts)]
    idle = sum(part.num_parameters() - part.num_active_parameters() for part in experts)
    matrices = sum(p.size for n, p in model.named_parameters() if p.ndim == 2 and "position_embedding" not in n)
    products = 0
    for block in model.blocks:
        seen = getattr(block.attention, "window", None) or CONTEXT
        widths = 2 * HEAD_DIM  # of a key and a value
        if isinstance(block.attention, nn.MultiHeadLatentAttention):
            widths = 2 * LATENT + ROTARY
        products += 2 * seen * HEADS * widths
    print(f"{name:<24}{2 * (matrices - idle):>11,} in weights {products:>9,} in attention")

# %% [markdown]
# For a whole batch `study` counts the operations while they run, and the bytes of the arrays that each keeps for its
# backward. For attention it counts the pairs of tokens that the mask allows, which are few at the beginning of a
# text.

# %%
print(f"\n== 4.1 A batch of {BATCH} x {CONTEXT} letters, as study counts it ==")
print(f"{'':<24}{'FLOPs forward':>16}{'kept for backward':>19}{'to train':>12}{'cache':>12}")
for name, model in trained.items():
    operations, held = study.flops(model, BATCH, CONTEXT), study.memory(model, BATCH, CONTEXT)
    print(
        f"{name:<24}{operations.forward:>16,}{held.activations / 1e6:>16.1f} MB{held.training / 1e6:>9.1f} MB"
        f"{held.kv_cache / 1e6:>9.2f} MB"
    )

# %% [markdown]
# ## At the sizes of the book's bonus material
#
# The book's estimators give these figures; here the layers themselves are counted, built without initial values.

# %%
print("\n== 5 The book's estimators ==")
with nn.init.no_initial_values():
    every, shared = (nn.MultiHeadAttention(4096, 32, causal=True, num_kv_heads=heads) for heads in (32, 8))
    latents = nn.MultiHeadLatentAttention(2048, 16, 1024)
    dense = nn.FeedForward(7168, 14336, nn.SiLU(), bias=False, gated=True)
    sparse = nn.MixtureOfExperts(
        7168, 8, 2, lambda: nn.FeedForward(7168, 14336 // 8, nn.SiLU(), bias=False, gated=True)
    )
    print("cache of 32,768 tokens in 32 layers of width 4,096, 2 bytes a number:")
    for name, layer in (("32 heads of keys", every), ("8 heads of keys", shared)):
        print(f"  {name:<18}{2 * 32 * 32768 * layer.cache_width / 1e9:>7.2f} GB", end="")
        print(f"{2 * (27 * 1024 + 5 * 32768) * layer.cache_width / 1e9:>7.2f} GB with a window of 1,024 in 27 layers")
    size = 2 * 48 * 8192 * latents.cache_width / 1e9
    print(f"cache of 8,192 tokens in 48 layers, latents of 1,024: {size:.2f} GB")
    print(f"feed-forward of width 14,336: {dense.num_parameters():,} parameters, all in use")
    in_use = sparse.num_active_parameters()
    print(f"8 experts of width 1,792:     {sparse.num_parameters():,} parameters, {in_use:,} in use")

# %% [markdown]
# ## Load of the experts
#
# Without a load-balancing loss a router soon sends everything to a few experts, and the others are never trained. The
# loss favours an equal load: 1/8 of the choices for each expert.

# %%
print("\n== 6 Experts ==")
model = trained["  8 experts, 2 in use"]
shares: list[list[float]] = []


def watch(router: nn.Module, _: object, output: nn.Module) -> None:
    chosen = np.argsort(-output.data, axis=-1)[:, :2]
    shares.append((np.bincount(chosen.reshape(-1), minlength=8) / chosen.size).tolist())


handles = [block.feed_forward.router.register_forward_hook(watch) for block in model.blocks]
with no_grad():
    model.eval().hidden(held_out[0][0])
for handle in handles:
    handle.remove()
for layer, row in enumerate(shares):
    print(f"layer {layer}: " + " ".join(f"{share:>6.1%}" for share in row))

# %% [markdown]
# ## Samples

# %%
print("\n== 7 Texts ==")
prompt = np.array(tokenizer.encode("The value of "))
for name in ("GPT", "Llama"):
    written = generate(trained[name], prompt, 80, temperature=0.7, generator=Generator(4))
    print(f"{name + ':':<7}{tokenizer.decode(written.tolist())!r}")

print(f"\n{duration(time.monotonic() - started)} in all")
