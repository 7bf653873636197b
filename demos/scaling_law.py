# %% [markdown]
# # A scaling law: how the loss falls with the size of the model and the tokens it reads
#
# `tinygrad-llm speedrun` chooses the size of its base model by the law of Hoffmann et al. (2022),
#
#     L(N, D) = E + A / N^α + B / D'^β
#
# for N parameters and D tokens, where D' counts a repeated token as less than a new one (Muennighoff et al. 2023).
# Here its numbers are measured: a training for each of several sizes and lengths, by the command and with the settings
# of the speedrun, and a fit. `--full` takes the trainings behind the law that the package records for a speedrun of
# few minutes; its longest ones read the text several times.

# %%
import argparse
import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np

from tinygrad_llm.cli import main
from tinygrad_llm.measure.scaling_law import TrainedPoint, effective_tokens, fit_law, relative_errors
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.speedrun.card_size import law_in_words
from tinygrad_llm.speedrun.choosing import CONTEXT, ROWS, encoded_text, point_of, pretraining
from tinygrad_llm.speedrun.journal import SpeedrunSettings

end_quietly()

options = argparse.ArgumentParser(description="Fit a scaling law to small trainings.")
options.add_argument("--full", action="store_true", help="the trainings behind the recorded law")
options.add_argument("--data", metavar="PATH", help="the text (default: python-docs, with --full that of the speedrun)")
options.add_argument("--out", type=Path, metavar="FOLDER", help="where the runs are kept (default: nowhere)")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own
DATA = arguments.data or (SpeedrunSettings().data if arguments.full else "python-docs")
# Sizes in parameters, lengths in tokens.
GRID = [(size, tokens) for size in (50_000, 200_000, 800_000) for tokens in (150_000, 450_000, 1_350_000)]
GRID += [(size, 4_050_000) for size in (50_000, 200_000)]
if not arguments.full:
    GRID = [(size, tokens) for size in (45_000, 60_000, 90_000) for tokens in (20_000, 40_000, 80_000)]

# %% [markdown]
# ## The trainings
#
# All share the tokenizer and the ids of the text. A run that is in `--out` already is resumed, or used as it is.


# %%
def trained(folder: Path, size: int, tokens: int) -> Path:
    """The run of a model of this size after so many tokens."""
    run, steps = folder / f"{size}-{tokens}", str(round(tokens / (ROWS * CONTEXT)))
    words = pretraining(SpeedrunSettings(data=DATA), folder / "ids", size)
    if (run / "checkpoints").exists():
        words = ["train", "--resume"]
    words += ["--steps", steps, "--eval-interval", "0", "--eval-batches", "100", "--out", str(run)]
    with contextlib.redirect_stdout(io.StringIO()):
        code = main(words)
    if code:
        raise SystemExit(code)
    return run


# %%
print("== Scaling law ==")
folder = arguments.out or Path(tempfile.mkdtemp())
points: list[TrainedPoint] = []
print(f"{'parameters':>10} {'tokens':>10} {'times the text':>14} {'bits per byte':>13}")
for size, tokens in GRID:
    run = trained(folder, size, tokens)
    encoded = encoded_text(run, folder / "ids")
    points.append(point_of(run, encoded))
    parameters, tokens, loss = points[-1].parameters, points[-1].tokens, points[-1].loss
    print(f"{parameters:>10,} {tokens:>10,} {tokens / len(encoded.train):>14.2f} {loss:>13.4f}", flush=True)

# %% [markdown]
# ## The fit
#
# For each pair of exponents, E, A and B by linear least squares of the relative errors; the best pair is kept.

# %%
unique = len(encoded.train)
law = fit_law(points, unique)
errors = np.abs(relative_errors(law, points, unique))
print(f"\nthe text has {unique:,} tokens for training")
print(law_in_words(law))
print(f"relative errors: {errors.mean():.1%} in the mean, {errors.max():.1%} at most")
print(law)
longest = max(points, key=lambda point: point.tokens)
worth = float(effective_tokens(longest.tokens, unique))
print(f"{longest.tokens:,} tokens, {longest.tokens / unique:.1f} times the text, are worth {worth:,.0f} new ones")
