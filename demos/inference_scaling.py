# %% [markdown]
# # Inference-time scaling: more answers instead of more training
#
# A model that answers one question in eight may still know the answer: asked many times, it says it now and then. This
# demo samples N answers to each question and chooses one of them, in four ways:
#
# - **pass@N**: whether any answer is right, which a verifier without errors would find (Chen et al. 2021). No choice
#   can be better.
# - **majority**: the most frequent answer, self-consistency (Wang et al. 2022). It needs nothing but the answers.
# - **best of N by a reward model** (Stiennon et al. 2020), learned from many pairs of answers, and
# - **the same, learned from few pairs**. A large N is a search for what the reward model overrates: the reward of the
#   chosen answers keeps rising, and beyond some N they are right less often (Gao et al. 2022, arXiv:2210.10760).
#
# The model has 173,000 parameters, and is asked for the longest word of a list. The samples of the largest N give the
# whole curves: `pass_at_k` and `best_of_k` are means over all subsets.
#
# It takes seconds, with a model that has hardly begun to learn, an easier question (how many words there are) and
# rewards from few pairs. `--full` trains longer, with three seeds: two to three minutes of CPU time. Where matplotlib
# is installed, the curves are drawn into the file that `--picture` names, or into a temporary folder.

# %%
import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np

from tinygrad_llm import Generator, manual_seed
from tinygrad_llm.data import (
    PROMPT_STYLES,
    DataLoader,
    InstructionDataset,
    PreferenceDataset,
    collate_instructions,
    collate_preferences,
    instruction_tasks,
)
from tinygrad_llm.finetune import (
    LearnedReward,
    RewardModel,
    best_of_k,
    evaluate_rewards,
    frozen_copy,
    majority_of_k,
    pass_at_k,
    sample_answers,
)
from tinygrad_llm.finetune.reward import reward_model_loss
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.train import Trainer, TrainingSettings

end_quietly()

options = argparse.ArgumentParser(description="Best of N, majority vote and pass@N.")
options.add_argument("--full", action="store_true", help="a longer training, more samples, three seeds")
options.add_argument("--picture", type=Path, metavar="FILE", help="where to draw the curves, with matplotlib installed")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own
FULL = arguments.full
SEEDS = (0, 1, 2) if FULL else (0,)
STEPS = 850 if FULL else 250
SAMPLES, QUESTIONS = (1024, 200) if FULL else (64, 40)
ASKED, FEW = (3000, 100) if FULL else (400, 50)  # questions for pairs of answers; pairs of the weak reward model
BATCH = 1024  # answers decoded together
KINDS = ["first_word", "longest_word", "largest_number", "count_words"]
STUDIED, LONGEST = ("longest_word", 32) if FULL else ("count_words", 8)
STYLE = "phi3"

# %% [markdown]
# ## The model and two rewards
#
# The model learns four kinds of instructions and is stopped early. Its own wrong answers, each beside the right one,
# make the pairs of the reward models.

# %%
records = instruction_tasks(6000, Generator(0).spawn("records"), KINDS)
tokenizer = BPETokenizer.train([PROMPT_STYLES[STYLE].answered(record) for record in records], 1024)
end = tokenizer.end_of_text
questions = instruction_tasks(QUESTIONS, Generator(1).spawn("records"), [STUDIED], True, True)
asked_for_pairs = instruction_tasks(ASKED, Generator(2).spawn("records"), [STUDIED])


def fine_tuned(seed: int) -> GPT:
    """A GPT trained on the records."""
    manual_seed(seed)
    config = {"embedding_dim": 64, "num_layers": 2, "num_heads": 4, "context_length": 128, "dropout": 0.0}
    model = GPT(GPTConfig.from_dict({**config, "vocab_size": tokenizer.vocab_size, "tie_weights": True}), "gpt2")
    collate = partial(collate_instructions, pad_id=end, mask_instructions=True)
    dataset = InstructionDataset(records, tokenizer, STYLE)
    loader = DataLoader(dataset, 32, shuffle=True, generator=Generator(seed), collate_fn=collate)
    settings = TrainingSettings(steps=STEPS, learning_rate=4e-3, min_learning_rate=4e-4, warmup_steps=50, seed=seed)
    Trainer(model, loader, settings).train()
    return model


def sampled_pairs(model: GPT, seed: int) -> list[dict]:
    """Pairs of the right answer and a wrong one that the model samples."""
    source = Generator(seed).spawn("pairs")
    answers = sample_answers(
        model, tokenizer, asked_for_pairs, 1, STYLE, LONGEST, end, generator=source, batch_size=100
    )
    return [
        {**record, "chosen": record["output"], "rejected": answer}
        for record, (answer,) in zip(asked_for_pairs, answers, strict=True)
        if answer != record["output"]
    ]


def reward_of_pairs(model: GPT, pairs: list[dict], test: list[dict], seed: int) -> tuple[LearnedReward, float]:
    """A reward model on a copy of `model`, and its agreement with held-out pairs."""
    manual_seed(seed)
    judge = RewardModel(frozen_copy(model).requires_grad_())
    collate = partial(collate_preferences, pad_id=end)
    train, held = (PreferenceDataset(part, tokenizer, STYLE) for part in (pairs, test))
    loader = DataLoader(train, 32, shuffle=True, generator=Generator(seed), collate_fn=collate)
    steps = max(20, min(300, len(pairs) // 8))
    settings = TrainingSettings(steps=steps, learning_rate=5e-4, min_learning_rate=5e-5, warmup_steps=10, seed=seed)
    Trainer(judge, loader, settings, loss=reward_model_loss).train()
    agreement = evaluate_rewards(judge, DataLoader(held, 50, collate_fn=collate)).agreement
    return LearnedReward(judge, tokenizer, STYLE, end), agreement


# %% [markdown]
# ## The curves
#
# Equal answers have equal rewards, so each distinct answer to a question is judged once.

# %%
counts = [2**power for power in range(SAMPLES.bit_length())]  # N = 1, 2, 4 ... SAMPLES


def rewards_of(reward: LearnedReward, answers: list[list[str]]) -> np.ndarray:
    """The reward of each answer. Shapes: -> (questions, SAMPLES)"""
    rows = []
    for question, sampled in zip(questions, answers, strict=True):
        distinct = list(dict.fromkeys(sampled))
        known = dict(zip(distinct, reward([question] * len(distinct), distinct), strict=True))
        rows.append([known[answer] for answer in sampled])
    return np.array(rows)


def curves_of(seed: int) -> dict[str, np.ndarray]:
    """At each N, the share of right answers by way of choosing, and the mean reward of the chosen answers."""
    model = fine_tuned(seed)
    pairs = sampled_pairs(model, seed)
    test, pairs = pairs[: len(pairs) // 5], pairs[len(pairs) // 5 :]
    source = Generator(seed).spawn("answers")
    answers = sample_answers(
        model, tokenizer, questions, SAMPLES, STYLE, LONGEST, end, generator=source, batch_size=BATCH
    )
    rights = [question["output"] for question in questions]
    scores = np.array([[answer == right for answer in row] for row, right in zip(answers, rights, strict=True)])
    found = {
        "pass@N": np.array([pass_at_k(SAMPLES, scores.sum(axis=1), k).mean() for k in counts]),
        "majority": np.array([majority_of_k(answers, rights, k) for k in counts]),
    }
    agreements = []
    for name, part in (("many", pairs), ("few", pairs[:FEW])):
        reward, agreement = reward_of_pairs(model, part, test, seed)
        rewards = rewards_of(reward, answers)
        found[f"best, {name}"] = np.array([best_of_k(scores, rewards, k).mean() for k in counts])
        found[f"reward, {name}"] = np.array([best_of_k(rewards, rewards, k).mean() for k in counts])
        agreements.append(f"{agreement:.1%} with {len(part):,} pairs")
    print(
        f"seed {seed}: {scores.mean():.1%} of the sampled answers are right; "
        f"a reward model agrees with held-out pairs in {', '.join(agreements)}",
        flush=True,
    )
    return found


print("== Inference-time scaling ==")
print(
    f"{QUESTIONS} questions of the kind {STUDIED}; for example: {questions[0]['instruction']} {questions[0]['input']}"
)
by_seed = [curves_of(seed) for seed in SEEDS]
curves = {name: np.array([found[name] for found in by_seed]) for name in by_seed[0]}

# %% [markdown]
# ## What N answers are worth
#
# Shares of right answers, in percent, and the standard deviation over the seeds; and the mean reward of the chosen
# answers, whose zero and scale differ between reward models.


# %%
def shown(rows: np.ndarray, place: int) -> str:
    """Mean and standard deviation over the seeds at one N, in percent."""
    values = 100 * rows[:, place]
    return f"{values.mean():.1f}" + (f" ±{values.std(ddof=1):4.1f}" if len(values) > 1 else "")


heads = [name for name in curves if not name.startswith("reward")]
print(f"\n{'N':>5}" + "".join(f"{head:>14}" for head in heads) + "   reward: many    few")
for place, count in enumerate(counts):
    line = f"{count:>5}" + "".join(f"{shown(curves[head], place):>14}" for head in heads)
    for name, room in (("many", 15), ("few", 7)):
        line += f"{curves[f'reward, {name}'][:, place].mean():>{room}.3f}"
    print(line)
for name in ("many", "few"):
    mean = curves[f"best, {name}"].mean(axis=0)
    best = int(mean.argmax())
    print(f"best of N, reward of {name} pairs: {mean[best]:.1%} at N = {counts[best]}, {mean[-1]:.1%} at N = {SAMPLES}")

# %%
try:
    from matplotlib.figure import Figure
except ImportError:
    print("no picture: it needs matplotlib, `pip install 'tinygrad-llm[plots]'`")
else:
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(1, 2)
    for number, (name, rows) in enumerate(curves.items()):
        axis = axes[int(name.startswith("reward"))]
        colour = {"many": "C2", "few": "C3"}.get(name.rpartition(" ")[2], f"C{number}")
        mean = rows.mean(axis=0)
        axis.plot(counts, mean, color=colour, marker="o", markersize=3, label=name)
        if len(rows) > 1:
            axis.fill_between(counts, rows.min(axis=0), rows.max(axis=0), color=colour, alpha=0.2, linewidth=0)
    axes[0].set(title="right answers", xlabel="N, answers per question", ylim=(0, 1))
    axes[1].set(title="learned reward of the chosen answer", xlabel="N")
    for axis in axes:
        axis.set_xscale("log", base=2)
        axis.legend()
    picture = arguments.picture or Path(tempfile.mkdtemp()) / "inference_scaling.png"
    figure.savefig(picture, dpi=120)
    print(f"drawn into {picture}")
