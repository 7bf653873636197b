"""The tape changes no result, records each operation and its module, and plays the backward step by step."""

import re
import sys
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from recorded_gpt import IDS, TARGETS, forward, recorded
from tiny_gpt import tiny

from tinygrad_llm import Tensor, composed_ops, manual_seed, nn, no_grad, study
from tinygrad_llm.errors import ConfigError, GraphError, IdRangeError
from tinygrad_llm.graph import observe, record_operation
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.nn.linear import Linear
from tinygrad_llm.ops import cross_entropy
from tinygrad_llm.study import call_stack, tape_recorder
from tinygrad_llm.study.module_paths import running_modules
from tinygrad_llm.study.tape import Tape
from tinygrad_llm.study.tape_entry import summarize


class Double(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2  # the reader's own arithmetic says more than who asked for it


def gradients(model: GPT) -> dict[str, np.ndarray]:
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def assert_same_bits(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert one[name].tobytes() == other[name].tobytes(), name


@pytest.fixture(scope="module")
def tape() -> Tape:
    return recorded(tiny())


# -- recording changes nothing


@pytest.mark.parametrize("kind", ["fused", "composed", "checkpointed"])
def test_recording_changes_no_bit_of_values_and_gradients(kind: str) -> None:
    plain, watched = tiny(dtype=np.float32), tiny(dtype=np.float32)

    def run(model: GPT) -> bytes:
        if kind == "checkpointed":
            nn.checkpoint_activations(model)
        if kind == "composed":
            with composed_ops():
                loss = forward(model)
                loss.backward()
        else:
            loss = forward(model)
            loss.backward()
        return loss.data.tobytes()

    expected = run(plain)
    with study.record() as tape:
        assert run(watched) == expected
    assert len(tape) > 40
    assert_same_bits(gradients(watched), gradients(plain))


def test_activations_are_freed_in_backward_while_recording(no_collector: None) -> None:
    with study.record() as tape:
        x = Tensor(np.ones((4, 5)), requires_grad=True)
        hidden = x.tanh()
        activation = weakref.ref(hidden.data)
        loss = hidden.sum()
        del hidden
        assert activation() is not None
        loss.backward()
        assert activation() is None
    assert tape[0].backward is not None


def test_a_loss_that_the_caller_deletes_is_freed(no_collector: None) -> None:
    """The tape reads the call stack, but keeps no variable of the caller alive."""

    class Trainer:
        def run(self) -> bool:
            with study.record():
                loss = forward(tiny())
                graph = weakref.ref(loss.node.backward)
                del loss
                assert graph() is None
            return True

    assert Trainer().run()


# -- entries


@pytest.mark.parametrize("given", [False, True])
def test_each_entry_names_its_module(given: bool) -> None:
    model, expected = tiny(), []

    class Paths:
        def recorded(self, output: Tensor, parents: tuple[Any, ...]) -> None:
            expected.append(running[-1] if running else "")  # in `loss` and `hidden`, methods of the model itself

        before_backward = after_backward = lambda *_: None

    with running_modules(model) as (running, _), observe(Paths()), study.record(model if given else None) as tape:
        forward(model)
    assert [entry.module for entry in tape] == expected
    assert {entry.module for entry in tape if entry.name == "layer_norm"} == {
        "blocks.0.norm1",
        "blocks.0.norm2",
        "blocks.1.norm1",
        "blocks.1.norm2",
        "final_norm",
    }
    assert tape[5].modules == ("", "blocks.0", "blocks.0.attention", "blocks.0.attention.query")


def test_the_operations_of_a_block_are_in_order(tape: Tape) -> None:
    block = [
        (entry.name, entry.module.removeprefix("blocks.1").removeprefix("."))
        for entry in tape
        if entry.module.startswith("blocks.1")
    ]
    heads = [
        step
        for part in ("query", "key", "value")
        for step in (("linear", f"attention.{part}"), ("reshape", "attention"), ("transpose", "attention"))
    ]
    assert block == [
        ("layer_norm", "norm1"),
        *heads,
        ("scaled_dot_product_attention", "attention"),
        ("transpose", "attention"),
        ("reshape", "attention"),
        ("linear", "attention.output"),
        ("dropout", "dropout"),
        ("add", ""),
        ("layer_norm", "norm2"),
        ("linear", "feed_forward.up"),
        ("gelu", "feed_forward.activation"),
        ("linear", "feed_forward.down"),
        ("dropout", "dropout"),
        ("add", ""),
    ]
    assert [entry.index for entry in tape] == list(range(len(tape)))


def test_operands_are_named_and_traced(tape: Tape) -> None:
    query = tape[5]
    assert [(x.name, x.shape, x.made_by, x.parameter) for x in query.operands] == [
        ("x", (2, 9, 8), 4, None),
        ("weight", (8, 8), None, "blocks.0.attention.query.weight"),
    ]
    assert query.shape == (2, 9, 8) and query.dtype == np.float64 and query.differentiable
    attention = next(entry for entry in tape if entry.name == "scaled_dot_product_attention")
    assert [x.name for x in attention.operands] == ["query", "key", "value"]
    assert [tape[x.made_by].name for x in attention.operands] == ["transpose"] * 3
    with study.record() as squared:
        x = Tensor([1.0, 2.0], requires_grad=True)
        x * x
    assert [(x.name, x.made_by, x.parameter) for x in squared[0].operands] == [("x", None, None), ("y", None, None)]


def test_the_source_is_the_line_that_called_the_operation_or_layer(tape: Tape) -> None:
    layer = nn.Linear(3, 2)
    with study.record() as own:
        line = sys._getframe().f_lineno + 1
        layer(np.ones((1, 3), np.float32))
    assert own[0].source == f"test_tape.py:{line}"
    with study.record() as mine:
        Double()(Tensor([1.0]))
    assert mine[0].source == f"test_tape.py:{Double.forward.__code__.co_firstlineno + 1}"
    assert tape[5].source.startswith("tinygrad_llm/nn/attention.py:")  # not nn/linear.py, which knows no query
    number = int(tape[5].source.rpartition(":")[2])
    with open(nn.attention.__file__) as file:
        assert "self.query(x)" in file.readlines()[number - 1]


def test_paths_of_shared_second_and_outside_modules() -> None:
    class Twice(nn.Module):
        def __init__(self, inner: Linear) -> None:
            self.first, self.second = nn.Sequential(inner), nn.Sequential(inner)

        def forward(self, x: np.ndarray) -> Tensor:
            return self.second(self.first(x))

    x = np.ones((1, 3), np.float32)
    inner = nn.Linear(3, 3)
    with study.record() as tape:
        Twice(inner)(x)
        nn.Linear(3, 3)(Tensor(x, requires_grad=True) * 2)
    assert [entry.module for entry in tape] == ["first.0", "second.0", None, "Linear@2"]
    model = Twice(inner)
    with study.record(model.second) as tape:
        model(x)
        nn.Linear(3, 3)(x)
    assert [entry.module for entry in tape] == ["0", "0", None]


def test_operations_without_a_gradient_have_no_backward() -> None:
    model = tiny().eval()
    with study.record() as tape, no_grad():
        model(IDS)
    assert len(tape) > 30 and not any(entry.differentiable or entry.formula for entry in tape)
    assert sum(entry.bytes_kept for entry in tape) == 0 and tape[3].operands[0].made_by == 2
    assert "backward" not in str(tape[3])


def test_recomputed_operations_name_their_modules() -> None:
    model = tiny()
    nn.checkpoint_activations(model)
    tape = recorded(model)
    again = [entry.module for entry in tape if entry.name == "gelu"]
    assert again == [
        "blocks.0.feed_forward.activation",
        "blocks.1.feed_forward.activation",
        "blocks.1.feed_forward.activation",
        "blocks.0.feed_forward.activation",
    ]
    assert sum(entry.name == "recompute" and entry.backward is not None for entry in tape) == 2


def test_recorded_gradients_are_those_of_backward() -> None:
    model = tiny()
    with study.record() as tape:
        manual_seed(4)
        logits = model(IDS)
        logits.retain_grad()
        cross_entropy(logits, TARGETS).backward()
    own = gradients(model)
    head = tape[-2]
    assert head.module == "head" and head.backward.dy == summarize(logits.grad)
    seen = {}
    for entry in tape:
        for x, gradient in zip(entry.operands, entry.backward.gradients, strict=True):
            if x.parameter is not None:
                seen[x.parameter] = gradient
    assert seen == {name: summarize(gradient) for name, gradient in own.items()}
    for name, gradient in seen.items():
        assert own[name][gradient.largest_at] == gradient.largest == max(own[name].ravel(), key=abs)


def test_seconds_are_those_of_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def perf_counter() -> float:
        nonlocal now
        now += 1e-6
        return now

    monkeypatch.setattr(tape_recorder, "time", SimpleNamespace(perf_counter=perf_counter))

    def slow(x: Tensor) -> Tensor:
        nonlocal now
        now += 3.0

        def backward(dy: np.ndarray) -> tuple[Any, ...]:
            nonlocal now
            now += 5.0
            return (dy,)

        return record_operation(x.data.copy(), (x,), backward)

    with study.record() as tape:
        x = Tensor(np.ones(3), requires_grad=True)
        slow(x * 2).sum().backward()
    mul, slept, total = tape
    assert 3.0 <= slept.seconds < 3.001 and 5.0 <= slept.backward.seconds < 5.001
    others = [mul.seconds, total.seconds, mul.backward.seconds, total.backward.seconds]
    assert min(others) >= 0 and sum(others) + slept.seconds + slept.backward.seconds <= now
    assert max(others) < 0.001


def test_bytes_kept_equal_the_counted_activations() -> None:
    model = tiny(dtype=np.float32)
    counted = study.memory(model, 2, 9)
    tape = recorded(model)
    assert sum(entry.bytes_kept for entry in tape) == counted.activations  # with copies of the ids
    assert {entry.name for entry in tape if not entry.bytes_made} == {"reshape", "transpose"}
    assert tape[5].bytes_made == 2 * 9 * 8 * 4


def test_a_model_that_is_made_and_changed_while_recording() -> None:
    with study.record() as tape:
        model = nn.Sequential(nn.Linear(3, 3))
        x = model(np.ones((1, 3), np.float32))
        model.append(nn.Linear(3, 2))
        model(x)
    ran = [entry for entry in tape if entry.name == "linear"]
    assert [entry.module for entry in ran] == ["0", "0", "1"]
    assert ran[-1].operands[1].parameter == "1.weight"
    assert all(entry.module is None for entry in tape if entry not in ran)


def test_a_tensor_is_not_confused_with_a_dead_one_of_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new Tensor can have the id of a dead one; here all Tensors have the same id."""
    for module in (call_stack, tape_recorder):
        monkeypatch.setattr(module, "id", lambda x: 0 if isinstance(x, Tensor) else id(x), raising=False)
    layer = nn.Linear(3, 3)
    with study.record(layer) as tape:
        layer(layer(np.ones((1, 3), np.float32)))
    assert tape[1].operands[0].made_by == 0 and tape[0].operands[0].made_by is None
    assert [x.parameter for x in tape[0].operands] == [None, "weight", None]  # the first of those with this id


# -- keeping arrays


def test_arrays_are_kept_as_copies() -> None:
    with study.record(keep_arrays=True) as tape:
        x = Tensor([[0.5, -2.0]], requires_grad=True)
        y = Tensor([[3.0, 5.0]], requires_grad=True)
        z = x * y
        z.sum().backward()
    x.data[:], x.grad[:] = 0, 0
    mul, total = (entry.arrays for entry in tape)
    kept = {name: array.tolist() for name, array in mul.items()}
    assert kept == {
        "x": [[0.5, -2]],
        "y": [[3, 5]],
        "z": [[1.5, -10]],
        "dz": [[1, 1]],
        "dx": [[3, 5]],
        "dy": [[0.5, -2]],
    }
    assert total["x"] is mul["z"]  # one copy of what one operation made and another read
    with pytest.raises(ValueError, match="read-only"):
        mul["x"][0] = 1


def test_arrays_are_kept_up_to_the_budget() -> None:
    with study.record(keep_arrays=True, array_budget=10_000) as tape:
        forward(tiny()).backward()
    arrays = {id(array): array.nbytes for entry in tape for array in entry.arrays.values()}
    assert 8_000 < sum(arrays.values()) <= 10_000
    assert re.search(r"arrays of \d.* KB copied, \d+ arrays beyond the budget not kept", tape.title)
    assert not any(entry.arrays for entry in recorded(tiny()))
    with pytest.raises(ConfigError, match="array_budget must be at least 1 byte; got 0"), study.record(None, True, 0):
        pass


def test_entries_are_indexed_like_a_list(tape: Tape) -> None:
    assert tape[-1] is list(tape)[len(tape) - 1] and tape[2:4] == [tape[2], tape[3]]
    with pytest.raises(IdRangeError, match="entries are 0 to 49; got 50"):
        tape[50]


# -- playing the backward


def test_stepping_gives_the_gradients_of_backward_to_the_bit(capsys: pytest.CaptureFixture[str]) -> None:
    plain, stepped = tiny(dtype=np.float32), tiny(dtype=np.float32)
    forward(plain).backward()
    with study.record() as tape:
        loss = forward(stepped)
    played = [tape.step() for _ in range(len(tape))]
    assert [entry.index for entry in played] == list(range(len(tape)))[::-1]
    assert_same_bits(gradients(stepped), gradients(plain))
    with pytest.raises(GraphError, match="all 50 operations of the backward are played"):
        tape.step()
    printed = capsys.readouterr().out
    assert printed.count("backward, step") == 50 and "replayed" not in printed
    assert "dx = rstd · (g - mean(g) - x̂ · mean(g ⊙ x̂))" in printed
    assert loss.node.backward is None


def test_the_output_of_a_step_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    tape = recorded(tiny())
    for _ in range(len(tape)):
        tape.step()
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_stepping_inside_the_block_is_the_same() -> None:
    plain, stepped = tiny(), tiny()
    forward(plain).backward()
    with study.record() as tape:
        loss = forward(stepped)
        for _ in range(len(tape)):
            tape.step()
    assert_same_bits(gradients(stepped), gradients(plain))
    assert all(entry.backward is not None for entry in tape) and loss.size == 1


def test_a_backward_that_ran_is_replayed(tape: Tape, capsys: pytest.CaptureFixture[str]) -> None:
    model = tiny()
    tape = recorded(model)
    before = {name: gradient.copy() for name, gradient in gradients(model).items()}
    first, second = tape.step(), tape.step()
    assert (first.name, second.name) == ("linear_cross_entropy", "layer_norm")
    head = re.search(
        r"step 1, replayed: #49 linear_cross_entropy, in the model itself, called at (\S+)\n", capsys.readouterr().out
    )
    assert head[1] == first.source
    for _ in range(48):
        tape.step()
    assert_same_bits(gradients(model), before)
    with pytest.raises(GraphError, match="all 50 operations"):
        tape.step()


def test_an_unfinished_walk_leaves_no_partial_gradient(no_collector: None) -> None:
    model = tiny()
    with study.record() as tape:
        loss = forward(model)
    graph = loss.node.parents[0]
    tape.step()
    assert graph.grad is not None and model.head.weight.grad is not None
    with pytest.raises(GraphError, match="each graph is walked once"):
        loss.backward()
    del tape
    assert graph.grad is None and graph.backward is not None


def test_a_second_forward_is_played_after_the_first() -> None:
    x = Tensor([2.0], requires_grad=True)
    with study.record() as tape:
        (x * x).sum().backward()
        loss = (x + 1.0).sum()
    assert [tape.step().index for _ in range(4)] == [1, 0, 3, 2]
    assert x.grad.tolist() == [5.0] and loss.item() == 3


def test_operations_that_no_gradient_reaches_are_skipped() -> None:
    def stopping(x: Tensor) -> Tensor:
        def backward(dy: np.ndarray) -> tuple[Any, ...]:
            return (None,)

        return record_operation(x.data.copy(), (x,), backward)

    x = Tensor([2.0], requires_grad=True)
    with study.record() as tape:
        loss = stopping(x * 3.0).sum() + (x * 5.0).sum()
    assert [tape.step().name for _ in range(5)] == ["add", "sum", "mul", "sum", "stopping"]
    with pytest.raises(GraphError, match="all 5"):
        tape.step()
    assert x.grad.tolist() == [5.0] and tape[0].backward is None and loss.node.backward is None
    assert "-" in tape.table(160)


def test_step_refuses_graphs_that_it_cannot_walk() -> None:
    model = tiny()
    with study.record() as empty:
        pass
    with study.record() as ungraded, no_grad():
        forward(model)
    for tape in (empty, ungraded):
        with pytest.raises(GraphError, match="there is nothing to play"):
            tape.step()
    with study.record() as many:
        logits = model(IDS)
    with pytest.raises(GraphError, match=r"must be the loss, one element; #\d+ linear made \(2, 9, 13\)"):
        many.step()
    with study.record() as lost:
        forward(model)
    with pytest.raises(GraphError, match="was freed: keep the loss in a variable"):
        lost.step()
    with study.record() as outside:
        loss = forward(model)
    loss.backward()
    with pytest.raises(GraphError, match="was walked outside of the recording"):
        outside.step()
    assert logits.requires_grad


def test_record_refuses_other_objects_and_drawings_of_nothing() -> None:
    with pytest.raises(ConfigError, match="must be a Module, or be left out; got a int"), study.record(3):
        pass
    with pytest.raises(GraphError, match="nothing was recorded"), study.record() as tape:
        tape.to_svg()
    with pytest.raises(GraphError, match="to_dot: nothing was recorded"):
        tape.to_dot()


def test_a_backward_that_fails_leaves_the_tape_readable() -> None:
    def broken(x: Tensor) -> Tensor:
        def backward(dy: np.ndarray) -> None:
            raise ZeroDivisionError

        return record_operation(x.data.copy(), (x,), backward)

    with study.record() as tape, pytest.raises(ZeroDivisionError):
        broken(Tensor([1.0], requires_grad=True) * 2).sum().backward()
    assert [entry.backward is not None for entry in tape] == [False, False, True]
    assert tape.step().name == "sum" and "broken" in str(tape)


def test_a_recording_stops_with_its_block() -> None:
    x = Tensor([1.0], requires_grad=True)
    with study.record() as outer:
        x * 2
        with study.record() as inner:
            x * 3
    x * 4
    assert len(outer) == 2 and len(inner) == 1
