"""The training loop: what a step does, and that stopping, resuming and looking change nothing."""

from __future__ import annotations

import gc
import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, manual_seed
from tinygrad_llm.data import DataLoader, SlidingWindows, WindowBatches, WindowLoader
from tinygrad_llm.errors import AnomalyError, CheckpointError, ConfigError
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.random import Generator
from tinygrad_llm.runs.checkpoint_files import OPTIMIZER
from tinygrad_llm.train import Callback, RunFolder, Trainer, TrainingSettings, evaluate
from tinygrad_llm.train.batch_loss import add_gradient

IDS = (np.arange(300) * 7 + np.arange(300) ** 2 // 5) % 11
CONFIG = GPTConfig(11, 8, 16, 2, 2, dropout=0.2, tie_weights=True)
SETTINGS = TrainingSettings(steps=12, batch_size=5, warmup_steps=3, eval_interval=4, eval_batches=2, seed=7)


class Recorder(Callback):
    def __init__(self) -> None:
        self.records = []

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.records.append({name: value for name, value in record.items() if name != "tokens_per_second"})


class StopAt(Callback):
    """Sends this process the Ctrl-C that a user would, in mid-step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        if record["step"] == self.step:
            os.kill(os.getpid(), signal.SIGINT)


def new_trainer(
    settings: TrainingSettings = SETTINGS, callbacks: list[Any] | tuple[Any, ...] = (), loader: type = WindowLoader
) -> Trainer:
    manual_seed(settings.seed)
    model = GPT(CONFIG, init="gpt2")
    shuffling = Generator(settings.seed).spawn("shuffling")
    if loader is WindowLoader:
        batches = WindowLoader(IDS[:270], 8, settings.batch_size, shuffling)
    else:
        batches = DataLoader(SlidingWindows(IDS[:270], 8), settings.batch_size, shuffle=True, generator=shuffling)
    return Trainer(model, batches, settings, WindowBatches(IDS[270:], 8, 2), callbacks=callbacks)


def bits(trainer: Trainer) -> dict[str, np.ndarray]:
    arrays = {name: array.copy() for name, array in trainer.model.state_dict().items()}
    for position, entry in trainer.optimizer.state_dict()["state"].items():
        arrays |= {f"{position}.{name}": np.array(value) for name, value in entry.items()}
    return arrays


def assert_same_bits(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def run_in_pieces(
    folder: Path, stops: list[Any], settings: TrainingSettings = SETTINGS, loader: type = WindowLoader
) -> tuple[Any, ...]:
    """Train to the end with a stop, a saved checkpoint and a new trainer at each of `stops`."""
    recorder = Recorder()
    run = RunFolder.create(folder)
    with run:
        run.begin({"model_type": "gpt", "model": CONFIG.to_dict()}, None)
    for stop in [*stops, None]:
        run = RunFolder.open(folder)
        with run:
            trainer = new_trainer(settings, [recorder, run], loader)
            run.restore(trainer)
            trainer.train(until=stop)
    return trainer, recorder.records


@pytest.mark.parametrize(
    ("loader", "accumulation", "optimizer"),
    [(WindowLoader, 1, "adamw"), (DataLoader, 3, "adamw"), (WindowLoader, 1, "muon")],
)
def test_stopping_and_resuming_changes_no_bit(tmp_path: Path, loader: type, accumulation: int, optimizer: str) -> None:
    changes = {"grad_accumulation": accumulation, "optimizer": optimizer}
    settings = TrainingSettings(**{**SETTINGS.to_dict(), **changes})
    whole, records = run_in_pieces(tmp_path / "whole", [], settings, loader)
    pieces, records_in_pieces = run_in_pieces(tmp_path / "pieces", [1, 4, 6, 7, 11], settings, loader)
    assert records == records_in_pieces
    assert_same_bits(bits(whole), bits(pieces))


@pytest.mark.slow
@pytest.mark.parametrize("stop", range(1, 12))
def test_stopping_at_any_step_changes_no_bit(tmp_path: Path, stop: Any) -> None:
    whole, records = run_in_pieces(tmp_path / "whole", [])
    pieces, records_in_pieces = run_in_pieces(tmp_path / "pieces", [stop])
    assert records == records_in_pieces
    assert_same_bits(bits(whole), bits(pieces))


def test_each_step_is_logged_once_even_after_a_crash(tmp_path: Path) -> None:
    run_in_pieces(tmp_path / "run", [5])
    with open(tmp_path / "run" / "metrics.jsonl", "a") as file:  # a crash after step 12 would have left more
        file.write('{"step": 13, "train_loss": 1.0}\n{"step": 14, "tr')
    longer = TrainingSettings(**{**SETTINGS.to_dict(), "steps": 14})
    run = RunFolder.open(tmp_path / "run")
    with run:
        trainer = new_trainer(longer, [run])
        run.restore(trainer)
        trainer.train()
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == list(range(1, 15))
    keys = {"step", "train_loss", "learning_rate", "grad_norm", "tokens_per_second"}
    assert all(keys <= record.keys() for record in records)
    assert [record["step"] for record in records if "val_loss" in record] == [4, 8, 12, 14]


def test_evaluating_more_often_does_not_change_the_training() -> None:
    often = TrainingSettings(**{**SETTINGS.to_dict(), "eval_interval": 1, "eval_batches": 9})
    first, second = new_trainer(), new_trainer(often)
    first.train()
    second.train()
    assert_same_bits(bits(first), bits(second))


def test_recomputing_activations_changes_no_bit() -> None:
    forwards = []
    trainers = []
    for on in (False, True):
        settings = {**SETTINGS.to_dict(), "grad_accumulation": 2, "eval_interval": 0, "checkpoint_activations": on}
        trainer = new_trainer(TrainingSettings(**settings))
        forwards.append(0)

        def count(*_: Any) -> None:
            forwards[-1] += 1

        trainer.model.blocks[0].feed_forward.register_forward_hook(count)
        trainer.train()
        trainers.append(trainer)
    assert_same_bits(*map(bits, trainers))
    in_training = 2 * SETTINGS.steps
    assert forwards[1] - forwards[0] == in_training  # each block once more


def test_ctrl_c_finishes_the_step_saves_and_can_be_resumed(tmp_path: Path) -> None:
    whole, _ = run_in_pieces(tmp_path / "whole", [])
    run = RunFolder.create(tmp_path / "run")
    with run:
        run.begin({"model_type": "gpt", "model": CONFIG.to_dict()}, None)
        trainer = new_trainer(callbacks=[StopAt(6), run])
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
        assert trainer.step == 6
        assert signal.getsignal(signal.SIGINT) is handler
    run = RunFolder.open(tmp_path / "run")
    with run:
        resumed = new_trainer(callbacks=[run])
        run.restore(resumed)
        assert resumed.step == 6
        resumed.train()
    assert_same_bits(bits(whole), bits(resumed))


def test_accumulated_batches_weigh_by_their_targets() -> None:
    manual_seed(0)
    model = GPT(GPTConfig(11, 8, 16, 2, 1, dropout=0.0))
    targets = [np.array([[1, 2, 3, 4]]), np.array([[5, -100, -100, -100]])]
    batches = [(np.array([[0, 1, 2, 3]]), targets[0]), (np.array([[4, 5, 6, 7]]), targets[1])]

    class Fixed:
        def __iter__(self) -> Any:
            return iter(batches)

        def state(self) -> Any:
            return {}

        def set_state(self, state: Any) -> None:
            pass

    together = model.loss(
        np.concatenate([inputs for inputs, _ in batches]), np.concatenate([targets for _, targets in batches])
    )
    recorder = Recorder()
    settings = TrainingSettings(steps=1, warmup_steps=0, grad_accumulation=2)
    Trainer(model, Fixed(), settings, callbacks=[recorder]).train()
    assert recorder.records[0]["train_loss"] == pytest.approx(together.item(), rel=1e-6)


def test_the_schedule_and_decay_reach_the_optimizer() -> None:
    recorder = Recorder()
    settings = TrainingSettings(steps=4, warmup_steps=2, learning_rate=0.3, min_learning_rate=0.0, batch_size=2)
    trainer = new_trainer(settings, [recorder])
    trainer.train()
    rates = [record["learning_rate"] for record in recorder.records]
    np.testing.assert_allclose(rates, [0.1, 0.2, 0.3, 0.15])
    decayed, plain = trainer.optimizer.param_groups
    assert all(p.ndim == 2 for p in decayed["params"]) and decayed["weight_decay"] == 0.1
    assert all(p.ndim == 1 for p in plain["params"]) and plain["weight_decay"] == 0.0


def poisoned_loss(model: GPT, batch: tuple[Any, ...]) -> Tensor:
    return model.loss(*batch) * Tensor(np.float32("nan"))


def test_a_loss_that_is_not_finite_stops_before_the_weights_change() -> None:
    trainer = new_trainer()
    trainer.loss = poisoned_loss
    before = {name: array.copy() for name, array in trainer.model.state_dict().items()}
    with pytest.raises(AnomalyError, match=r"step 1: .*got loss nan.*token_embedding\.weight.*learning rate"):
        trainer.train()
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_bad_steps_can_be_skipped_and_are_counted() -> None:
    trainer = new_trainer(TrainingSettings(**{**SETTINGS.to_dict(), "skip_bad_steps": True, "eval_interval": 0}))
    trainer.loss = poisoned_loss
    trainer.train()
    assert trainer.step == trainer.bad_steps == 12


def test_evaluation_leaves_modes_and_weighs_by_targets() -> None:
    manual_seed(0)
    model = GPT(CONFIG)
    model.train()
    model.blocks[0].eval()
    batch = (IDS[None, :8], IDS[None, 1:9])
    short = (IDS[None, 9:11], IDS[None, 10:12])
    mean = evaluate(model, [batch, short])
    assert model.training and not model.blocks[0].training
    model.eval()
    expected = (8 * model.loss(*batch).item() + 2 * model.loss(*short).item()) / 10
    assert mean == pytest.approx(expected, rel=1e-6)
    with pytest.raises(ConfigError, match="at least one target"):
        evaluate(model, [])


def test_frozen_models_and_empty_loaders_are_refused() -> None:
    model = GPT(CONFIG).requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing to train"):
        Trainer(model, WindowLoader(IDS, 8, 5))
    trainer = Trainer(GPT(CONFIG), DataLoader([], batch_size=2))
    with pytest.raises(ConfigError, match="no batch"):
        trainer.train()


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"steps": -1}, "steps must be an integer of at least 0; got -1"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number"),
        ({"beta2": 1.0}, r"beta2 must be a number in \[0, 1\); got 1.0"),
        ({"min_learning_rate": 1.0}, "min_learning_rate must be at most learning_rate"),
        ({"seed": 2**40}, r"seed must be an integer in \[0, 4294967296\)"),
    ],
)
def test_settings_out_of_range_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainingSettings(**wrong)


def test_a_damaged_checkpoint_is_skipped_with_a_message(tmp_path: Path) -> None:
    run_in_pieces(tmp_path / "run", [5])
    newest = tmp_path / "run" / "checkpoints" / "step-00000012" / OPTIMIZER
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(data)
    run = RunFolder.open(tmp_path / "run")
    with run:
        trainer = new_trainer(callbacks=[run])
        notices = run.restore(trainer)
    assert trainer.step == 8
    assert any(OPTIMIZER in notice for notice in notices) and any("falling back" in notice for notice in notices)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    run_in_pieces(tmp_path / "run", [])
    run = RunFolder.open(tmp_path / "run")
    manual_seed(0)
    other = Trainer(GPT(GPTConfig(11, 8, 32, 2, 2)), WindowLoader(IDS[:270], 8, 5), SETTINGS)
    with run, pytest.raises(CheckpointError, match=r"does not fit this run.*key\.weight must be \(32, 32\)"):
        run.restore(other)


def test_the_seed_of_the_settings_alone_fixes_a_run() -> None:
    losses = []
    for global_seed in (1, 2):
        manual_seed(0)
        model = GPT(CONFIG, init="gpt2")
        manual_seed(global_seed)  # which the loader would draw from, outside of a Trainer
        recorder = Recorder()
        Trainer(model, WindowLoader(IDS, 8, 5), SETTINGS, callbacks=[recorder]).train()
        losses.append([record["train_loss"] for record in recorder.records])
    assert losses[0] == losses[1]


@pytest.mark.parametrize("skip", [False, True])
def test_a_validation_loss_that_is_not_finite_stops_or_is_none(skip: bool) -> None:
    settings = TrainingSettings(**{**SETTINGS.to_dict(), "skip_bad_steps": skip})
    recorder = Recorder()
    trainer = new_trainer(settings, [recorder])
    trainer.evaluate = lambda batches=None: float("nan")
    if not skip:
        with pytest.raises(AnomalyError, match="step 4: the validation loss must be finite; got nan"):
            trainer.train()
        return
    trainer.train()
    assert [record["val_loss"] for record in recorder.records if "val_loss" in record] == [None] * 3
    assert trainer.val_loss is None


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no such signal here")
def test_a_lost_connection_stops_after_the_step_unless_it_is_ignored() -> None:
    class HangUp(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            os.kill(os.getpid(), signal.SIGHUP)

    trainer = new_trainer(callbacks=[HangUp()])
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.train()
    assert (trainer.step, caught.value.args) == (1, (signal.SIGHUP,))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    try:
        trainer.train()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert trainer.step == SETTINGS.steps


@pytest.mark.parametrize("enabled", [True, False])
def test_the_cycle_collector_is_off_while_a_graph_lives_and_then_as_before(enabled: bool) -> None:
    seen: list[bool] = []

    def loss(model: GPT, batch: Any) -> Tensor:
        seen.append(gc.isenabled())
        if len(seen) == 2:
            raise ValueError
        return model.loss(*batch)

    trainer, batch = new_trainer(), (IDS[None, :8], IDS[None, 1:9])
    (gc.enable if enabled else gc.disable)()
    try:
        assert add_gradient(trainer.model, batch, 8, loss) > 0
        assert gc.isenabled() is enabled
        with pytest.raises(ValueError):
            add_gradient(trainer.model, batch, 8, loss)
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
    assert seen == [False, False]
