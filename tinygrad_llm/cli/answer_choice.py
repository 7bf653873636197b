"""`--best-of N --reward-model RUN` and `--votes N`: one of several sampled answers to an instruction is chosen."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tinygrad_llm.cli.learned_reward import open_reward
from tinygrad_llm.data.instructions import PromptForm, Record
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.finetune.inference_scaling import best_answer, majority_answer, sample_answers
from tinygrad_llm.finetune.reward import Reward
from tinygrad_llm.generate import Sampling
from tinygrad_llm.generate.seeded_batches import SeededBatch, seeded_batches
from tinygrad_llm.models import LanguageModel
from tinygrad_llm.random import Generator
from tinygrad_llm.text import Tokenizer
from tinygrad_llm.train.parallel.mapping import map_in_workers

MOST_ANSWERS = 10_000  # to one instruction
ANSWERS_OF_BATCH = 128  # decoded as one batch by each worker
USUAL = Sampling(temperature=1.0)  # without --temperature


@dataclass(frozen=True)
class AnswerChoice:
    """How many answers are sampled, and the reward by which one is chosen; without one, the most frequent answer."""

    count: int
    reward: Reward | None

    def choose(self, record: Record, answers: Sequence[str]) -> str:
        return majority_answer(answers) if self.reward is None else best_answer(record, answers, self.reward)


@dataclass(frozen=True)
class Answering:
    """A model that answers instructions: the form in which it is asked, the ids that end an answer, and how one of
    several answers is chosen, if several are sampled.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    form: PromptForm
    ends: tuple[int, ...]
    choice: AnswerChoice | None

    def answers(
        self,
        records: Sequence[Record],
        max_new_tokens: int,
        sampling: Sampling,
        generator: Generator,
    ) -> list[str]:
        """An answer to each record. Units: max_new_tokens in tokens. Raises: as `sample_answers`"""
        count = 1 if self.choice is None else self.choice.count
        several = sample_answers(
            self.model, self.tokenizer, records, count, self.form, max_new_tokens, self.ends, sampling, generator
        )
        return [
            some[0] if self.choice is None else self.choice.choose(record, some)
            for record, some in zip(records, several, strict=True)
        ]

    def answers_in_workers(
        self, records: Sequence[Record], max_new_tokens: int, seed: int, progress: Callable[[int, int], None]
    ) -> list[str]:
        """As `answers`, sampled as usual, in batches that workers share; `progress(done, total)` counts records.

        The answers are the same for any number of workers.
        """
        together = max(1, ANSWERS_OF_BATCH // (1 if self.choice is None else self.choice.count))
        batches = seeded_batches(records, together, seed)
        answers: list[str] = []
        for some in map_in_workers(partial(self._answers_of, max_new_tokens), batches, self.model):
            answers += some
            progress(len(answers), len(records))
        return answers

    def _answers_of(self, max_new_tokens: int, batch: SeededBatch[Record]) -> list[str]:
        return self.answers(batch.questions, max_new_tokens, USUAL, batch.generator())


def add_choice_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--best-of", type=int, metavar="N", help="sample N answers and take the one with the largest --reward-model"
    )
    parser.add_argument("--reward-model", type=Path, metavar="RUN", help="run folder of the reward model of --best-of")
    parser.add_argument(
        "--votes", type=int, metavar="N", help="sample N answers and take the most frequent (self-consistency)"
    )


def answer_choice_of(arguments: argparse.Namespace, style: str) -> AnswerChoice | None:
    """The choice that the flags ask for; None if they ask for none.

    Raises: ConfigError for flags that do not fit together, and as `open_reward`
    """
    given = [(flag, getattr(arguments, flag)) for flag in ("best_of", "votes")]
    named = [(f"--{flag.replace('_', '-')}", count) for flag, count in given if count is not None]
    if len(named) > 1:
        raise ConfigError("give --best-of or --votes, not both")
    if (arguments.best_of is None) != (arguments.reward_model is None):
        raise ConfigError("--best-of and --reward-model belong together; give both, or neither")
    if not named:
        return None
    flag, count = named[0]
    if not 1 <= count <= MOST_ANSWERS:
        raise ConfigError(f"{flag} must be 1 to {MOST_ANSWERS:,}; got {count}")
    return AnswerChoice(count, None if arguments.reward_model is None else open_reward(arguments.reward_model, style))


def sampling_of_choice(sampling: Sampling, given: float | None) -> Sampling:
    """`sampling`, at temperature 1 unless --temperature was `given`. Raises ConfigError for temperature 0"""
    if given is None:
        return dataclasses.replace(sampling, temperature=USUAL.temperature)
    if sampling.greedy:
        raise ConfigError("--temperature must be above 0 with --best-of or --votes: at 0 all answers are the same")
    return sampling
