# %% [markdown]
# # Few-shot learning appears
#
# A large model that is shown a few examples of a task in its prompt does the task better, though no weight changes
# (Brown et al. 2020, arXiv:2005.14165). Here the same appears in a GPT small enough to train in seconds. Every
# sequence hides a rule of its own: a mapping from four letters to eight, drawn anew. The sequence asks for a
# letter, then shows it with what it becomes (a pair is one token, so that a single look back finds it), and so on; only
# who reads the pairs can tell the next one. A fifth of all mappings is never trained on, and those we ask about.
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

options = argparse.ArgumentParser(description="Few-shot learning appears in a small GPT while it trains.")
options.add_argument("--picture", type=Path, metavar="FILE", help="where to draw the curves, with matplotlib installed")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own

LETTERS, IMAGES, MOST_SHOTS = "abcd", "ABCDEFGH", 12
PAIRS = MOST_SHOTS + 1
TOKENS = [*LETTERS, *(letter + image for letter in LETTERS for image in IMAGES)]
print("== Few-shot learning appears ==")
print(f"{len(IMAGES) ** len(LETTERS):,} mappings of {LETTERS} to {IMAGES}; a fifth is held out")


# %%
def draw_mapping(generator: Generator, held_out: bool) -> np.ndarray:
    """A rule: the image of each letter. Which ones are held out is decided by a checksum."""
    while True:
        mapping = generator.randint(0, len(IMAGES), (len(LETTERS),))
        if (zlib.crc32(mapping.tobytes()) % 5 == 0) == held_out:
            return mapping


def draw_sequences(count: int, generator: Generator, held_out: bool) -> np.ndarray:
    """Letter, pair, letter, pair ...: each row by a mapping of its own. Shapes: -> (count, 2 PAIRS)"""
    mappings = np.stack([draw_mapping(generator, held_out) for _ in range(count)])
    letters = generator.randint(0, len(LETTERS), (count, PAIRS))
    images = np.take_along_axis(mappings, letters, axis=1)
    pairs = len(LETTERS) + letters * len(IMAGES) + images
    return np.stack([letters, pairs], axis=2).reshape(count, -1)


class Sequences:
    """New sequences for every batch. Only the pairs are learned: which letter comes next, nothing tells."""

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
# The image of a letter can be known only if the letter came before. So even who plays perfectly is right in only a
# share of the cases: always where the letter was shown, and one time in eight where not.

# %%
tests = draw_sequences(1000, Generator(2), held_out=True)
shots = np.arange(PAIRS)
unseen = (1 - 1 / len(LETTERS)) ** shots
best = 1 - unseen * (1 - 1 / len(IMAGES))


def accuracy_by_shots(model: GPT) -> np.ndarray:
    """How often the likeliest token is right, after 0, 1, 2 ... pairs of a held-out mapping. Shapes: -> (PAIRS,)"""
    model.eval()
    with no_grad():
        likeliest = model(tests[:, :-1]).data[:, ::2].argmax(axis=-1)
    model.train()
    return (likeliest == tests[:, 1::2]).mean(axis=0)


def show_curve(when: str, accuracies: np.ndarray) -> None:
    print(f"\n{when}: accuracy on {len(tests):,} held-out mappings (| is what a perfect reader is expected to get)")
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
    f"{curves[when][-1]:.1%} where a perfect reader is expected to get {best[-1]:.1%}"
)

# %%
if importlib.util.find_spec("matplotlib") is None:
    print("no picture: it needs matplotlib, `pip install 'tinygrad-llm[plots]'`")
else:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(shots, best, color="black", linestyle="--", label="a perfect reader")
    for when, accuracies in reversed(curves.items()):
        axes.plot(shots, accuracies, marker="o", markersize=3, label=when)
    axes.set_xlabel("examples in the prompt")
    axes.set_ylabel("right answers (share of 1,000 held-out mappings)")
    axes.set_ylim(0, 1)
    axes.legend()
    picture = arguments.picture or Path(tempfile.mkdtemp()) / "few_shot.png"
    figure.savefig(picture, dpi=120)
    print(f"drawn into {picture}")
