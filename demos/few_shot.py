# %% [markdown]
# # Few-shot learning emerges in training
#
# A large model performs a task better when its prompt contains a few examples, although no weight changes (Brown et
# al. 2020, arXiv:2005.14165). Here the same emerges in a GPT small enough to train in seconds. Every sequence has its
# own hidden rule: a random mapping from four letters to eight images. A sequence asks for a letter, then shows the
# letter with its image (a pair is one token, so attention needs a single look back), and so on; the next image can be
# predicted only from earlier pairs. A fifth of all mappings is never trained on, and the accuracy is measured on
# those.
#
# The curves are printed, and with matplotlib installed (`pip install 'tinygrad-llm[plots]'`) also drawn into the file
# that `--picture` names, or into a new temporary folder.

# %%
import argparse
import importlib.util
import tempfile
import time
import zlib
from pathlib import Path

import numpy as np

from tinygrad_llm import Generator, manual_seed, no_grad
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.train import Trainer, TrainingSettings

end_quietly()

options = argparse.ArgumentParser(description="Few-shot learning emerges in a small GPT while it trains.")
options.add_argument("--picture", type=Path, metavar="FILE", help="where to draw the curves, with matplotlib installed")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own

LETTERS, IMAGES, MOST_SHOTS = "abcd", "ABCDEFGH", 12
PAIRS = MOST_SHOTS + 1
TOKENS = [*LETTERS, *(letter + image for letter in LETTERS for image in IMAGES)]
print("== Few-shot learning emerges in training ==")
print(f"{len(IMAGES) ** len(LETTERS):,} mappings of {LETTERS} to {IMAGES}; a fifth is held out")


# %%
def draw_mapping(generator: Generator, held_out: bool) -> np.ndarray:
    """A random mapping: the image of each letter. A checksum decides which mappings are held out."""
    while True:
        mapping = generator.randint(0, len(IMAGES), (len(LETTERS),))
        if (zlib.crc32(mapping.tobytes()) % 5 == 0) == held_out:
            return mapping


def draw_sequences(count: int, generator: Generator, held_out: bool) -> np.ndarray:
    """Rows of letter, pair, letter, pair ..., each with its own mapping. Shapes: -> (count, 2 PAIRS)"""
    mappings = np.stack([draw_mapping(generator, held_out) for _ in range(count)])
    letters = generator.randint(0, len(LETTERS), (count, PAIRS))
    images = np.take_along_axis(mappings, letters, axis=1)
    pairs = len(LETTERS) + letters * len(IMAGES) + images
    return np.stack([letters, pairs], axis=2).reshape(count, -1)


class Sequences:
    """New sequences for every batch. Only pairs are targets; the next letter is random."""

    def __init__(self, batch_size: int, generator: Generator) -> None:
        self.batch_size, self.generator = batch_size, generator

    def __iter__(self):
        for _ in range(100):
            rows = draw_sequences(self.batch_size, self.generator, held_out=False)
            targets = rows[:, 1:].copy()
            targets[:, 1::2] = -100
            yield rows[:, :-1], targets

    def __len__(self) -> int:
        return 100


example = draw_sequences(1, Generator(1), held_out=False)[0]
print("one sequence:", " ".join(TOKENS[token] for token in example))

# %% [markdown]
# The image of a letter can be predicted only if the letter occurred before. So the best possible accuracy is below 1:
# always right where the letter was shown, and right in one of eight cases where not.

# %%
tests = draw_sequences(1000, Generator(2), held_out=True)
shots = np.arange(PAIRS)
unseen = (1 - 1 / len(LETTERS)) ** shots
best = 1 - unseen * (1 - 1 / len(IMAGES))


def accuracy_by_shots(model: GPT) -> np.ndarray:
    """Accuracy of the most probable token after 0, 1, 2 ... pairs of a held-out mapping. Shapes: -> (PAIRS,)"""
    model.eval()
    with no_grad():
        likeliest = model(tests[:, :-1]).data[:, ::2].argmax(axis=-1)
    model.train()
    return (likeliest == tests[:, 1::2]).mean(axis=0)


def show_curve(when: str, accuracies: np.ndarray) -> None:
    print(f"\n{when}: accuracy on {len(tests):,} held-out mappings (|: best possible)")
    for number, (share, limit) in enumerate(zip(accuracies, best, strict=True)):
        bar = list("#" * round(40 * share) + " " * 41)[:41]
        bar[round(40 * limit)] = "|"
        print(f"{number:>3} shots {share:6.1%}  {''.join(bar)}")


manual_seed(123)
model = GPT(GPTConfig(len(TOKENS), 2 * PAIRS, 32, num_heads=4, num_layers=2, dropout=0.0), init="gpt2")
print(f"a GPT of {model.num_parameters():,} parameters, trained from scratch")
settings = TrainingSettings(
    steps=400, batch_size=64, learning_rate=3e-3, min_learning_rate=3e-4, warmup_steps=50, eval_interval=0
)
trainer = Trainer(model, Sequences(64, Generator(3)), settings)
curves = {"before training": accuracy_by_shots(model)}
show_curve("before training", curves["before training"])
start = time.perf_counter()
for step in (40, settings.steps):
    trainer.train(until=step)
    when = f"after {step:,} steps"
    curves[when] = accuracy_by_shots(model)
    show_curve(when, curves[when])
print(f"\ntraining took {time.perf_counter() - start:.0f} s")
print(
    f"zero-shot baseline {curves[when][0]:.1%}, guessing {1 / len(IMAGES):.1%}; {MOST_SHOTS} shots "
    f"{curves[when][-1]:.1%} where the best possible is {best[-1]:.1%}"
)

# %%
if importlib.util.find_spec("matplotlib") is None:
    print("no picture: it needs matplotlib, `pip install 'tinygrad-llm[plots]'`")
else:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(shots, best, color="black", linestyle="--", label="best possible")
    for when, accuracies in reversed(curves.items()):
        axes.plot(shots, accuracies, marker="o", markersize=3, label=when)
    axes.set_xlabel("examples in the prompt")
    axes.set_ylabel("right answers (share of 1,000 held-out mappings)")
    axes.set_ylim(0, 1)
    axes.legend()
    picture = arguments.picture or Path(tempfile.mkdtemp()) / "few_shot.png"
    figure.savefig(picture, dpi=120)
    print(f"drawn into {picture}")
