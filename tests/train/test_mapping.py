"""A long evaluation shared among workers has the results of a loop, in its order."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from tiny_base import tiny_model

from tinygrad_llm import buffers, manual_seed, no_grad
from tinygrad_llm.cli.answer_choice import AnswerChoice, Answering
from tinygrad_llm.data import PreferenceDataset, collate_preferences
from tinygrad_llm.data.instructions import PromptStyle
from tinygrad_llm.errors import ConfigError, DataError, WorkerError
from tinygrad_llm.evaluation.answers import evaluate_answers
from tinygrad_llm.evaluation.choices import evaluate_choices
from tinygrad_llm.evaluation.documents import evaluate_documents
from tinygrad_llm.evaluation.prompts import Prompts
from tinygrad_llm.evaluation.task_files import Document, Question
from tinygrad_llm.evaluation.task_settings import TaskSettings
from tinygrad_llm.finetune import (
    DPO,
    Classifier,
    evaluate_classifier,
    evaluate_instructions,
    evaluate_preferences,
    evaluate_rewards,
    frozen_copy,
)
from tinygrad_llm.finetune.reward import RewardModel
from tinygrad_llm.nn import Linear
from tinygrad_llm.train import evaluate
from tinygrad_llm.train.parallel import mapping, processes
from tinygrad_llm.train.parallel.cores_and_memory import usable_cores
from tinygrad_llm.train.parallel.mapping import evaluate_in_workers, map_in_workers
from tinygrad_llm.train.parallel.product_threads import products_in_threads

pytestmark = pytest.mark.usefixtures("no_other_threads")

SMALL, LARGE = Linear(2, 2), Linear(400, 400)
WIDE = np.random.default_rng(0).standard_normal((200, 200)).astype(np.float32)
TERSE = PromptStyle("", " ", ":")


@pytest.mark.parametrize("items", [0, 1, 2, 5, 9])
@pytest.mark.parametrize("workers", [1, 2, 4])
def test_results_come_in_the_order_of_the_items(items: int, workers: int) -> None:
    offset = np.arange(3)  # nothing that the function refers to is pickled
    found = list(map_in_workers(lambda item: (item, item * offset), list(range(items)), LARGE, workers))
    assert [item for item, _ in found] == list(range(items))
    for item, array in found:
        np.testing.assert_array_equal(array, item * offset)
    assert multiprocessing.active_children() == []


def test_only_the_first_process_goes_through_the_items_and_prints(capfd: pytest.CaptureFixture[str]) -> None:
    """They may come from a file, which nobody has counted."""

    def items() -> Iterator[int]:
        for item in range(4):
            os.write(1, b"one more\n")
            yield item

    def spoken(item: int) -> int:
        os.write(1, b"computed\n")
        return item

    assert list(map_in_workers(spoken, items(), workers=3)) == list(range(4))
    printed = capfd.readouterr().out
    assert printed.count("one more") == 4 and printed.count("computed") == 2  # items 0 and 3


def test_an_evaluation_in_workers_is_that_of_one_process() -> None:
    class Squares(Linear):
        def loss(self, x: np.ndarray, y: np.ndarray) -> Any:
            return (self(x) ** 2).mean()

    model = Squares(400, 400)
    batches = [(np.full((2, 400), n, np.float32), np.full((2, 4), min(n, 0))) for n in range(-2, 5)]
    assert evaluate_in_workers(model, batches) == evaluate(model, batches)
    with pytest.raises(ConfigError, match="at least one target"):
        evaluate_in_workers(model, [])


# -- where forking is unsafe


@pytest.fixture
def no_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "can_fork", lambda: False)
    monkeypatch.setattr(mapping, "SECONDS_BEFORE_SPAWNING", 1e-9)


def product(weights: Linear, cache: np.ndarray, item: int) -> tuple[int, float, bytes]:
    cache += 1  # which every process has to itself
    value = float((weights(cache[None]).data * item).sum() + weights.weight.data.sum())
    return os.getpid(), value, buffers.matmul(WIDE, WIDE).tobytes()


@pytest.mark.filterwarnings("error")
def test_spawned_workers_share_the_weights_and_nothing_else(no_fork: None) -> None:
    manual_seed(0)
    model = Linear(400, 400)
    with no_grad(), products_in_threads(1):
        found = list(map_in_workers(partial(product, model, np.zeros(400, np.float32)), range(7), model, 2))
        cache = np.zeros(400, np.float32)
        alone = [product(model, cache, item)[1] for item in range(4)]
    assert len({process for process, *_ in found}) == 2
    assert len({rounded for *_, rounded in found}) == 1
    mine = [value for process, value, _ in found if process == os.getpid()]  # item 0, then every second one
    assert mine[:1] == alone[:1] and len(mine) == 4
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("no_fork")
def test_short_work_spawns_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mapping, "SECONDS_BEFORE_SPAWNING", 60.0)
    assert set(map_in_workers(lambda _: os.getpid(), range(9), LARGE, 2)) == {os.getpid()}


@pytest.mark.usefixtures("no_fork")
def test_a_function_that_cannot_be_pickled_is_computed_here_and_a_warning_says_so() -> None:
    with pytest.warns(UserWarning, match="this process works alone: 2 workers could not be started .*lambda"):
        assert list(map_in_workers(lambda item: item, range(5), LARGE, 2)) == list(range(5))


class PickledHere:
    """In place of processes: each worker's part is pickled, as for a spawned process, and called in this one."""

    def __init__(self, share: Any, memory: Any, size: int, forked: bool) -> None:
        assert not forked
        copies = [processes._unpickled(processes._pickled(share, memory), memory) for _ in range(1, size)]
        for rank, copy in enumerate(copies, start=1):
            copy.rank = rank
        share.begin(0, lambda: None)
        self.parts = [share, *copies]

    def call(self, method: str, chunk: Any) -> list[Any]:
        return [getattr(part, method)(pickle.loads(pickle.dumps(chunk))) for part in self.parts]

    def stop(self) -> None: ...

    def kill(self) -> None: ...


class Longest:
    """A reward."""

    def __call__(self, records: Any, answers: Any) -> np.ndarray:
        return np.array([float(len(answer)) for answer in answers])


def small_evaluations() -> dict[str, Callable[[int | None], Any]]:
    """Evaluations of tiny models by so many workers; those without such an argument take one per core."""
    model, tokenizer = tiny_model(context_length=32)
    records = [{"instruction": f"Say {n}", "output": str(n), "chosen": str(n), "rejected": "no"} for n in range(5)]
    pairs = [collate_preferences(PreferenceDataset([record], tokenizer), 256, 32) for record in records]
    batches = [(np.full((2, 5), n), np.array([0, 1]), np.array([5, 3])) for n in range(3)]
    prompts, questions = Prompts(tokenizer, 256), [Question(f"{n}?", ("a", "b"), 0, ("a",)) for n in range(20)]
    return {
        "classes": lambda n: evaluate_classifier(Classifier(tiny_model()[0], ("no", "yes")), batches, n).to_dict(),
        "instructions": lambda n: evaluate_instructions(
            model, tokenizer, records, TERSE, 2, batch_size=2, workers=n
        ).to_dict(),
        "preferences": lambda n: evaluate_preferences(model, DPO(frozen_copy(model)), pairs, n).to_dict(),
        "rewards": lambda n: evaluate_rewards(RewardModel(tiny_model()[0]), pairs, n).to_dict(),
        "loss": lambda n: evaluate_in_workers(model, [(ids, ids) for ids, *_ in batches], workers=n),
        "choices": lambda _: evaluate_choices(model, prompts, questions).to_dict(),
        "documents": lambda _: evaluate_documents(model, tokenizer, [Document("text" * 2000)], 256).to_dict(),
        "answers": lambda _: evaluate_answers(
            model, prompts, questions, settings=TaskSettings(max_new_tokens=2)
        ).to_dict(),
        "chosen answers": lambda _: Answering(
            model, tokenizer, TERSE, (256,), AnswerChoice(128, Longest())
        ).answers_in_workers(records, 2, 1, lambda *_: None),
    }


@pytest.mark.usefixtures("no_fork")
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", small_evaluations())
def test_every_evaluation_obeys_its_number_of_workers_and_can_be_spawned(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    takes_number = name not in ("choices", "documents", "answers", "chosen answers")
    monkeypatch.setattr(mapping, "SMALLEST_SHARED", 0)
    monkeypatch.setattr(mapping, "usable_cores", lambda: 2 if takes_number else 1)
    monkeypatch.setattr(mapping, "Processes", lambda *_: pytest.fail("more than one process"))
    expected = small_evaluations()[name](1)
    sizes: list[int] = []

    class Counted(PickledHere):
        def __init__(self, share: Any, memory: Any, size: int, forked: bool) -> None:
            super().__init__(share, memory, size, forked)
            sizes.append(size)

    monkeypatch.setattr(mapping, "Processes", Counted)
    monkeypatch.setattr(mapping, "usable_cores", lambda: 2 if takes_number else 3)
    assert small_evaluations()[name](3) == expected and sizes in ([3], [2])  # no more than items


def test_each_core_has_a_worker_unless_the_model_is_small() -> None:
    assert set(map_in_workers(lambda _: os.getpid(), range(9), SMALL)) == {os.getpid()}
    assert len(set(map_in_workers(lambda _: os.getpid(), range(9), LARGE))) == min(9, usable_cores())


@pytest.mark.parametrize(("error", "expected"), [(DataError, DataError), (KeyError, WorkerError)])
def test_an_error_of_a_worker_ends_the_evaluation(error: Any, expected: Any) -> None:
    def fails(item: int) -> int:
        if item == 3:
            raise error("no such record")
        return item

    with pytest.raises(expected, match="no such record"):
        list(map_in_workers(fails, range(6), LARGE, 2))
    assert multiprocessing.active_children() == []


def test_an_evaluation_that_is_given_up_leaves_no_worker() -> None:
    results = map_in_workers(lambda item: item, range(6), LARGE, 2)
    assert next(results) == 0
    results.close()
    assert multiprocessing.active_children() == []
