# %% [markdown]
# # Chapter 5: pretraining, and a model that memorizes a story
#
# The chapter explains what the loss measures, how training lowers it, how text is sampled from probabilities, and how
# weights are saved, with a GPT of 124 million parameters and one short story. The model is so large and the story so
# short that the model memorizes it: the training loss falls below 1, the validation loss falls and then rises.
#
# `python demos/ch05_pretraining.py` takes half a minute and 0.8 GB of memory. It measures the untrained model of the
# book at its full size, with the book's figures, and trains a small model on the words of chapter 2, which shows the
# same curve. `--full` trains the book's model as the book does, which takes minutes to tens of minutes, 3 GB of
# memory and, until it ends, 2.5 GB in the system's folder for temporary files.
#
# With matplotlib installed (`pip install 'tinygrad-llm[plots]'`), the losses are drawn into the file that `--picture`
# names, by default `ch05_losses.png` in a new temporary folder. `--gpt2 FOLDER` loads GPT-2's own weights in section
# 5.5, from a folder in Hugging Face's format.

# %%
import argparse
import importlib.util
import itertools
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

import tinygrad_llm.nn.functional as F
from tinygrad_llm import Tensor, default_generator, manual_seed, nn, no_grad, optim
from tinygrad_llm.data import DataLoader, SlidingWindows, train_validation_split
from tinygrad_llm.errors import DataError
from tinygrad_llm.formats import read_safetensors, write_safetensors
from tinygrad_llm.generate import generate
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import GPT2Tokenizer, SimpleTokenizerV2, Tokenizer, corpora
from tinygrad_llm.train import Callback, Trainer, TrainingSettings, duration

end_quietly()

options = argparse.ArgumentParser(description="Chapter 5 of the book: losses, training, sampling, saving and loading.")
options.add_argument("--full", action="store_true", help="train the book's 124M model for its ten epochs")
options.add_argument("--picture", type=Path, metavar="FILE", help="where to draw the losses, with matplotlib installed")
options.add_argument("--gpt2", type=Path, metavar="FOLDER", help="a Hugging Face folder with GPT-2's weights")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own
np.set_printoptions(precision=4, suppress=True, floatmode="fixed", threshold=100)

try:
    text = corpora.load_text("the-verdict")
    corpora.find("gpt2-vocabulary")
    tokenizer: Tokenizer = GPT2Tokenizer()
    books_data = True
except DataError as missing:
    print(f"NOTE: {missing}")
    print("NOTE: this run learns from Python's own documentation, word by word; its losses are not the book's.\n")
    text = corpora.load_text("python-docs")[:20_000]
    tokenizer = SimpleTokenizerV2.train(text)
    books_data = False

# %% [markdown]
# ## The untrained model
#
# The configuration is that of the smallest GPT-2 with a context of 256 tokens instead of 1,024, which trains faster.
# In evaluation mode dropout is off, and the same input gives the same output.

# %%
print("== 5.1 Evaluating generative text models ==")
print("\n== 5.1.1 Using GPT to generate text ==")
config = GPTConfig(context_length=256)
manual_seed(123)
model = GPT(config).eval()


@no_grad()
def logits_of(model: nn.Module, ids: list[int]) -> np.ndarray:
    """The logits of the token after `ids`, of which the model reads the last `context_length`."""
    return model(np.array([ids[-config.context_length :]])).data[0, -1]


prompt = [6109, 3626, 6100, 345]
ids = list(prompt)
for _ in range(10):
    ids.append(int(logits_of(model, ids).argmax()))
print(f"'Every effort moves you' -> {ids}")
print(tokenizer.decode(ids) if books_data else "its text needs the vocabulary")

# %% [markdown]
# ## Cross-entropy and perplexity
#
# The target of "every effort moves" is "effort moves you", that of "I really like" is "really like chocolate". Which
# probability does the model give to each target? Its vocabulary has 50,257 tokens, so a uniform guess gives each
# 0.00002.

# %%
print("\n== 5.1.2 Calculating the text generation loss ==")
inputs = np.array([[16833, 3626, 6100], [40, 1107, 588]])
targets = np.array([[3626, 6100, 345], [1107, 588, 11311]])
with no_grad():
    logits = model(inputs)
probabilities = F.softmax(logits).data
print(f"probabilities, shape {probabilities.shape}")
likeliest = probabilities.argmax(axis=-1)
print(f"likeliest tokens: {likeliest.tolist()}")
if books_data:
    print(f"wanted {tokenizer.decode(targets[0])!r}, likeliest {tokenizer.decode(likeliest[0])!r}")

wanted = np.take_along_axis(probabilities, targets[..., None], axis=-1)[..., 0]
for number, row in enumerate(wanted, start=1):
    print(f"text {number}, probabilities of its targets: {' '.join(f'{p:.4e}' for p in row)}")

# %% [markdown]
# Training raises all of these probabilities, that is, their product. The logarithm turns the product into a sum; the
# negative mean of the logarithms is the cross-entropy, in nats. Its exponential is the perplexity: the number of
# equally likely tokens among which the model would be as uncertain.

# %%
logarithms = np.log(wanted).ravel()
print(f"their logarithms: {logarithms}")
print(f"mean: {logarithms.mean():.4f}")
print(f"cross-entropy by hand: {-logarithms.mean():.4f}")
loss = F.cross_entropy(logits, targets)
print(f"F.cross_entropy: {loss.item():.4f}")
print(f"F.cross_entropy against the steps by hand: largest difference {abs(loss.item() + logarithms.mean()):.1e}")
print(f"perplexity: {loss.exp().item():.4f}")

# %% [markdown]
# ## The losses of a text
#
# The first 90% of the story's characters are for training, the rest for validation. Windows of 256 tokens that do not
# overlap form batches of two.

# %%
print("\n== 5.1.3 Calculating the training and validation set losses ==")
print(f"characters: {len(text)}, tokens: {len(tokenizer.encode(text))}")


def loaders(tokenizer: Tokenizer, context_length: int, batch_size: int) -> tuple[DataLoader, DataLoader]:
    """Batches of the front of the text, shuffled, and of its last tenth, in order."""
    windows = [
        SlidingWindows(tokenizer.encode(part), context_length, stride=context_length)
        for part in train_validation_split(text, 0.1)
    ]
    return (
        DataLoader(windows[0], batch_size, shuffle=True, drop_last=True),
        DataLoader(windows[1], batch_size, shuffle=False, drop_last=False),
    )


manual_seed(123)
training, validation = loaders(tokenizer, config.context_length, batch_size=2)
for name, loader in (("training", training), ("validation", validation)):
    shapes = [x.shape for x, _ in loader]
    print(f"{name}: {len(loader.dataset.ids)} tokens, {len(shapes)} batches, together {sum(b * t for b, t in shapes)}")


def loss_of_batch(model: nn.Module, inputs: np.ndarray, targets: np.ndarray) -> Tensor:
    """The mean cross-entropy over the targets of a batch."""
    return F.cross_entropy(model(inputs), targets)


@no_grad()
def mean_loss(model: nn.Module, batches: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """The mean of the batches' losses. The model should be in evaluation mode."""
    return float(np.mean([loss_of_batch(model, inputs, targets).item() for inputs, targets in batches]))


manual_seed(123)
print(f"untrained, training loss: {mean_loss(model, training):.5f}")
print(f"untrained, validation loss: {mean_loss(model, validation):.5f}")
print(f"a uniform guess: ln({config.vocab_size}) = {np.log(config.vocab_size):.5f}")
del model, logits, probabilities

# %% [markdown]
# ## Training
#
# One training step is four lines: reset the gradients, compute the loss, run backward, let the optimizer update the
# weights. The rest reports: every five steps the losses of five batches, after each epoch a sample.
#
# The order of batches, the masks of dropout, and one draw per loader in each evaluation all come from the default
# random stream. These calls are in the book's order, so the curve is the book's.

# %%
print("\n== 5.2 Training an LLM ==")
if arguments.full and not books_data:
    print("NOTE: --full needs the story and GPT-2's vocabulary; this run stays small.")
book_size = arguments.full and books_data
if book_size:
    batch_size, learning_rate, epochs, opening = 2, 0.0004, 10, "Every effort moves you"
else:
    tokenizer = SimpleTokenizerV2.train(text)
    config = GPTConfig(tokenizer.vocab_size, context_length=64, embedding_dim=128, num_heads=4, num_layers=2)
    batch_size, learning_rate, epochs, opening = 4, 0.002, 12, " ".join(text.split()[:4])
prompt = tokenizer.encode(opening)
History = dict[str, list[float]]


def train_plainly(
    model: nn.Module,
    optimizer: optim.AdamW,
    training: DataLoader,
    validation: DataLoader,
    epochs: int,
    evaluate_every: int = 5,
    evaluate_on: int = 5,
) -> History:
    """Train, print losses and samples, and return the figures for the picture."""
    history: History = {"epochs": [], "tokens": [], "training": [], "validation": []}
    step, tokens = -1, 0
    for epoch in range(1, epochs + 1):
        model.train()
        for inputs, targets in training:
            optimizer.zero_grad()
            loss_of_batch(model, inputs, targets).backward()
            optimizer.step()
            step, tokens = step + 1, tokens + inputs.size
            if step % evaluate_every == 0:
                model.eval()
                history["epochs"].append((step + 1) / len(training))
                history["tokens"].append(tokens)
                for name, loader in (("training", training), ("validation", validation)):
                    history[name].append(mean_loss(model, itertools.islice(loader, evaluate_on)))
                model.train()
                print(
                    f"epoch {epoch} (step {step:06d}): training loss {history['training'][-1]:.3f}, "
                    f"validation loss {history['validation'][-1]:.3f}"
                )
        model.eval()
        ids = list(prompt)
        for _ in range(50):
            ids.append(int(logits_of(model, ids).argmax()))
        print(" ".join(tokenizer.decode(ids).split("\n")))
    return history


training, validation = loaders(tokenizer, config.context_length, batch_size)
manual_seed(123)
model = GPT(config)
print(f"{model.num_parameters():,} parameters")
print(f"{len(training)} batches of {batch_size} x {config.context_length} tokens")
optimizer = optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.1)
started = time.perf_counter()
history = train_plainly(model, optimizer, training, validation, epochs)
print(f"{epochs} epochs took {duration(time.perf_counter() - started)}")
model.eval()

# %% [markdown]
# From some step on, the training loss still falls while the validation loss rises: the model overfits. A longer text
# helps; more epochs do not.

# %%
best = int(np.argmin(history["validation"]))
print(
    f"last training loss {history['training'][-1]:.3f}, last validation loss {history['validation'][-1]:.3f}; "
    f"the validation loss was lowest, {history['validation'][best]:.3f}, after {history['tokens'][best]:,} tokens"
)
if importlib.util.find_spec("matplotlib") is None:
    print("no picture: it needs matplotlib, `pip install 'tinygrad-llm[plots]'`")
else:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    by_epochs = figure.subplots()
    by_epochs.plot(history["epochs"], history["training"], label="training")
    by_epochs.plot(history["epochs"], history["validation"], linestyle="-.", label="validation")
    by_epochs.set_xlabel("epochs")
    by_epochs.set_ylabel("loss (nats per token)")
    by_epochs.legend(loc="upper right")
    by_tokens = by_epochs.twiny()  # an invisible copy of the curve scales the second axis
    by_tokens.plot(history["tokens"], history["training"], alpha=0)
    by_tokens.set_xlabel("tokens seen")
    picture = arguments.picture or Path(tempfile.mkdtemp()) / "ch05_losses.png"
    figure.savefig(picture, dpi=120)
    print(f"drawn into {picture}")

# %% [markdown]
# ## Drawing tokens
#
# Greedy decoding, which always takes the most probable token, gives the same text every time, and a model that has
# memorized a text recites it. Sampling from the probabilities gives variety.

# %%
print("\n== 5.3 Decoding strategies to control randomness ==")


def draw_token(logits: np.ndarray, temperature: float = 0.0, top_k: int | None = None) -> int:
    """The most probable token at temperature 0, else a sample from all tokens or from the `top_k` most probable."""
    if top_k is not None:
        logits = np.where(logits < np.sort(logits)[-top_k], -np.inf, logits)
    if temperature == 0:
        return int(logits.argmax())
    return int(default_generator().multinomial(F.softmax(logits / temperature).data)[0])


def write(ids: list[int], new_tokens: int, temperature: float = 0.0, top_k: int | None = None) -> list[int]:
    """`ids` and `new_tokens` more."""
    for _ in range(new_tokens):
        ids = [*ids, draw_token(logits_of(model, ids), temperature, top_k)]
    return ids


print(f"greedy: {tokenizer.decode(write(prompt, 25))}")

# %% [markdown]
# Suppose the vocabulary has nine words and the model gives these logits after "every effort moves you". Dividing them
# by a temperature below 1 makes the distribution sharper; above 1 it becomes flatter, and "pizza" gets a larger
# probability.

# %%
print("\n== 5.3.1 Temperature scaling ==")
words = ["closer", "every", "effort", "forward", "inches", "moves", "pizza", "toward", "you"]
word_logits = np.array([4.51, 0.89, -1.90, 6.75, 1.63, -1.62, -1.89, 6.28, 1.79], np.float32)
print(f"likeliest: {words[draw_token(word_logits)]}")
manual_seed(123)
print(f"drawn: {words[draw_token(word_logits, temperature=1)]}")
for temperature in (1, 0.1, 5):
    manual_seed(123)
    drawn = [draw_token(word_logits, temperature) for _ in range(1000)]
    counts = np.bincount(drawn, minlength=len(words))
    print(f"temperature {temperature}: " + ", ".join(f"{n} x {word}" for n, word in zip(counts, words, strict=True)))

# %% [markdown]
# **Exercise 5.1**: how often is "pizza" drawn? Never at temperature 1 or 0.1, and 32 times in 1,000 at 5. A thousand
# draws only estimate; softmax gives the probability itself.

# %%
pizza = F.softmax(word_logits / 5).data[words.index("pizza")]
print(f"exercise 5.1: at temperature 5, drawn {counts[words.index('pizza')] / 10:.1f}%, probability {pizza:.4f}")

# %% [markdown]
# At a high temperature improbable tokens are drawn too often. Top-k sampling excludes them: only the k most probable
# tokens keep their logits, the others get -∞, that is, probability 0.

# %%
print("\n== 5.3.2 Top-k sampling ==")
top = np.argsort(-word_logits)[:3]
print(f"top logits: {word_logits[top]}, at {top}")
kept = np.where(word_logits < word_logits[top[-1]], -np.inf, word_logits)
print(f"the others forbidden: {kept}")
print(f"probabilities: {F.softmax(kept).data}")

# %%
print("\n== 5.3.3 Modifying the text generation function ==")
manual_seed(123)
ids = write(prompt, 15, temperature=1.4, top_k=25)
print(f"temperature 1.4, top-k 25: {tokenizer.decode(ids)}")
manual_seed(123)
package_ids = generate(model, prompt, 15, temperature=1.4, top_k=25, generator=default_generator())
print(f"the package's generate writes the same: {list(package_ids) == ids}")

# %% [markdown]
# **Exercise 5.2**: a low temperature and a small k where an answer should be correct (facts, code); higher ones where
# it should vary (stories, ideas).
#
# **Exercise 5.3**: generation is deterministic at temperature 0, and with k = 1 at any temperature, because only one
# token is left to draw from.

# %%
for temperature, top_k in ((0.5, 5), (1.0, 25), (3.0, None)):
    manual_seed(123)
    shown = tokenizer.decode(write(prompt, 12, temperature, top_k))
    print(f"exercise 5.2, temperature {temperature}, top-k {top_k}: {shown}")
print(f"exercise 5.3, top-k 1 writes the same as temperature 0: {write(prompt, 12, 5.0, 1) == write(prompt, 12)}")

# %% [markdown]
# ## Saving and loading
#
# The safetensors format stores named arrays and no code, so opening a file from elsewhere is safe, unlike PyTorch's
# pickles. To continue training exactly, AdamW's two moments and its step count must be saved as well.

# %%
print("\n== 5.4 Loading and saving weights ==")
folder = tempfile.TemporaryDirectory()
weights_file, moments_file = Path(folder.name) / "model.safetensors", Path(folder.name) / "optimizer.safetensors"
write_safetensors(weights_file, model.state_dict())
state = optimizer.state_dict()
moments = {
    f"{position}.{name}": np.asarray(value)
    for position, entry in state["state"].items()
    for name, value in entry.items()
}
groups = state["param_groups"]  # the optimizer's settings, to continue training
write_safetensors(moments_file, moments)
for file in (weights_file, moments_file):
    print(f"{file.name}: {file.stat().st_size / 2**20:.1f} MB")
del moments, state, optimizer

with nn.init.no_initial_values():  # they would be overwritten
    loaded = GPT(config)
loaded.load_state_dict(read_safetensors(weights_file))
sample = np.array([prompt])
with no_grad():
    same = np.array_equal(loaded.eval()(sample).data, model(sample).data)
print(f"loaded, the logits are the same: {same}")

# %% [markdown]
# **Exercise 5.4**: load model and optimizer, and train for one epoch more.

# %%
model = loaded
optimizer = optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.1)
entries: dict[str, dict[str, object]] = {}
for name, array in read_safetensors(moments_file).items():
    position, _, part = name.partition(".")
    entries.setdefault(position, {})[part] = array if array.ndim else array.item()
optimizer.load_state_dict({"state": entries, "param_groups": groups})
manual_seed(123)
print("exercise 5.4:")
train_plainly(model, optimizer, training, validation, epochs=1)
del optimizer
model.eval()

# %% [markdown]
# ## Weights from elsewhere
#
# GPT-2 is published as folders with a config.json and a model.safetensors; `GPT.from_pretrained` reads them,
# `save_pretrained` writes them. Here our model is written and read again; GPT-2's own weights are read with `--gpt2
# FOLDER`.
#
# **Exercise 5.5**: in the book, GPT-2 small, trained on web pages, has a loss of about 3.75 on the training part and
# 3.56 on the validation part. The two are close, so it has not memorized the story. **Exercise 5.6**: the largest
# GPT-2 has 3.30 and 3.12; give its folder instead.

# %%
print("\n== 5.5 Loading pretrained weights ==")
model.save_pretrained(Path(folder.name) / "gpt2")
back = GPT.from_pretrained(Path(folder.name) / "gpt2")
with no_grad():
    difference = np.abs(back(sample).data - model(sample).data).max()
print(f"written and opened as a GPT-2, logits: largest difference {difference:.1e}")
del back
folder.cleanup()

if arguments.gpt2 is None:
    print("exercise 5.5 needs GPT-2's weights: --gpt2 FOLDER")
else:
    gpt2, words_of_gpt2 = GPT.from_pretrained(arguments.gpt2), GPT2Tokenizer()
    for name, loader in zip(("training", "validation"), loaders(words_of_gpt2, 256, batch_size=2), strict=True):
        print(f"exercise 5.5, {name} loss: {mean_loss(gpt2, loader):.4f}")
    manual_seed(123)
    start = words_of_gpt2.encode("Every effort moves you")
    ids = generate(gpt2, start, 25, temperature=1.5, top_k=50, generator=default_generator())
    print(words_of_gpt2.decode(ids))
    del gpt2

# %% [markdown]
# ## The package's Trainer
#
# `Trainer` runs the same four lines and adds what a long run needs: warm-up and decay of the learning rate and
# clipping (appendix D), checkpoints that resume exactly, and separate random streams for dropout, evaluation and
# samples, so that evaluation never changes the training. With all of that off, and without dropout, it takes exactly
# the steps of the plain loop.

# %%
print("\n== The same with the package's Trainer ==")
del model
tokenizer = SimpleTokenizerV2.train(text)
config = GPTConfig(tokenizer.vocab_size, context_length=64, embedding_dim=128, num_heads=4, num_layers=2, dropout=0.0)
training, validation = loaders(tokenizer, config.context_length, batch_size=4)


class Losses(Callback):
    """Records the loss of each step."""

    def __init__(self) -> None:
        self.training: list[float] = []

    def step_finished(self, trainer: Trainer, record: dict[str, float]) -> None:
        self.training.append(record["train_loss"])


manual_seed(123)
model = GPT(config)
optimizer = optim.AdamW(model.parameters(), lr=0.002, weight_decay=0.0)
by_hand = []
for _ in range(2):
    for inputs, targets in training:
        optimizer.zero_grad()
        loss = loss_of_batch(model, inputs, targets)
        loss.backward()
        optimizer.step()
        by_hand.append(loss.item())
loss_by_hand = mean_loss(model, validation)

manual_seed(123)
model, losses = GPT(config), Losses()
plain_settings = TrainingSettings(
    steps=2 * len(training),
    learning_rate=0.002,
    min_learning_rate=0.002,
    warmup_steps=0,
    beta2=0.999,
    weight_decay=0.0,
    grad_clip=0.0,
)
Trainer(model, training, plain_settings, callbacks=[losses]).train()
difference = np.abs(np.subtract(losses.training, by_hand)).max()
print(f"losses of {len(by_hand)} steps: largest difference {difference:.1e}")
difference = abs(mean_loss(model, validation) - loss_by_hand)
print(f"validation loss, {loss_by_hand:.3f}: largest difference {difference:.1e}")
