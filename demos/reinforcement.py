# %% [markdown]
# # Reinforcement learning: from rewards of a model's own answers
#
# ChatGPT's making had three stages after pretraining (Ouyang et al. 2022): fine-tuning on demonstrations, a reward
# model learned from comparisons, and reinforcement learning (PPO) against it. This demo walks them with a model of
# 173,000 parameters and one kind of instruction whose answers can be checked: "pick the longest word of the list".
#
# 1. Supervised fine-tuning, stopped early, leaves the model at about a third of the answers right.
# 2. GRPO (Shao et al. 2024) raises that with nothing but the reward "right or wrong".
# 3. A reward model learns from pairs of answers; PPO (Schulman et al. 2017) raises its reward. With a penalty on the
#    divergence from the start the policy hardly moves. Without it the policy finds what the reward model overrates:
#    the learned reward rises while the right answers vanish. That is reward hacking.
#
# It takes a minute or two on one core. `--full` trains each policy longer, with three seeds, in about twenty. Where
# matplotlib is installed, the curves are drawn into the file that `--picture` names, or into a temporary folder.

# %%
import argparse
import statistics
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
    GRPO,
    PPO,
    LearnedReward,
    RewardModel,
    RolloutLoader,
    RolloutSettings,
    add_value_head,
    evaluate_instructions,
    evaluate_rewards,
    frozen_copy,
    respond,
    right_answers,
)
from tinygrad_llm.finetune.reward import reward_model_loss
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.scripts import end_quietly
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.train import Callback, Trainer, TrainingSettings

end_quietly()

options = argparse.ArgumentParser(description="Reward models, PPO and GRPO on instructions with computed answers.")
options.add_argument("--full", action="store_true", help="longer trainings, three seeds")
options.add_argument("--picture", type=Path, metavar="FILE", help="where to draw the curves, with matplotlib installed")
arguments = options.parse_known_args()[0]  # not parse_args: a notebook has arguments of its own
SEEDS = (0, 1, 2) if arguments.full else (0,)
ROUNDS = {"grpo": 400 if arguments.full else 120, "ppo": 150 if arguments.full else 60}
KINDS = ["first_word", "longest_word", "largest_number", "count_words"]
STUDIED, STYLE = "longest_word", "phi3"

# %% [markdown]
# ## Supervised fine-tuning
#
# A new model learns four kinds of instructions from their answers, and is stopped early. The records to test on have
# wordings and contents that no training record has.

# %%
records = instruction_tasks(6000, Generator(0).spawn("records"), KINDS)
tokenizer = BPETokenizer.train([PROMPT_STYLES[STYLE].answered(record) for record in records], 1024)
end = tokenizer.end_of_text
held_out = instruction_tasks(200, Generator(1).spawn("records"), [STUDIED], True, True)
asked = instruction_tasks(3000, Generator(2).spawn("records"), [STUDIED])


def share_right(policy: GPT) -> float:
    """The share of the held-out questions that the policy answers right, decoding greedily."""
    return evaluate_instructions(policy, tokenizer, held_out, STYLE, 32, end).score


def supervised(seed: int) -> GPT:
    """A GPT trained on the records."""
    manual_seed(seed)
    config = {"embedding_dim": 64, "num_layers": 2, "num_heads": 4, "context_length": 128, "dropout": 0.0}
    policy = GPT(GPTConfig.from_dict({**config, "vocab_size": tokenizer.vocab_size, "tie_weights": True}), "gpt2")
    loader = DataLoader(
        InstructionDataset(records, tokenizer, STYLE),
        32,
        shuffle=True,
        generator=Generator(seed),
        collate_fn=partial(collate_instructions, pad_id=end, mask_instructions=True),
    )
    settings = TrainingSettings(steps=850, learning_rate=4e-3, min_learning_rate=4e-4, warmup_steps=50, seed=seed)
    Trainer(policy, loader, settings).train()
    return policy


# %% [markdown]
# ## Rewards
#
# The reward that can be checked is 1 for the right answer and 0 for any other. The learned one comes from pairs: the
# right answer is preferred to a wrong one that the model itself has sampled.


# %%
def learned_reward(start: GPT, seed: int) -> tuple[LearnedReward, float]:
    """A reward model on a copy of `start`, and the share of held-out pairs that it judges right."""
    generator, pairs = Generator(seed).spawn("pairs"), []
    for first in range(0, len(asked), 100):
        part = asked[first : first + 100]
        answers = respond(start, tokenizer, part, STYLE, 32, end, temperature=1.0, generator=generator)
        for record, answer in zip(part, answers, strict=True):
            if not right_answers([record], [answer])[0]:
                pairs.append({**record, "chosen": record["output"], "rejected": answer})
    manual_seed(seed)
    model = RewardModel(frozen_copy(start).requires_grad_())
    collate = partial(collate_preferences, pad_id=end)
    train, test = (PreferenceDataset(part, tokenizer, STYLE) for part in (pairs[200:], pairs[:200]))
    loader = DataLoader(train, 32, shuffle=True, generator=Generator(seed), collate_fn=collate)
    settings = TrainingSettings(steps=300, learning_rate=5e-4, min_learning_rate=5e-5, warmup_steps=10, seed=seed)
    Trainer(model, loader, settings, loss=reward_model_loss).train()
    agreement = evaluate_rewards(model, DataLoader(test, 50, collate_fn=collate)).agreement
    return LearnedReward(model, tokenizer, STYLE, end), agreement


class RewardCurve(Callback):
    """Records reward, KL and answer length of each round."""

    def __init__(self, loader: RolloutLoader) -> None:
        self.loader, self.rounds = loader, []

    def step_finished(self, trainer: Trainer, record: dict) -> None:
        self.rounds.append(dict(self.loader.figures))

    def last(self, name: str) -> float:
        return float(np.mean([figures[name] for figures in self.rounds[-10:]]))


def reinforced(start: GPT, method: str, reward: object, beta: float, seed: int) -> tuple[GPT, RewardCurve]:
    """A copy of `start` after reinforcement learning, and its curve."""
    policy = frozen_copy(start).requires_grad_()
    grouped = method == "grpo"
    settings = RolloutSettings(
        method=method, questions=16 if grouped else 64, group_size=16 if grouped else 1, beta=beta, max_new_tokens=32
    )
    if not grouped:
        add_value_head(policy)
    generator, batch = Generator(seed).spawn("rollouts"), settings.questions * settings.group_size
    loader = RolloutLoader(policy, start, tokenizer, asked, STYLE, [end], reward, settings, batch, generator)
    curve, steps = RewardCurve(loader), ROUNDS[method]
    training = TrainingSettings(
        steps=steps, learning_rate=1e-3, min_learning_rate=1e-4, warmup_steps=5, weight_decay=0.0, seed=seed
    )
    Trainer(policy, loader, training, loss=GRPO(beta=beta) if grouped else PPO(), callbacks=[curve]).train()
    return policy, curve


# %% [markdown]
# ## What each stage brings

# %%
print("== Reinforcement learning ==")
print(f"the kind of instruction: {STUDIED}; for example: {held_out[0]['instruction']} {held_out[0]['input']}")
print(f"\n{'seed':>4} {'fine-tuned':>11} {'GRPO':>7} {'agreement of the reward model':>30}")
gains, hacked, curves = [], [], {}
for seed in SEEDS:
    start = supervised(seed)
    before = share_right(start)
    reference = frozen_copy(start)
    grouped_policy, _ = reinforced(reference, "grpo", right_answers, 0.01, seed)
    after = share_right(grouped_policy)
    gains.append(after - before)
    reward, agreement = learned_reward(reference, seed)
    print(f"{seed:>4} {before:>11.1%} {after:>7.1%} {agreement:>30.1%}", flush=True)
    for beta in (1.0, 0.0):
        policy, curve = reinforced(reference, "ppo", reward, beta, seed)
        curves[seed, beta] = curve
        hacked.append((seed, beta, curve, share_right(policy)))
spread = f" ± {statistics.stdev(gains):.1%} over {len(gains)} seeds" if len(gains) > 1 else ""
print(f"GRPO, {ROUNDS['grpo']} rounds of 256 answers: {statistics.mean(gains):+.1%} of the held-out questions{spread}")

# %% [markdown]
# ## Reward hacking
#
# PPO against the learned reward, with the KL penalty and without. `first` and `last` are the mean learned rewards of
# ten rounds; only the last column says whether the answers are any good.

# %%
print(
    f"\n{'seed':>4} {'KL penalty':>10} {'learned reward, first':>22} {'last':>6} {'KL':>7} {'length':>7} {'right':>7}"
)
for seed, beta, curve, right in hacked:
    first = float(np.mean([figures["reward"] for figures in curve.rounds[:10]]))
    print(
        f"{seed:>4} {beta:>10} {first:>22.2f} {curve.last('reward'):>6.2f} {curve.last('kl'):>7.1f} "
        f"{curve.last('answer_length'):>7.1f} {right:>7.1%}"
    )

# %%
try:
    from matplotlib.figure import Figure
except ImportError:
    print("no picture: it needs matplotlib, `pip install 'tinygrad-llm[plots]'`")
else:
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.subplots(1, 2)
    for (seed, beta), curve in curves.items():
        label = ("with the KL penalty" if beta else "without") if seed == SEEDS[0] else None
        for axis, name in zip(axes, ("reward", "kl"), strict=True):
            axis.plot([x[name] for x in curve.rounds], color="C0" if beta else "C3", label=label, linewidth=1)
    axes[0].set(title="learned reward", xlabel="round")
    axes[1].set(title="divergence from the start", xlabel="round", ylabel="nats per answer", yscale="symlog")
    axes[0].legend()
    picture = arguments.picture or Path(tempfile.mkdtemp()) / "reward_hacking.png"
    figure.savefig(picture, dpi=120)
    print(f"drawn into {picture}")
