"""Workers share each step of a Trainer: the same run but for rounding, and nothing remains of them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, manual_seed
from tinygrad_llm.data import DataLoader, WindowBatches, WindowLoader
from tinygrad_llm.errors import AnomalyError, ConfigError, DataError, GraphError, WorkerError
from tinygrad_llm.models import GPT, GPTConfig, Llama, LlamaConfig
from tinygrad_llm.nn import Linear, Module, Parameter
from tinygrad_llm.optim import SGD, Adam, AdamW, CombinedOptimizer, Muon, Optimizer
from tinygrad_llm.runs import RunFolder
from tinygrad_llm.train import Callback, Trainer, TrainingSettings
from tinygrad_llm.train.parallel import ParallelTrainer, SingleProcess, blas_threads, processes, started
from tinygrad_llm.train.parallel import workers as workers_module
from tinygrad_llm.train.parallel.blas_threads import VARIABLES, environment_of_spawned, limited_blas_threads
from tinygrad_llm.train.parallel.processes import can_fork
from tinygrad_llm.train.parallel.shared_gradients import SharedBlock
from tinygrad_llm.train.parallel.shared_memory import SharedMemory

IDS = (np.arange(300) * 7 + np.arange(300) ** 2 // 5) % 11
CONFIG = GPTConfig(11, 8, 16, 2, 2, dropout=0.2, tie_weights=True)
# Five rows are no multiple of 2; three of them make a step; six workers leave one without a row.
SETTINGS = {
    "steps": 8,
    "batch_size": 5,
    "grad_accumulation": 3,
    "warmup_steps": 3,
    "eval_interval": 4,
    "eval_batches": 3,
    "seed": 7,
}


class Recorder(Callback):
    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self.records.append({name: value for name, value in record.items() if name != "tokens_per_second"})


def new_trainer(workers: int | str, dtype: type = np.float64, callbacks: Any = (), **changes: Any) -> Trainer:
    settings = TrainingSettings(**{**SETTINGS, "workers": workers, **changes})
    manual_seed(settings.seed)
    model = GPT(CONFIG, init="gpt2").to(dtype)
    loader, validation = WindowLoader(IDS[:270], 8, settings.batch_size), WindowBatches(IDS[270:], 8, 2)
    return Trainer(model, loader, settings, validation, callbacks=[Recorder(), *callbacks])


def trained(workers: int | str, method: str | None = None, until: int | None = None, **more: Any) -> Trainer:
    trainer = new_trainer(workers, **more)
    with started(trainer, method):
        trainer.train(until)
    return trainer


def records(trainer: Trainer) -> list[dict[str, Any]]:
    recorder: Any = trainer.callbacks[0]
    return list(recorder.records)


def state_of(optimizer: Optimizer) -> list[tuple[str, Any]]:
    state = optimizer.state_dict()["state"]
    return [(f"{key}.{name}", value) for key, entry in state.items() for name, value in sorted(entry.items())]


def assert_close(one: Trainer, other: Trainer, rtol: float) -> None:
    assert len(records(one)) == len(records(other)) > 0
    for a, b in zip(records(one), records(other), strict=True):
        assert a == pytest.approx(b, rel=rtol), a["step"]
    for name, array in one.model.state_dict().items():
        np.testing.assert_allclose(other.model.state_dict()[name], array, rtol=1e-3, atol=rtol, err_msg=name)
    for (name, a), (same, b) in zip(state_of(one.optimizer), state_of(other.optimizer), strict=True):
        assert name == same
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=rtol, err_msg=name)


@pytest.fixture(scope="module")
def alone() -> Trainer:
    return trained(1)


@pytest.fixture(scope="module")
def two_in_float32() -> list[dict[str, Any]]:
    return records(trained(2, "fork", dtype=np.float32))


@pytest.fixture(autouse=True)
def nothing_remains(no_other_threads: None) -> Any:
    yield
    assert multiprocessing.active_children() == []
    assert list(Path("/dev/shm").glob("tinygrad*")) == []


@pytest.mark.parametrize(
    ("workers", "method"), [(2, "fork"), (3, "fork"), pytest.param(6, "fork", marks=pytest.mark.slow), (2, "spawn")]
)
def test_the_number_of_workers_changes_only_rounding(alone: Trainer, workers: int, method: str) -> None:
    together = trained(workers, method)
    assert_close(alone, together, 1e-11)
    assert alone.state()["generators"]["dropout"]["position"] == together.state()["generators"]["dropout"]["position"]
    assert all(parameter.data.base is None for parameter in together.model.parameters())  # its own memory again


def test_large_gradients_are_added_in_blocks_and_these_in_parts(
    two_in_float32: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks, sizes, add = set(), [], SharedBlock.add

    def noted(self: SharedBlock, gradient: Any, rows: Any = None, last: bool = True) -> None:
        blocks.add(self.index)
        sizes.extend([len(gradient)] if isinstance(rows, slice) else [])
        add(self, gradient, rows, last)

    monkeypatch.setattr(SharedBlock, "add", noted)  # in the first process, which is the second to add to half of them
    monkeypatch.setattr("tinygrad_llm.train.parallel.training_memory.LARGE", 24)
    monkeypatch.setattr("tinygrad_llm.train.parallel.shared_gradients.PART", 24)
    in_parts = records(trained(2, dtype=np.float32))
    assert len(blocks) > len(list(GPT(CONFIG).parameters()))
    assert sizes and max(sizes) <= 24 // CONFIG.embedding_dim + 1
    assert records(trained(2, dtype=np.float32)) == in_parts  # to the bit
    for a, b in zip(two_in_float32, in_parts, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-6)
        assert a["grad_norm"] == pytest.approx(b["grad_norm"], rel=1e-5)


def test_in_float32_losses_stay_equal_to_a_millionth(two_in_float32: list[dict[str, Any]]) -> None:
    for a, b in zip(records(trained(1, dtype=np.float32)), two_in_float32, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-6)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_same_number_of_workers_gives_the_same_bits_however_they_start(
    two_in_float32: list[dict[str, Any]], method: str
) -> None:
    assert records(trained(2, method, dtype=np.float32)) == two_in_float32


def test_a_run_in_pieces_with_as_many_workers_has_the_same_bits(
    two_in_float32: list[dict[str, Any]], tmp_path: Path
) -> None:
    run = RunFolder.create(tmp_path / "run")
    with run:
        run.begin({"model_type": "gpt", "model": CONFIG.to_dict()}, None)
    pieces = []
    for until in (1, 5, None):
        trainer = new_trainer(2, np.float32)
        with RunFolder.open(tmp_path / "run") as run:
            notices = run.restore(trainer)
            assert not [notice for notice in notices if "may differ" in notice]
            trainer.callbacks.append(run)
            trainer.train(until)
        pieces += records(trainer)
    assert pieces == two_in_float32
    with RunFolder.open(tmp_path / "run") as run:
        assert run.restore(new_trainer(1, np.float32)) == [
            "the run is resumed with another number of processes (2 before, 1 now), so it may differ in last bits"
        ]


@pytest.mark.parametrize("name", ["SGD", "momentum", "Adam", "Muon", "combined", "unknown"])
def test_every_optimizer_gets_the_parts_that_it_needs(name: str) -> None:
    class Unknown(AdamW):
        """Its step looks at all parameters together, and so is taken by one worker."""

        def step(self) -> None:
            super().step()

    makers: dict[str, Any] = {
        "SGD": lambda p: SGD(p, lr=0.1),
        "momentum": lambda p: SGD(p, lr=0.1, momentum=0.9, nesterov=True),
        "Adam": lambda p: Adam(p, lr=0.01, amsgrad=True, weight_decay=0.1),
        "Muon": lambda p: Muon([q for q in p if q.ndim == 2], lr=0.01),
        "combined": lambda p: CombinedOptimizer(
            Muon([q for q in p if q.ndim == 2][:3], lr=0.01), Unknown([p[-1]], lr=0.01), AdamW(p[-4:-1], lr=0.01)
        ),
        "unknown": lambda p: Unknown(p, lr=0.01),
    }

    def with_optimizer(workers: int) -> Trainer:
        trainer = new_trainer(workers)
        trainer.optimizer = makers[name](list(trainer.model.parameters()))
        trainer.train(3)
        trainer.train(5)  # the state moves in and out again
        return trainer

    assert_close(with_optimizer(1), with_optimizer(2), 1e-11)


def test_a_parameter_that_only_some_rows_reach() -> None:
    """The second worker's rows never use `second`; nobody's use `unused`, which therefore keeps no state."""

    class Parts(Module):
        def __init__(self) -> None:
            self.first, self.second, self.unused = (Linear(3, 1) for _ in range(3))

        def loss(self, x: Any, y: Any) -> Tensor:
            out = self.first(x)
            if y[0] == 1:
                out = out + self.second(x)
            return (out * out).mean()

    class Batches:
        def __iter__(self) -> Any:
            for step in range(6):
                y = np.array([1, 1, 0, 0]) if step % 3 else np.zeros(4, np.int64)
                yield np.cos(np.arange(12.0).reshape(4, 3) + step), y

        def state(self) -> dict[str, Any]:
            return {}

        def set_state(self, state: Any) -> None:
            pass

    def run(workers: int) -> Trainer:
        manual_seed(1)
        model = Parts().to(np.float64)
        settings = TrainingSettings(steps=6, warmup_steps=0, eval_interval=0, workers=workers)

        def loss(model: Parts, batch: Any) -> Tensor:
            x, y = batch
            if len(x) == 2:
                return model.loss(x, y)
            return (model.loss(x[:2], y[:2]) + model.loss(x[2:], y[2:])) * 0.5

        trainer = Trainer(model, Batches(), settings, loss=loss, callbacks=[Recorder()])
        trainer.train()
        return trainer

    one, two = run(1), run(2)
    assert_close(one, two, 1e-11)
    positions = list(two.optimizer.parameters())
    assert len(two.optimizer.state) == 4 and len(positions) == 6
    assert two.optimizer.state[two.model.second.weight]["step"] == 4


def test_a_group_of_empty_parameters_has_no_state() -> None:
    def run(workers: int) -> Trainer:
        trainer = new_trainer(workers)
        trainer.model.extra = extra = Parameter(np.zeros((0, 3)))
        trainer.optimizer.add_param_group({"params": [extra]})
        trainer.loss = lambda model, batch: model.loss(*batch) + extra.sum()
        trainer.train(2)
        return trainer

    for one, two in zip(records(run(1)), records(run(2)), strict=True):
        assert one == pytest.approx(two, rel=1e-11)


def test_with_muon_the_number_of_workers_changes_only_rounding() -> None:
    assert_close(trained(1, optimizer="muon"), trained(2, "spawn", optimizer="muon"), 1e-11)


def test_what_a_callback_replaces_reaches_the_workers() -> None:
    class Replaces(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            parameter = next(iter(trainer.model.parameters()))
            if trainer.step == 2:
                parameter.data = parameter.data * 0.5
            if trainer.step == 3:
                trainer.optimizer.param_groups[0]["weight_decay"] = 0.7
                trainer.optimizer.load_state_dict(trainer.optimizer.state_dict())
            if trainer.step == 4:
                parameter.requires_grad = False
                assert trainer.evaluate(2) > 0
            if trainer.step in (5, 6):
                trainer.optimizer = (SGD if trainer.step == 5 else AdamW)(trainer.model.parameters())

    assert_close(trained(1, callbacks=[Replaces()]), trained(2, callbacks=[Replaces()]), 1e-11)


def of_experts(workers: int, loss: Any = None) -> Trainer:
    """Rows of different numbers of targets, one of none; the batch at the end of an epoch has fewer than workers."""
    manual_seed(3)
    model: Any = Llama(LlamaConfig(11, 8, 16, 2, 2, num_experts=4, experts_per_token=2)).to(np.float64)
    masked = [8 if i == 2 else i % 4 for i in range(7)]
    pairs = [(IDS[i : i + 8], np.where(np.arange(8) < masked[i], -100, IDS[i + 1 : i + 9])) for i in range(7)]
    settings = TrainingSettings(steps=4, batch_size=5, warmup_steps=1, eval_interval=0, workers=workers)
    trainer = Trainer(model, DataLoader(pairs, 5), settings, callbacks=[Recorder()])
    trainer.loss = trainer.loss if loss is None else loss
    with started(trainer, "fork"):
        trainer.train()
    return trainer


def test_experts_are_balanced_over_the_rows_of_all_workers() -> None:
    alone = of_experts(1)
    for workers in (3, 5):  # with 5 a worker's only row may have no target
        assert_close(alone, of_experts(workers), 1e-11)


def test_a_worker_that_fails_before_others_have_its_counts_of_experts_is_reported() -> None:
    def fails_in_one(model: Any, batch: Any) -> Tensor:
        if len(batch[0]) == 1:  # the last worker's
            raise DataError("no such row")
        return model.loss(*batch)

    with pytest.raises(DataError, match="no such row"):
        of_experts(3, fails_in_one)


class Weighted:
    """A loss with a factor."""

    factor = 1.0

    def __call__(self, model: GPT, batch: Any) -> Tensor:
        return model.loss(*batch) * self.factor


def test_what_a_callback_changes_besides_the_weights_reaches_the_workers() -> None:
    """Attributes, the mode, and weights that are not trained, of which the workers hold copies."""

    class Changes(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            model: Any = trainer.model
            if trainer.step == 1:
                model.dropout.p = 0.5
            if trainer.step == 2:
                model.blocks[0].requires_grad_(False)
            if trainer.step == 3:
                model.load_state_dict({name: 0.5 * array for name, array in model.state_dict().items()})
            if trainer.step == 4:
                trainer.loss = Weighted()
            if trainer.step == 5:
                trainer.loss.factor = 3.0  # type: ignore[attr-defined]
                trainer.evaluate(2)
            if trainer.step == 6:
                model.eval()

    assert_close(trained(1, callbacks=[Changes()]), trained(2, callbacks=[Changes()]), 1e-11)


def test_a_forward_hook_that_a_callback_adds_or_removes_reaches_the_workers() -> None:
    class Hooks(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            model: Any = trainer.model
            if trainer.step == 1:
                self.handle = model.blocks[0].register_forward_hook(lambda module, inputs, output: output * 0.5)
            if trainer.step == 3:
                self.handle.remove()

    one, two = (trained(workers, callbacks=[Hooks()], until=5) for workers in (1, 2))
    assert_close(one, two, 1e-11)


def test_an_attribute_that_changes_is_sent_to_the_workers_that_run() -> None:
    found: set[int] = set()

    class Anneals(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            trainer.model.dropout.p = 0.1 * trainer.step  # type: ignore[attr-defined]
            found.update(trainer.team.processes.numbers)

    trained(2, callbacks=[Anneals()], until=4)
    assert len(found) == 2


def test_workers_that_begin_anew_ask_again_whether_forking_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[bool]()

    class Noted(processes.Processes):
        def __init__(self, share: Any, memory: Any, size: int, forked: bool, teams: int = 1) -> None:
            begun.append(forked)
            super().__init__(share, memory, size, forked, teams)

    class Replaces(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            if trainer.step == 2:  # as where a callback has started a thread
                monkeypatch.setattr(workers_module, "can_fork", lambda: False)
                trainer.loss = lambda model, batch: model.loss(*batch)  # which cannot be pickled

    monkeypatch.setattr(workers_module, "Processes", Noted)
    words = "training in one process: 2 workers could not be started .spawn: .*lambda"
    with pytest.warns(UserWarning, match=words):
        shared = trained(2, callbacks=[Replaces()], until=4)
    assert begun == [True, False] and shared.workers == 1
    assert_close(trained(1, callbacks=[Replaces()], until=4), shared, 1e-11)


def test_a_callback_may_evaluate_other_weights() -> None:
    """Such as averages of the weights, which it then replaces by the weights themselves again."""

    class Halves(Callback):
        def __init__(self, losses: list[float]) -> None:
            self.losses = losses

        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            parameters = list(trainer.model.parameters())
            weights = [parameter.data for parameter in parameters]
            for parameter in parameters:
                parameter.data = parameter.data * 0.5
            self.losses.append(trainer.evaluate())
            for parameter, data in zip(parameters, weights, strict=True):
                parameter.data = data

    losses: dict[int, list[float]] = {1: [], 2: []}
    one, two = (trained(workers, until=2, callbacks=[Halves(losses[workers])]) for workers in (1, 2))
    assert_close(one, two, 1e-11)
    assert losses[1] == pytest.approx(losses[2], rel=1e-11) and len(losses[1]) == 2


def test_a_gradient_that_a_callback_computes_is_its_own() -> None:
    class Looks(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            trainer.model.loss(IDS[None, :8], IDS[None, 1:9]).backward()
            assert all(parameter.grad is not None for parameter in trainer.model.parameters())
            if trainer.step % 2:  # else the next step adds to it
                trainer.optimizer.zero_grad()

    assert_close(trained(1, until=4, callbacks=[Looks()]), trained(2, until=4, callbacks=[Looks()]), 1e-11)


def test_a_step_counts_as_a_change_of_the_weights_for_a_graph_that_is_held() -> None:
    held: list[Tensor] = []

    class Holds(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            if trainer.step == 1:
                held.append(trainer.model.loss(IDS[None, :8], IDS[None, 1:9]))
            if trainer.step == 2:
                with pytest.raises(GraphError, match="written in place after the forward"):
                    held[0].backward()

    trained(2, callbacks=[Holds()], until=3)
    assert held


def test_what_a_loss_counts_besides_is_counted_over_all_rows() -> None:
    class Counting:
        def __init__(self) -> None:
            self.rows = {True: 0, False: 0}

        def __call__(self, model: GPT, batch: Any) -> Tensor:
            self.rows[model.training] += len(batch[0])
            return model.loss(*batch)

        def take_counts(self) -> Any:
            counts, self.rows = self.rows, {True: 0, False: 0}
            return counts

        def add_counts(self, counts: Any) -> None:
            self.rows = {mode: self.rows[mode] + counts[mode] for mode in self.rows}

    counted = []
    for workers in (1, 3):
        trainer = new_trainer(workers)
        loss = trainer.loss = Counting()
        trainer.train(2)
        trainer.train(4)  # whose last step is evaluated
        counted.append(loss.rows)
    assert counted[0] == counted[1] == {True: 4 * 3 * 5, False: 3}


def test_a_loss_that_is_not_finite_in_one_worker_stops_the_run_before_the_step() -> None:
    trainer = new_trainer(2)
    parent = os.getpid()

    def poisoned(model: GPT, batch: Any) -> Tensor:
        return model.loss(*batch) * (1.0 if os.getpid() == parent else float("nan"))

    trainer.loss = poisoned
    before = {name: array.copy() for name, array in trainer.model.state_dict().items()}
    with pytest.raises(AnomalyError, match="step 1: loss and gradients must be finite; got loss nan; the first"):
        trainer.train()
    for name, array in trainer.model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_a_worker_that_is_killed_ends_the_run_with_one_error() -> None:
    class Kills(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            if trainer.step == 3:
                child = multiprocessing.active_children()[0].pid
                assert child is not None
                os.kill(child, signal.SIGKILL)

    trainer = new_trainer(3, callbacks=[Kills()])
    with pytest.raises(WorkerError, match=r"worker \d of 3, process \d+, was killed by SIGKILL, as the system does"):
        trainer.train()
    assert trainer.step == 3 and trainer.team is None
    trainer.callbacks.pop()
    trainer.train()  # nothing keeps it from going on
    assert trainer.step == 8


def test_a_worker_that_is_killed_in_a_step_ends_it(tmp_path: Path) -> None:
    """Another one may wait for the gradients of the one that died."""
    trainer, parent, killed = new_trainer(3), os.getpid(), tmp_path / "killed"

    def loss(model: GPT, batch: Any) -> Tensor:
        if os.getpid() != parent:
            with suppress(FileExistsError):
                killed.mkdir()  # by one of the two
                os.kill(os.getpid(), signal.SIGKILL)
        return model.loss(*batch)

    trainer.loss = loss
    with pytest.raises(WorkerError, match="was killed by SIGKILL"):
        trainer.train()


@pytest.mark.parametrize(("error", "words"), [(MemoryError, "out of memory"), (ValueError, "ValueError: broken")])
def test_an_error_of_a_worker_is_reported(error: type[Exception], words: str) -> None:
    trainer, parent = new_trainer(2), os.getpid()

    def failing(model: GPT, batch: Any) -> Tensor:
        if os.getpid() != parent:
            raise error("broken")
        return model.loss(*batch)

    trainer.loss = failing
    with pytest.raises(WorkerError, match=f"worker 2: {words}"):
        trainer.train()


def test_the_error_of_a_worker_is_reported_also_where_others_wait_for_it() -> None:
    trainer = new_trainer(3)

    def failing(model: GPT, batch: Any) -> Tensor:
        name = multiprocessing.current_process().name
        if name == "worker 2 of 3":
            raise DataError("a bad row")
        if name == "worker 3 of 3":
            time.sleep(0.3)  # meanwhile the second has ended
        return model.loss(*batch)

    trainer.loss = failing
    with pytest.raises(DataError, match="a bad row"):
        trainer.train()


def test_workers_begin_anew_after_an_error() -> None:
    """The answers of the others to the call that failed are not those to the next."""

    def run(workers: int) -> Trainer:
        trainer, failed = new_trainer(workers, grad_accumulation=1), []

        def loss(model: GPT, batch: Any) -> Tensor:
            if multiprocessing.parent_process() is None and trainer.step == 2 and not failed:
                failed.append(True)
                raise DataError("in the first process")
            return model.loss(*batch)

        trainer.loss = loss
        with started(trainer):
            with pytest.raises(DataError, match="in the first process"):
                trainer.train(4)
            trainer.optimizer.zero_grad()
            trainer.evaluate()
            trainer.train(4)
        assert failed
        return trainer

    assert_close(run(1), run(2), 1e-11)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_workers_ignore_a_signal_that_the_first_process_obeys(number: int) -> None:
    """As when Ctrl-C reaches all processes of a terminal: the step is finished, and all end."""

    class Interrupts(Callback):
        def step_finished(self, trainer: Trainer, record: dict[str, Any]) -> None:
            if trainer.step == 2:
                for child in multiprocessing.active_children():
                    os.kill(int(child.pid or 0), number)
                os.kill(os.getpid(), number)

    trainer = new_trainer(2, callbacks=[Interrupts()])
    with pytest.raises(KeyboardInterrupt, match=str(int(number))):
        trainer.train()
    assert trainer.step == 2


BLAS_OF_ALL = """
import os, sys
import numpy as np
from tinygrad_llm.train.parallel import blas_threads
from tinygrad_llm.train.parallel.processes import Processes

class Share:
    def begin(self, rank, wait):
        pass

    def threads(self):
        return blas_threads._openblas()[0]()

before = Share().threads()
with blas_threads.limited_blas_threads(1):
    processes = Processes(Share(), [], 2, forked=True)
    found = processes.call("threads")
    processes.stop()
print(*found, Share().threads() == before, any(name in os.environ for name in blas_threads.VARIABLES))
"""


def test_workers_have_one_blas_thread_where_numpy_was_loaded_before() -> None:
    surroundings = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    command = [sys.executable, "-c", BLAS_OF_ALL]
    done = subprocess.run(command, capture_output=True, text=True, env=surroundings, check=True)
    assert done.stdout.split() == ["1", "1", "True", "False"]


def test_where_blas_cannot_be_told_a_warning_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    monkeypatch.setattr(blas_threads, "_openblas", lambda: None)
    monkeypatch.setattr(blas_threads, "available_cores", lambda: {0, 1})
    words = "runs 2 BLAS threads.*: set OPENBLAS_NUM_THREADS=1 before NumPy is imported, or install threadpoolctl"
    with pytest.warns(UserWarning, match=words), limited_blas_threads(1):
        pass
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # which the user has chosen
    with limited_blas_threads(1):
        pass


def test_a_spawned_process_is_told_its_number_of_blas_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with environment_of_spawned(3):
        assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    assert not any(name in os.environ for name in VARIABLES)
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    with environment_of_spawned(3):
        assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert os.environ["OMP_NUM_THREADS"] == "5"


def test_blas_threads_return_when_the_last_limit_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of trainers in two threads, the first of which ends before the second."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    now = [4]
    monkeypatch.setattr(
        blas_threads, "_libraries", lambda: [(lambda: now[0], lambda number: now.__setitem__(0, number))]
    )
    monkeypatch.setattr(blas_threads, "available_cores", lambda: set(range(4)))
    first, second = limited_blas_threads(1), limited_blas_threads(2)
    first.__enter__()
    second.__enter__()
    assert now == [1]
    first.__exit__(None, None, None)
    assert now == [2]
    second.__exit__(None, None, None)
    assert now == [4]


def test_a_library_that_is_loaded_under_a_limit_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a callback imports SciPy, which has a BLAS of its own, and then evaluates."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    now = [4, 8]
    libraries = [(lambda: now[0], lambda number: now.__setitem__(0, number))]
    monkeypatch.setattr(blas_threads, "_libraries", lambda: libraries)
    monkeypatch.setattr(blas_threads, "available_cores", lambda: set(range(4)))
    with limited_blas_threads(2):
        libraries = [*libraries, (lambda: now[1], lambda number: now.__setitem__(1, number))]
        with limited_blas_threads(1):
            assert now == [1, 8]
        assert now == [2, 8]
    assert now == [4, 8]


def test_what_spawned_processes_get_is_not_taken_for_the_users_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(blas_threads, "available_cores", lambda: set(range(4)))
    with environment_of_spawned(1):
        assert blas_threads.chosen_by_user() is None
        assert blas_threads.threads_by_environment(4) == 4
        monkeypatch.setenv("OMP_NUM_THREADS", "3")
        assert blas_threads.chosen_by_user() == "OMP_NUM_THREADS"


def test_what_the_command_has_set_is_adjusted_to_the_number_of_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of one row has one worker, which is to use all cores."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is restored
    told: list[int] = []
    monkeypatch.setattr(blas_threads, "_libraries", lambda: [(lambda: 0, told.append)])
    monkeypatch.setattr(blas_threads, "_limited_by_command", False)
    for module in (blas_threads, workers_module):
        monkeypatch.setattr(module, "usable_cores", lambda: 4)
    model = GPT(GPTConfig(1000, 8, 64, 2, 2))
    for by_command in (False, True):
        if by_command:
            blas_threads.limit_by_environment(1)
        for rows in (64, 1, 1, 2):
            Trainer(model, WindowLoader(IDS, 8, rows), TrainingSettings(batch_size=rows))
    assert told == [4, 2]
    assert os.environ["OPENBLAS_NUM_THREADS"] == "2"


def test_threads_that_start_workers_leave_the_main_program_in_its_place() -> None:
    main, inside, leave = sys.modules["__main__"], threading.Event(), threading.Event()

    def hide() -> None:
        with processes._nothing_to_run_again():
            inside.set()
            leave.wait()

    with processes._nothing_to_run_again():
        other = threading.Thread(target=hide)
        other.start()
        inside.wait(0.02)
    leave.set()
    other.join()
    assert sys.modules["__main__"] is main


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such memory")
def test_memory_of_spawned_workers_does_not_lie_in_dev_shm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers give it 64 MB; a process that writes beyond ends with a bus error."""
    monkeypatch.setattr("_posixshmem.shm_open", None)
    memory = SharedMemory(10, inherited=False)
    file = memory._file
    memory.array(0, (10,), np.uint8)[...] = 7
    assert os.pread(file, 20, 0) == bytes([7]) * 10
    del memory
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(file)


def test_the_processes_of_a_machine_divide_its_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blas_threads, "usable_cores", lambda: 8)
    assert [blas_threads.threads_of_each(processes) for processes in (1, 3, 8, 20)] == [8, 2, 1, 1]
    told: list[int] = []
    monkeypatch.setattr(processes, "environment_of_spawned", lambda threads: told.append(threads) or nullcontext())
    with processes._made_ready_to_spawn(2 * 2):  # two workers in each of two processes of mpiexec
        assert told == [2]


def test_an_error_without_words_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(workers_module, "Processes", fails)
    with pytest.warns(UserWarning, match=r"could not be started \(fork: AssertionError\)"):
        trained(2, "fork", until=1)


def test_other_threads_forbid_forking() -> None:
    assert can_fork()
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert not can_fork()
        assert len(records(trained(2, until=2))) == 2  # spawned
    finally:
        stop.set()
        thread.join()


def test_one_process_trains_where_no_worker_can_start(alone: Trainer) -> None:
    trainer = new_trainer(2)
    trainer.loss = lambda model, batch: model.loss(*batch)  # which cannot be pickled for a spawned process
    words = "training in one process: 2 workers could not be started .spawn: .*lambda"
    with pytest.warns(UserWarning, match=words), started(trainer, "spawn"):
        trainer.train()
    assert trainer.processes == trainer.workers == 1
    assert records(trainer) == records(alone)


def test_auto_is_one_for_the_smallest_models_and_else_one_per_core() -> None:
    assert new_trainer("auto").workers == 1
    model = GPT(GPTConfig(1000, 8, 64, 2, 2))
    cores = len(os.sched_getaffinity(0))
    for rows, expected in ((1, 1), (64, cores)):
        settings = TrainingSettings(batch_size=rows)
        assert Trainer(model, WindowLoader(IDS, 8, rows), settings).workers == min(rows, expected)


@pytest.mark.parametrize("workers", [0, -1, 1025, 10**9, 1.5, True, "many", "2", None])
def test_workers_are_a_number_or_auto(workers: Any) -> None:
    with pytest.raises(ConfigError, match=r"workers must be an integer in \[1, 1024\] or auto; got"):
        TrainingSettings(workers=workers)


def test_each_of_several_processes_may_have_workers(alone: Trainer) -> None:
    settings = TrainingSettings(**{**SETTINGS, "workers": 2})
    manual_seed(7)
    model = GPT(CONFIG, init="gpt2").to(np.float64)
    trainer = ParallelTrainer(
        model,
        WindowLoader(IDS[:270], 8, 5),
        settings,
        WindowBatches(IDS[270:], 8, 2),
        callbacks=[Recorder()],
        communicator=SingleProcess(),
    )
    trainer.train()
    assert_close(alone, trainer, 1e-11)
