"""Rollouts: answers that a policy samples, and the log-probability of each of their tokens.

Questions and answers are one array of ids, padded on the right. An array "per token" has a column for each predicted
token: column t belongs to ids[:, t + 1]. `mask` is True at the tokens of an answer, its end-of-text token included:

    ids    q q q a a E . .       columns   0 1 2 3 4 5 6
    mask                                   F F T T T F F
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from tinygrad_llm.arrays import Array
from tinygrad_llm.checks import expect_count
from tinygrad_llm.data.padding import pad_right
from tinygrad_llm.errors import ConfigError, ShapeError
from tinygrad_llm.generate import Sampling
from tinygrad_llm.generate.decoding import each_step
from tinygrad_llm.generate.decoding_state import prompts_of, without_dropout
from tinygrad_llm.nn import Linear, Module
from tinygrad_llm.ops import cross_entropy
from tinygrad_llm.primitives import cat
from tinygrad_llm.random import Generator
from tinygrad_llm.tensor import Tensor


class Rollouts(NamedTuple):
    """Sampled answers. `ended` tells which of them ended with the end-of-text token, and were not cut off.

    Shapes: ids (B, T + 1), mask (B, T), ended (B,)
    """

    ids: Array
    mask: Array
    ended: Array

    @property
    def lengths(self) -> Array:
        """The number of tokens of each answer. Shapes: -> (B,)"""
        return self.mask.sum(axis=1)


class RolloutBatch(NamedTuple):
    """What the losses of PPO and GRPO read. `old_values` and `returns` are those of PPO's value function, else 0.

    Shapes: ids (B, T + 1), all others (B, T)
    """

    ids: Array
    mask: Array
    old_log_probs: Array
    reference_log_probs: Array
    advantages: Array
    old_values: Array
    returns: Array

    @property
    def num_targets(self) -> int:
        """The tokens of the answers: PPO's loss is their mean."""
        return int(self.mask.sum())


class GroupedRolloutBatch(RolloutBatch):
    """Rollouts for GRPO, whose loss is a mean over answers."""

    @property
    def num_targets(self) -> int:
        """The answers."""
        return len(self.ids)


def sample_rollouts(
    policy: Any,
    questions: Sequence[ArrayLike],
    max_new_tokens: int,
    end_ids: Collection[int],
    generator: Generator,
    temperature: float = 1.0,
    vocab_size: int | None = None,
) -> Rollouts:
    """One sampled answer to each question; all are decoded as one batch, which an answer leaves when it ends.

    Padding repeats the end-of-text token. An answer is cut off where it fills the model's context. `vocab_size` is as
    in `Sampling`.

    Shapes: B questions (T_i,)
    Units:  max_new_tokens in tokens, at least 1
    Raises: ConfigError for settings outside their range, or no end-of-text token; ShapeError for a question that leaves
            no room for an answer
    """
    expect_count("sample_rollouts", "max_new_tokens", max_new_tokens)
    ends = frozenset(end_ids)
    if not ends:
        raise ConfigError("sample_rollouts: end_ids must name the token that ends an answer; got none")
    prompts = prompts_of("sample_rollouts", policy, list(questions))
    context = policy.config.context_length
    longest = max(map(len, prompts))
    if longest >= context:
        raise ShapeError(
            f"sample_rollouts: a question must be shorter than the context, {context} tokens; got {longest}"
        )
    room = [min(max_new_tokens, context - len(prompt)) for prompt in prompts]
    answers: list[list[int]] = [[] for _ in prompts]
    sampling = Sampling(temperature=temperature, vocab_size=vocab_size)
    steps = each_step(policy, prompts, max(room), sampling, ends, generator, True, False)
    for rows, tokens in steps:
        for row, token in zip(rows.tolist(), tokens.tolist(), strict=True):
            if len(answers[row]) < room[row]:
                answers[row].append(token)
    texts = [[*prompt.tolist(), *answer] for prompt, answer in zip(prompts, answers, strict=True)]
    width = max(map(len, texts))
    column = np.arange(1, width)
    first = np.array([[len(prompt)] for prompt in prompts])
    after = np.array([[len(text)] for text in texts])
    ended = np.array([answer[-1] in ends for answer in answers])
    return Rollouts(pad_right(texts, width, min(ends)), (column >= first) & (column < after), ended)


def token_log_probs(model: Any, ids: ArrayLike, mask: ArrayLike, with_values: bool = False) -> tuple[Tensor, Tensor]:
    """ln p(token | all tokens before it) of each token where `mask` is True, else 0; and the values of these tokens.

    Dropout is off: the probabilities of two passes must differ by the weights alone. The value of a token is what the
    model's `value_head` expects of its answer before the token is chosen (see `add_value_head`); 0 without
    `with_values`.

    Shapes: ids (B, T + 1), mask (B, T) -> (B, T), (B, T)
    Units:  log-probabilities in nats
    Raises: ShapeError if mask does not fit ids
    """
    ids, wanted = np.asarray(ids), np.asarray(mask, bool)
    if ids.ndim != 2 or wanted.shape != (len(ids), ids.shape[1] - 1):
        raise ShapeError(f"token_log_probs: ids must be (B, T + 1) and mask (B, T); got {ids.shape} and {wanted.shape}")
    place = np.where(wanted, np.cumsum(wanted).reshape(wanted.shape) - 1, int(wanted.sum()))
    with without_dropout(list(model.modules())):
        hidden = model.hidden(ids[:, :-1])[wanted]
        log_probs = -cross_entropy(model.head(hidden), ids[:, 1:][wanted], reduction="none")
        values = model.value_head(hidden).reshape(-1) if with_values else log_probs.detach() * 0.0
    nothing = Tensor(np.zeros(1, log_probs.dtype))
    return cat([log_probs, nothing])[place], cat([values, nothing])[place]


def add_value_head(policy: Any) -> Module:
    """Give a language model a value function: a linear layer from its hidden states to one number, `value_head`.

    It starts at 0, and is a parameter of the model from now on; the saved model leaves it out (see
    `without_value_head`). Returns the policy.
    """
    head = Linear(policy.config.embedding_dim, 1).to(policy.token_embedding.weight.dtype)
    for parameter in head.parameters():
        parameter.data[...] = 0
    policy.value_head = head
    return policy


def without_value_head(weights: Mapping[str, Any]) -> dict[str, Any]:
    """The state dict of a policy as before `add_value_head`."""
    return {name: value for name, value in weights.items() if not name.startswith("value_head.")}
