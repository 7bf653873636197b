"""The engine: recording, and a walk back that is right, linear, frugal and clean."""

import ast
import gc
import itertools
import threading
import tracemalloc
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_llm
from tinygrad_llm import Generator, Tensor, buffers, cat, enable_grad, graph, no_grad, stack
from tinygrad_llm.buffers import memory_owner
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError
from tinygrad_llm.graph import Node, is_grad_enabled, observe, record_operation
from tinygrad_llm.ops import embedding, gelu, layer_norm, linear, linear_cross_entropy


def leaf(*shape: int) -> Tensor:
    return Tensor(np.ones(shape), requires_grad=True)


class Recorder:
    """Counts what the walk does."""

    def __init__(self) -> None:
        self.visits: Counter[int] = Counter()
        self.names: list[str] = []
        self.recorded_names: list[str | None] = []

    def recorded(self, output: Tensor, parents: tuple[Any, ...]) -> None:
        self.recorded_names.append(output.node and output.node.name)

    def before_backward(self, node: Node, dy: np.ndarray) -> None:
        assert not dy.flags.writeable
        self.visits[node.order] += 1
        self.names.append(node.name)

    def after_backward(self, node: Node, gradients: tuple[Any, ...]) -> None:
        assert len(gradients) == len(node.parents)


# -- recording


def test_nothing_is_recorded_without_need() -> None:
    assert (Tensor([1.0]) * 2).node is None
    x = leaf(2)
    assert x.is_leaf and x.requires_grad
    assert not (x * 2).is_leaf and (x * 2).requires_grad
    with no_grad():
        assert not is_grad_enabled()
        assert (x * 2).node is None
        with enable_grad():
            assert (x * 2).node is not None
        assert (x * 2).node is None
    assert is_grad_enabled()

    @no_grad()
    def evaluate() -> Tensor:
        return x * 2

    assert evaluate().node is None and evaluate().node is None
    assert (x * 2).node is not None


def test_no_grad_ends_with_an_exception_too() -> None:
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled()


def test_no_grad_in_one_thread_does_not_stop_another() -> None:
    inside, checked = threading.Event(), threading.Event()
    seen = []

    def evaluate() -> None:
        with no_grad():
            inside.set()
            checked.wait(60)
            seen.append((leaf(1) * 2).node)

    other = threading.Thread(target=evaluate)
    other.start()
    assert inside.wait(60)
    assert (leaf(1) * 2).node is not None
    checked.set()
    other.join()
    assert seen == [None]


def test_detach_leaves_the_graph_with_the_same_array() -> None:
    x = leaf(2)
    y = (x * 3).detach()
    assert not y.requires_grad
    (x * y).sum().backward()
    np.testing.assert_array_equal(x.grad, [3, 3])
    assert x.detach().data is x.data


def test_requires_grad_may_be_set_on_leaves_only() -> None:
    x = Tensor([1.0])
    x.requires_grad = True
    (x * 2).backward()
    assert x.grad == 2
    x.requires_grad = False
    assert not (x * 2).requires_grad
    with pytest.raises(GraphError, match="a computed Tensor always requires it; use detach"):
        (leaf(1) * 2).requires_grad = False
    (leaf(1) * 2).requires_grad = True
    with pytest.raises(DTypeError, match="got int64"):
        Tensor([1]).requires_grad = True


# -- the walk back


def test_a_diamond_sums_over_its_paths() -> None:
    x = Tensor(np.array([3.0]), requires_grad=True)
    a = x * 2
    b, c = a * 5, a * 7
    (b * c + a).backward()  # 70 a² /2 ... d/dx (35 (2x)² + 2x) = 280 x + 2
    np.testing.assert_array_equal(x.grad, [280 * 3 + 2])


def test_one_tensor_used_many_times() -> None:
    x = leaf(2)
    (x * x * x + x - x + x / x).sum().backward()
    np.testing.assert_allclose(x.grad, [3, 3])
    x.zero_grad()
    sum([x] * 10, start=Tensor(0.0)).sum().backward()
    np.testing.assert_array_equal(x.grad, [10, 10])


def test_two_backwards_add_up_until_zero_grad() -> None:
    x = leaf(2)
    (x * 2).sum().backward()
    (x * 3).sum().backward()
    np.testing.assert_array_equal(x.grad, [5, 5])
    x.zero_grad()
    assert x.grad is None


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("+*-t"), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=12))
def test_any_graph_agrees_with_forward_differentiation(steps: list[Any]) -> None:
    """Random graphs against dual numbers: (value, slope) pushed forward beside the Tensors."""
    x = Tensor(np.array(0.75), requires_grad=True)
    tensors, duals = [x], [(0.75, 1.0)]
    for op, i, j in steps:
        (a, da), (b, db) = duals[i % len(duals)], duals[j % len(duals)]
        s, t = tensors[i % len(tensors)], tensors[j % len(tensors)]
        if op == "+":
            tensors.append(s + t)
            duals.append((a + b, da + db))
        elif op == "-":
            tensors.append(s - t)
            duals.append((a - b, da - db))
        elif op == "*":
            tensors.append((s * t).tanh())
            duals.append((np.tanh(a * b), (1 - np.tanh(a * b) ** 2) * (da * b + a * db)))
        else:
            tensors.append(s.sigmoid())
            value = 1 / (1 + np.exp(-a))
            duals.append((value, value * (1 - value) * da))
    tensors[-1].backward()
    np.testing.assert_allclose(x.grad, duals[-1][1], rtol=1e-9, atol=1e-12)


def test_a_given_gradient() -> None:
    x = leaf(2, 3)
    (x * 2).backward(np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(x.grad, 2 * np.arange(6.0).reshape(2, 3))
    x.zero_grad()
    (x * 2).backward(Tensor(np.ones((2, 3), np.float32)))
    assert x.grad.dtype == np.float64
    x.zero_grad()
    x.backward(np.full((2, 3), 4.0))  # of a leaf by itself
    np.testing.assert_array_equal(x.grad, np.full((2, 3), 4.0))
    one = leaf(1, 1)
    (one * 3).backward()  # one element needs none
    np.testing.assert_array_equal(one.grad, [[3]])


def test_gradients_through_0d_and_empty_tensors() -> None:
    scalar = Tensor(2.0, requires_grad=True)
    (scalar * scalar).backward()
    assert isinstance(scalar.grad, np.ndarray) and scalar.grad.shape == () and scalar.grad == 4
    empty = Tensor(np.zeros((0, 3)), requires_grad=True)
    (empty * 2).sum().backward()
    assert empty.grad.shape == (0, 3)
    (empty * 2).backward(np.zeros((0, 3)))


def test_backward_without_a_scalar_or_a_graph_is_refused() -> None:
    x = leaf(2)
    with pytest.raises(GraphError, match=r"must have one element; got shape \(2,\); reduce it .sum or mean."):
        (x * 2).backward()
    with pytest.raises(ShapeError, match=r"must have the Tensor's shape \(2,\); got \(3,\)"):
        (x * 2).backward(np.ones(3))
    with pytest.raises(GraphError, match="nothing to differentiate"):
        Tensor([1.0]).backward()
    with no_grad():
        hidden = x.sum()
    with pytest.raises(GraphError, match="under no_grad"):
        hidden.backward()
    assert x.grad is None


def test_a_graph_is_walked_once() -> None:
    x = leaf(2)
    shared = x * 2
    first, second = shared.sum(), (shared * 3).sum()
    first.backward()
    with pytest.raises(GraphError, match=r"walked before; run the forward again, or .* retain_graph=True"):
        first.backward()
    with pytest.raises(GraphError, match="walked before"):
        second.backward()  # though only a part of it was
    np.testing.assert_array_equal(x.grad, [2, 2])


def test_retain_graph_walks_it_again_with_the_same_result() -> None:
    x = leaf(2)
    y = ((x * x).tanh() @ Tensor(np.array([1.0, 2.0]))) * 3
    y.backward(retain_graph=True)
    once = x.grad.copy()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad, 3 * once, rtol=1e-15)
    with pytest.raises(GraphError):
        y.backward()


def test_retain_grad_keeps_that_of_a_computed_tensor() -> None:
    x = leaf(2)
    y = x * 2
    y.retain_grad()
    x.retain_grad()
    (y * y).sum().backward()
    np.testing.assert_array_equal(y.grad, [4, 4])
    y.grad[0] = 7  # its own, not what flowed on
    np.testing.assert_array_equal(x.grad, [8, 8])
    z = x * 2
    (z * 3).sum().backward()
    assert z.grad is None
    with pytest.raises(GraphError, match="does not require a gradient"):
        Tensor([1.0]).retain_grad()


def test_a_failed_walk_leaves_nothing_half_collected() -> None:
    x = leaf(2)
    a = x * 2
    failing = [True]

    def sometimes(t: Tensor) -> Tensor:
        def backward(dy: np.ndarray) -> tuple[Any, ...] | None:
            if failing:
                raise ZeroDivisionError
            return (dy,)

        return record_operation(t.data.copy(), (t,), backward)

    y = (sometimes(a) + a * 3).sum()
    with pytest.raises(ZeroDivisionError):
        y.backward(retain_graph=True)
    assert x.grad is None
    failing.clear()
    y.backward()
    np.testing.assert_array_equal(x.grad, [8, 8])


def test_a_backward_must_keep_its_contract() -> None:
    def op(x: Tensor, gradients: tuple[Any, ...]) -> Tensor:
        def backward(dy: np.ndarray) -> tuple[Any, ...]:
            return gradients

        return record_operation(x.data * 2, (x,), backward)

    with pytest.raises(GraphError, match="op: backward must return one gradient per parent, 1; got 2"):
        op(leaf(2), (np.ones(2), np.ones(2))).sum().backward()
    with pytest.raises(GraphError, match=r"op: backward must return a gradient of its .* shape \(2,\); got \(1,\)"):
        op(leaf(2), (np.ones(1),)).sum().backward()
    x = leaf(2)
    op(x * 1, (None,)).sum().backward()  # None: no gradient goes further
    assert x.grad is None
    scalar = Tensor(np.array(1.0), requires_grad=True)
    op(scalar, (np.float64(3),)).backward()  # NumPy turns 0-d results into scalars
    assert isinstance(scalar.grad, np.ndarray)


# -- in linear time, at any depth


def residual_chain(x: Tensor, depth: int) -> Tensor:
    for _ in range(depth):
        x = x + x.tanh() * 0.01
    return x


@pytest.mark.parametrize("depth", [1, 100, 2000])
def test_a_residual_chain_is_walked_in_linear_time(depth: int) -> None:
    recorder = Recorder()
    x = leaf(2)
    y = residual_chain(x, depth).sum()
    with observe(recorder):
        y.backward()
    assert set(recorder.visits.values()) == {1}  # paths from end to start: 2 ** depth
    assert len(recorder.visits) == 3 * depth + 1


def test_a_chain_far_deeper_than_the_stack() -> None:
    x = leaf(1)
    y = x
    for _ in range(10_000):
        y = y * 1.0
    y.backward()
    assert x.grad == 1
    for _ in range(10_000):  # one that is dropped without a walk must not recurse either
        y = x * 1.0 if y.node is None else y * 1.0
    del y


def test_nodes_are_met_newest_first() -> None:
    recorder = Recorder()
    x = leaf(2)
    with observe(recorder):
        a = x * 2
        b = a.exp()
        (a + b).sum().backward()
    assert recorder.names == ["sum", "add", "exp", "mul"]
    assert recorder.recorded_names == ["mul", "exp", "add", "sum"]


def test_an_observer_sees_only_its_own_block_and_thread() -> None:
    recorder = Recorder()
    with observe(recorder):
        worker = threading.Thread(target=lambda: leaf(1) * 2)
        worker.start()
        worker.join()
    leaf(1) * 2
    assert recorder.recorded_names == []


# -- memory


def test_a_graph_holds_no_reference_cycle(no_collector: None) -> None:
    x = leaf(3)
    y = ((x * 2).exp() @ Tensor(np.ones((3, 2)))).tanh()[np.array([0, 0])].logsumexp(axis=0)
    seen = weakref.ref(y), weakref.ref(y.data), weakref.ref(y.node.backward)
    del y
    assert [one() for one in seen] == [None, None, None]


OPERATIONS = {
    "add": lambda x: x + x,
    "sub": lambda x: x - 1,
    "mul": lambda x: x * x,
    "div": lambda x: x / x,
    "neg": lambda x: -x,
    "pow": lambda x: x**2,
    "matmul": lambda x: x @ x,
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "sqrt": lambda x: x.sqrt(),
    "tanh": lambda x: x.tanh(),
    "sigmoid": lambda x: x.sigmoid(),
    "relu": lambda x: x.relu(),
    "abs": lambda x: abs(x),
    "erf": lambda x: x.erf(),
    "maximum": lambda x: x.maximum(0.5),
    "minimum": lambda x: x.minimum(0.5),
    "clip": lambda x: x.clip(0, 2),
    "where": lambda x: x.where(x > 0, 0.0),
    "masked_fill": lambda x: x.masked_fill(x > 2, 0),
    "sum": lambda x: x.sum(0),
    "mean": lambda x: x.mean(0),
    "var": lambda x: x.var(0),
    "max": lambda x: x.max(0),
    "min": lambda x: x.min(0),
    "logsumexp": lambda x: x.logsumexp(0),
    "cumsum": lambda x: x.cumsum(0),
    "reshape": lambda x: x.reshape(-1),
    "permute": lambda x: x.T,
    "transpose": lambda x: x.transpose(0, 1),
    "squeeze": lambda x: x.squeeze(),
    "unsqueeze": lambda x: x.unsqueeze(0),
    "broadcast_to": lambda x: x.broadcast_to((2, 3, 3)),
    "astype": lambda x: x.astype(np.float64),
    "getitem": lambda x: x[1:],
    "tril": lambda x: x.tril(),
    "triu": lambda x: x.triu(),
    "cat": lambda x: cat([x, x]),
    "stack": lambda x: stack([x, x]),
    "split": lambda x: x.split(2)[0],
    "pad": lambda x: x.pad([(1, 1), (0, 0)]),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_operation_holds_its_own_output_tensor(name: str, no_collector: None) -> None:
    x = leaf(3, 3) * 1
    y = OPERATIONS[name](x)
    seen = weakref.ref(y), weakref.ref(y.node.backward)
    del y
    assert [one() for one in seen] == [None, None]


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_share_no_memory(name: str) -> None:
    """Whatever an operation returns, leaves end with arrays of their own that may be written into."""
    x, y = leaf(3, 3), leaf(3, 3)
    given = np.ones(OPERATIONS[name](x + y).shape)
    OPERATIONS[name](x + y).backward(given)
    assert not np.shares_memory(x.grad, y.grad)
    assert not np.shares_memory(x.grad, given)
    assert given.flags.writeable
    for one in (x.grad, y.grad):
        assert one.flags.writeable and one.flags.owndata
        one *= 2


def test_a_leaf_used_directly_owns_its_gradient_too() -> None:
    x, y, given = leaf(3), leaf(3), np.ones(3)
    (x + y).backward(given)
    assert not np.shares_memory(x.grad, y.grad) and not np.shares_memory(x.grad, given)
    z = leaf(3)
    z.backward(given)
    z.grad *= 5
    np.testing.assert_array_equal(given, np.ones(3))
    (x + x).backward(given)
    np.testing.assert_array_equal(x.grad, [3, 3, 3])


def test_activations_die_as_the_walk_passes_them(no_collector: None) -> None:
    alive: list[int] = []
    activations: list[weakref.ref] = []

    class Census(Recorder):
        def before_backward(self, node: Node, dy: np.ndarray) -> None:
            alive.append(sum(one() is not None for one in activations))

    y = leaf(4)
    for _ in range(50):
        y = (y * 1.01).tanh()
        activations.append(weakref.ref(y.data))
    loss = y.sum()
    del y
    with observe(Census()):
        loss.backward()
    assert alive[0] == 50
    assert all(a >= b for a, b in itertools.pairwise(alive))
    assert alive[-1] <= 2
    assert sum(one() is not None for one in activations) == 0


def test_an_activation_is_gone_before_its_gradient_is_handed_on(
    no_collector: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the largest activation and the gradient that it makes room for would be there together."""
    x = leaf(4)
    y = x.tanh()
    activation, still_there = weakref.ref(y.data), []
    loss = y.sum()
    del y
    collect = Tensor.collect

    def watched(tensor: Tensor, gradient: np.ndarray) -> None:
        still_there.append(activation() is not None)
        collect(tensor, gradient)

    monkeypatch.setattr(Tensor, "collect", watched)
    loss.backward()
    assert still_there == [False]


def test_an_error_in_backward_frees_nothing_that_is_needed_and_keeps_no_cycle(no_collector: None) -> None:
    def broken(t: Tensor) -> Tensor:
        def backward(dy: np.ndarray) -> None:
            raise ZeroDivisionError

        return record_operation(t.data.copy(), (t,), backward)

    y = broken(leaf(2) * 2)
    seen = weakref.ref(y)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward()
    del y
    gc.collect()  # the traceback itself is a cycle
    assert seen() is None


def test_memory_stays_flat_over_1000_steps(no_collector: None) -> None:
    weight = leaf(20, 20)
    x = Tensor(np.ones((4, 20)))

    def step() -> None:
        weight.zero_grad()
        ((x @ weight).tanh() * 0.1).logsumexp(axis=-1).mean().backward()
        with no_grad():
            weight.data -= 0.01 * weight.grad

    for _ in range(2500):  # until Python's free lists are full: they keep 2,000 dead tuples of each length
        step()
    tracemalloc.start()
    try:
        step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            step()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 4_000  # far less than the smallest object for each step


def test_this_file_lists_every_operation() -> None:
    package = Path(tinygrad_llm.__file__).parent / "primitives"
    defined = {
        function.name.strip("_")
        for file in package.glob("*.py")
        for function in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(function, ast.FunctionDef)
        and any(isinstance(inner, ast.FunctionDef) and inner.name == "backward" for inner in function.body)
    }
    assert defined - {"extremum", "extreme"} <= set(OPERATIONS)


@pytest.mark.parametrize("which", ["operand 1", "its result"])
def test_the_error_says_which_saved_array_was_written(which: str) -> None:
    x, factor = Tensor([1.0, 2.0], requires_grad=True), Tensor([3.0, 4.0])
    y = x * factor if which == "operand 1" else x.exp()
    written = factor if which == "operand 1" else y
    with no_grad():
        written[0] = 5.0
    with pytest.raises(GraphError, match=which):
        y.sum().backward()


def test_a_gradient_that_overflows_gives_no_warning() -> None:
    for walk in (lambda z: z.backward(), lambda z: list(z.backward_steps())):
        x = Tensor(np.array(1e-30, np.float32), requires_grad=True)
        walk(x * 1e30 * 1e30)
        assert x.grad == np.inf


def test_a_walk_after_one_that_failed_adds_into_no_borrowed_gradient() -> None:
    x, w = Tensor([1.0, 2.0], requires_grad=True), Tensor([0.0, 0.0], requires_grad=True)
    y = x * 2.0

    def backward(dz: np.ndarray) -> Any:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        record_operation(y.data.copy(), (y,), backward).sum().backward(retain_graph=True)
    (y * 3.0 + (y + w)).sum().backward()
    assert x.grad.tolist() == [8.0, 8.0] and w.grad.tolist() == [1.0, 1.0]


def test_retain_grad_of_a_tensor_that_is_gone_by_then() -> None:
    x = Tensor([1.0], requires_grad=True)
    y = x * 2
    y.retain_grad()
    z = y * 3
    del y
    z.backward(np.ones(1))
    assert x.grad.tolist() == [6.0]


class SumOfGradients:
    """A `grad_memory` of one process."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.array, self.written = np.full(shape, np.nan), False

    def free(self) -> np.ndarray | None:
        return None if self.written else self.array

    def add_product(self, dy: np.ndarray, x: np.ndarray) -> np.ndarray:
        return buffers.matmul(dy.T, x, self.free())

    def add(self, gradient: np.ndarray, rows: np.ndarray | None = None) -> None:
        if not self.written:
            assert rows is None
            self.array[...] = gradient
        else:
            self.array[... if rows is None else rows] += gradient
        self.written = True


def test_a_leafs_gradients_are_added_to_the_memory_that_it_is_given() -> None:
    rng = Generator(0)
    weight = Tensor(rng.randn(5, 4, dtype=np.float64), requires_grad=True)

    def loss() -> Tensor:
        x = embedding(np.array([1, 3, 3]), weight)
        return linear_cross_entropy(linear(x, weight) @ weight, weight, np.array([0, 4, 2]))

    loss().backward()
    assert weight.grad is not None
    expected, weight.grad = weight.grad, None
    memory = weight.grad_memory = SumOfGradients((5, 4))
    for times in (1, 2):
        loss().backward()
        assert weight.grad is None
        np.testing.assert_allclose(memory.array, times * expected, rtol=1e-13)


def test_a_product_is_written_straight_into_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs: list[np.ndarray | None] = []
    matmul = buffers.matmul

    def noting(a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        outputs.append(out)
        return matmul(a, b, out)

    weight = Tensor(np.ones((2, 3)), requires_grad=True)
    memory = weight.grad_memory = SumOfGradients((2, 3))
    y = linear(Tensor(np.ones((4, 3))), weight)
    monkeypatch.setattr(buffers, "matmul", noting)
    y.backward(np.ones((4, 2)))
    assert [out is memory.array for out in outputs] == [True]
    assert (memory.array == 4).all()


@pytest.fixture
def recomputing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of any size are computed again, as else only large ones are."""
    monkeypatch.setattr(graph, "RECOMPUTED_FROM", 0)


@pytest.mark.usefixtures("recomputing")
@pytest.mark.parametrize("op", [gelu, lambda x: layer_norm(x, Tensor([2.0, -1.0, 0.5]), Tensor([0.1, 0.2, 0.3]))])
def test_a_result_that_can_be_computed_again_is_not_saved(op: Any) -> None:
    x = Tensor(np.array([[0.3, -1.0, 2.0], [1.0, 0.0, -0.5]], np.float32), requires_grad=True)
    weight = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    y = op(x)
    kept, values = weakref.ref(memory_owner(y.data)), y.data.copy()
    assert y.node is not None
    np.testing.assert_array_equal(y.node.recompute(), values)  # to the bit
    z = linear(y, weight)
    del y
    assert kept() is None
    z.backward(np.ones((2, 2), np.float32))
    assert weight.grad is not None
    np.testing.assert_allclose(weight.grad, [values.sum(0)] * 2, rtol=1e-6)


@pytest.mark.usefixtures("recomputing")
@pytest.mark.parametrize("op", [gelu, lambda x: layer_norm(x, Tensor([2.0, -1.0, 0.5]), Tensor([0.1, 0.2, 0.3]))])
@pytest.mark.parametrize("way", ["write", "array", "node"])
def test_a_result_that_was_changed_is_saved_as_it_is(op: Any, way: str) -> None:
    y = op(Tensor(np.array([[0.3, -1.0, 2.0], [1.0, 0.0, -0.5]]), requires_grad=True))
    weight = Tensor(np.ones((2, 3)), requires_grad=True)
    if way == "write":
        with no_grad():
            y += 1
    elif way == "array":
        y.data = y.data + 1
    else:  # as operations in place of tinygrad_llm.torch do
        changed = y + 1
        y.node, y.data = changed.node, changed.data
    values = y.data.copy()
    linear(y, weight).backward(np.ones((2, 2)))
    np.testing.assert_allclose(weight.grad, [values.sum(0)] * 2, rtol=1e-12)


@pytest.mark.usefixtures("recomputing")
def test_a_layer_norm_is_computed_again_once_for_all_layers_that_read_it() -> None:
    x = Tensor(np.array([[0.3, -1.0, 2.0]], np.float32), requires_grad=True)
    y = layer_norm(x, Tensor([2.0, -1.0, 0.5]))
    assert y.node is not None
    again = y.node.recompute()
    assert np.shares_memory(again, y.node.recompute())
    kept = weakref.ref(memory_owner(again))
    del again
    y.sum().backward(retain_graph=True)
    assert kept() is None


@pytest.mark.parametrize("op", [gelu, lambda x: layer_norm(x, Tensor([2.0, -1.0, 0.5]))])
def test_a_small_result_is_saved_and_its_gradients_have_the_bits_of_one_computed_again(
    op: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    gradients = []
    for smallest in (15, 16):  # elements from which a result is computed again: y has 15
        monkeypatch.setattr(graph, "RECOMPUTED_FROM", smallest)
        x = Tensor(values, requires_grad=True)
        weight = Tensor(values, requires_grad=True)
        y = op(x)
        assert y.node is not None
        assert (y.node.recompute is None) == (smallest == 16)
        linear(y, weight).sum().backward()
        gradients.append((x.grad, weight.grad))
    np.testing.assert_array_equal(gradients[0], gradients[1])
