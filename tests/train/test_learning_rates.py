"""The schedules that a run may ask for, as the optimizer meets them."""

from typing import Any

import numpy as np
import pytest

from tinygrad_llm import manual_seed
from tinygrad_llm.data import WindowLoader
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.train import Callback, Trainer, TrainingSettings


class Rates(Callback):
    def __init__(self) -> None:
        self.rates = []

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.rates.append(record["learning_rate"])


def rates(**settings: Any) -> list[float]:
    manual_seed(0)
    model = GPT(GPTConfig(5, 4, 4, 1, 1, 0.0))
    seen = Rates()
    given = {"steps": 9, "learning_rate": 0.8, "min_learning_rate": 0.0, "eval_interval": 0, "warmup_steps": 4}
    loader = WindowLoader(np.arange(40) % 5, 4, 2)
    Trainer(model, loader, TrainingSettings(**(given | settings)), callbacks=[seen]).train()
    return seen.rates


def test_the_inverse_square_root_rises_to_the_peak_and_falls_with_the_root_of_time() -> None:
    expected = [0.2, 0.4, 0.6, 0.8, *(0.8 * (4 / n) ** 0.5 for n in range(5, 10))]
    assert rates(schedule="inverse_square_root") == pytest.approx(expected)
    assert rates(schedule="inverse_square_root", warmup_steps=0)[:2] == pytest.approx([0.8, 0.8 / 2**0.5])


def test_the_cosine_is_the_default_and_ends_near_its_minimum() -> None:
    assert rates() == rates(schedule="cosine")
    assert max(rates()) == 0.8 and rates()[-1] < 0.1


@pytest.mark.parametrize("schedule", ["linear", "", None, 3])
def test_other_schedules_are_refused(schedule: int | str | None) -> None:
    with pytest.raises(ConfigError, match="schedule must be one of cosine, inverse_square_root; got"):
        TrainingSettings(schedule=schedule)
