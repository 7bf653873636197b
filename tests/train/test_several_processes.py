"""Several processes train as one: the same batches, masks and weights, and losses equal but for rounding."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from thread_communicator import in_threads

from tinygrad_llm import Tensor, manual_seed
from tinygrad_llm.data import WindowBatches, WindowLoader
from tinygrad_llm.errors import AnomalyError, ConfigError, ShapeError
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.nn import Linear
from tinygrad_llm.random import Generator
from tinygrad_llm.train import Callback, RunFolder, SingleProcess, Trainer, TrainingSettings, evaluate
from tinygrad_llm.train.parallel import ParallelTrainer
from tinygrad_llm.train.parallel.communicator import share_of
from tinygrad_llm.train.parallel.gradient_sum import GradientSum
from tinygrad_llm.train.parallel.shared_dropout import SharedMasks, share_masks
from tinygrad_llm.train.parallel.trainer import evaluate_together

IDS = (np.arange(300) * 7 + np.arange(300) ** 2 // 5) % 11
CONFIG = GPTConfig(11, 8, 16, 2, 2, dropout=0.2, tie_weights=True)
# Five rows are no multiple of 2 or 4, and three of them make a step; six ranks leave one without a row.
SETTINGS = TrainingSettings(
    steps=12, batch_size=5, grad_accumulation=3, warmup_steps=3, eval_interval=4, eval_batches=3, seed=7
)


class Recorder(Callback):
    def __init__(self) -> None:
        self.records = []

    def step_finished(self, trainer: ParallelTrainer, record: dict[str, Any]) -> None:
        self.records.append({name: value for name, value in record.items() if name != "tokens_per_second"})


def new_model(seed: int, dtype: type) -> GPT:
    manual_seed(seed)
    return GPT(CONFIG, init="gpt2").to(dtype)


def train(
    size: int,
    dtype: type = np.float64,
    folder: Path | None = None,
    until: int | None = None,
    settings: TrainingSettings = SETTINGS,
    loss: Any = None,
    callbacks: tuple[Any, ...] = (),
    batches: Any = None,
) -> tuple[Any, ...]:
    """Train with `size` processes; only the first has text and the right weights. Returns its records, and all
    processes' trainers."""
    models = [new_model(settings.seed if rank == 0 else 100 + rank, dtype) for rank in range(size)]
    recorder = Recorder()
    run = None if folder is None else RunFolder.open(folder)

    def work(communicator: Any) -> ParallelTrainer:
        first = communicator.rank == 0
        loader = batches or WindowLoader(IDS[:270], 8, settings.batch_size, Generator(7).spawn("shuffling"))
        trainer = ParallelTrainer(
            models[communicator.rank],
            loader if first else None,
            settings,
            WindowBatches(IDS[270:], 8, 2) if first else None,
            callbacks=[recorder, *callbacks, *filter(None, [run])],
            communicator=communicator,
        )
        if loss is not None:
            trainer.loss = loss
        if first and run is not None:
            run.restore(trainer)
        trainer.train(until)
        return trainer

    try:
        if run is not None:
            run.__enter__()
        trainers = in_threads(size, work) if size > 1 else [work(SingleProcess())]
    finally:
        if run is not None:
            run.__exit__(None, None, None)
    return recorder.records, trainers


def assert_close(records: list[Any], others: list[Any], rtol: float) -> None:
    assert len(records) == len(others) > 0
    for one, other in zip(records, others, strict=True):
        assert one.keys() == other.keys()
        for name in one:
            assert other[name] == pytest.approx(one[name], rel=rtol), (one["step"], name)


def test_masks_of_a_part_of_a_batch_are_kept_where_masks_are_shared_again() -> None:
    """As where workers of one of several processes begin anew in the middle of a batch."""
    model, masks = GPT(CONFIG), SharedMasks(3)
    with masks.of_rows(slice(2, 4), 5):
        assert share_masks(model, masks) is masks and masks.part == (2, 4, 5)
    assert model.dropout.generator is masks


@pytest.fixture(scope="module")
def alone() -> dict[Any, Any]:
    return {dtype: train(1, dtype)[0] for dtype in (np.float64, np.float32)}


@pytest.mark.parametrize("size", [2, *(pytest.param(size, marks=pytest.mark.slow) for size in (4, 6))])
def test_the_number_of_processes_changes_only_rounding(alone: dict[Any, Any], size: int) -> None:
    """In float64 nothing but rounding is left to differ; in float32 the bound that the README states."""
    records, trainers = train(size)
    assert_close(alone[np.float64], records, 1e-11)
    assert_close(alone[np.float32], train(size, np.float32)[0], 1e-6)
    weights = [trainer.model.state_dict() for trainer in trainers]
    for name, array in weights[0].items():
        for other in weights[1:]:
            np.testing.assert_array_equal(other[name], array, err_msg=name)
    streams = [trainer.masks.state() for trainer in trainers]
    assert all(stream["position"] == streams[0]["position"] for stream in streams)


def test_each_run_of_one_size_has_the_same_bits() -> None:
    assert train(3, np.float32)[0] == train(3, np.float32)[0]


def new_run(folder: Path) -> Path:
    run = RunFolder.create(folder)
    with run:
        run.begin({"model_type": "gpt", "model": CONFIG.to_dict()}, None)
    return folder


def test_resuming_with_as_many_processes_changes_no_bit(tmp_path: Path) -> None:
    whole, _ = train(2, np.float32)
    folder = new_run(tmp_path / "run")
    pieces = [train(2, np.float32, folder, until)[0] for until in (1, 5, 8, None)]
    assert [record for records in pieces for record in records] == whole


def test_resuming_with_another_number_of_processes_changes_only_rounding(alone: dict[Any, Any], tmp_path: Path) -> None:
    folder = new_run(tmp_path / "run")
    pieces = [train(size, np.float64, folder, until)[0] for size, until in ((2, 3), (1, 6), (4, 9), (3, None))]
    assert_close(alone[np.float64], [record for records in pieces for record in records], 1e-11)


def test_a_resumed_run_says_that_the_number_of_processes_changed(tmp_path: Path) -> None:
    folder = new_run(tmp_path / "run")
    train(2, np.float64, folder, until=2)
    run = RunFolder.open(folder)
    notices = run.restore(Trainer(new_model(0, np.float64), WindowLoader(IDS[:270], 8, 5), SETTINGS))
    assert notices == [
        "the run is resumed with another number of processes (2 before, 1 now), so it may differ in last bits"
    ]


def test_the_mean_is_over_all_targets_however_they_are_spread() -> None:
    """The second process has a tenth of the targets, and counts for a tenth."""
    inputs = np.arange(32).reshape(4, 8) % 11
    targets = (inputs + 1) % 11
    targets[2, 2:] = targets[3] = -100

    class Fixed:
        def __iter__(self) -> Any:
            return iter([(inputs, targets)])

        def state(self) -> dict[str, Any]:
            return {}

        def set_state(self, state: Any) -> None:
            pass

    settings = TrainingSettings(steps=3, warmup_steps=0, eval_interval=0, seed=7)
    one, two = (train(size, settings=settings, batches=Fixed())[0] for size in (1, 2))
    assert_close(one, two, 1e-11)


def test_evaluation_is_shared_out_and_has_the_same_bits() -> None:
    models = [new_model(0, np.float32) for _ in range(4)]
    batches = list(WindowBatches(IDS, 8, 4))
    shares = [[] for _ in range(3)]

    def work(communicator: Any) -> float:
        def loss(model: GPT, batch: tuple[Any, ...]) -> Tensor:
            shares[communicator.rank].append(batch)
            return model.loss(*batch)

        return evaluate_together(models[communicator.rank], batches, communicator, loss)

    losses = in_threads(3, work)
    assert losses == [evaluate(models[3], batches)] * 3
    assert sum(map(len, shares)) == len(batches) and max(map(len, shares)) == 4


def test_one_interrupted_process_stops_all_after_the_same_step() -> None:
    """The signal comes to one process in mid-step; all finish this step and save."""
    saved = []

    class Saves(Callback):
        def checkpoint_due(self, trainer: Any) -> None:
            saved.append(trainer.step)

    class Interrupted(ParallelTrainer):
        def _interruptions(self, signals: list[Any]) -> list[Any]:
            return super()._interruptions([2] if self.communicator.rank == 1 and self.step == 3 else [])

    models = [new_model(7, np.float32) for _ in range(2)]
    steps = []

    def work(communicator: Any) -> None:
        loader = WindowLoader(IDS[:270], 8, 5, Generator(7)) if communicator.rank == 0 else None
        model = models[communicator.rank]
        trainer = Interrupted(model, loader, SETTINGS, callbacks=[Saves()], communicator=communicator)
        with pytest.raises(KeyboardInterrupt, match="2"):
            trainer.train()
        steps.append(trainer.step)

    in_threads(2, work)
    assert steps == [3, 3] and saved == [3]


def test_a_loss_that_is_not_finite_in_one_process_stops_all() -> None:
    def poisoned(model: GPT, batch: tuple[Any, ...]) -> Tensor:
        loss = model.loss(*batch)
        return loss * Tensor(np.float64("nan")) if threading.current_thread() is threads[1] else loss

    threads = {}
    steps = []

    models = [new_model(7, np.float64) for _ in range(2)]

    def work(communicator: Any) -> None:
        threads[communicator.rank] = threading.current_thread()
        communicator.sum(np.zeros(1))  # both are known
        loader = WindowLoader(IDS[:270], 8, 5, Generator(7)) if communicator.rank == 0 else None
        trainer = ParallelTrainer(models[communicator.rank], loader, SETTINGS, loss=poisoned, communicator=communicator)
        with pytest.raises(AnomalyError, match="got loss nan"):
            trainer.train()
        steps.append(trainer.step)

    in_threads(2, work)
    assert steps == [0, 0]


def test_only_the_first_process_reads() -> None:
    with pytest.raises(ConfigError, match="one process, and the first of several, needs a loader"):
        Trainer(new_model(7, np.float64), None, SETTINGS).train()


def test_a_gradient_that_no_process_has_stays_none() -> None:
    def work(communicator: Any) -> None:
        used, unused, sometimes = layers[communicator.rank]
        loss = used(np.ones((1, 2), np.float32)).sum()
        if communicator.rank == 0:
            loss = loss + sometimes(np.ones((1, 2), np.float32)).sum()
        loss.backward()
        GradientSum([p for layer in layers[communicator.rank] for p in layer.parameters()], communicator)()
        assert all(p.grad is None for p in unused.parameters())
        np.testing.assert_array_equal(used.weight.grad, np.full((2, 2), 3.0))
        np.testing.assert_array_equal(sometimes.weight.grad, np.ones((2, 2)))

    layers = [[Linear(2, 2) for _ in range(3)] for _ in range(3)]
    in_threads(3, work)


def test_shares_are_neighbours_and_differ_by_one_at_most() -> None:
    for size in (1, 2, 3, 7):
        for count in (0, 1, 6, 7, 20):
            shares = [share_of(count, rank, size) for rank in range(size)]
            assert [i for share in shares for i in range(share.start, share.stop)] == list(range(count))
            lengths = [share.stop - share.start for share in shares]
            assert max(lengths) - min(lengths) <= 1 and lengths == sorted(lengths, reverse=True)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("batches", [1, 2])
def test_masks_are_rows_of_the_masks_of_the_whole_batch(p: float, batches: int) -> None:
    whole = Generator(5)
    masks = [whole.dropout_mask((batches * 7, 3, 4), p) for _ in range(2)]
    for rows in (slice(0, 3), slice(3, 5), slice(5, 7), slice(0, 7)):
        shared = SharedMasks(5)
        with shared.of_rows(rows, 7):
            for mask in masks:
                part = shared.dropout_mask((batches * (rows.stop - rows.start), 3, 4), p)
                expected = mask.reshape(batches, 7, 3, 4)[:, rows].reshape(part.shape)
                np.testing.assert_array_equal(part, expected)
        np.testing.assert_array_equal(shared.rand(5), Generator.rand(restored(whole), 5))


def restored(generator: Generator) -> Generator:
    copy = Generator()
    copy.set_state(generator.state())
    return copy


def test_a_mask_that_is_no_batch_is_refused() -> None:
    shared = SharedMasks(0)
    with shared.of_rows(slice(0, 2), 4), pytest.raises(ShapeError, match="the first axis must count the examples, 2"):
        shared.dropout_mask((3, 5), 0.5)


def test_skipping_a_mask_leaves_the_stream_where_drawing_does() -> None:
    for count in (0, 1, 1000, (1 << 16) + 3):
        drawn, skipped = Generator(3), Generator(3)
        drawn.dropout_mask((count,), 0.1)
        skipped.skip_dropout_mask(count, 0.1)
        np.testing.assert_array_equal(drawn.rand(7), skipped.rand(7))
