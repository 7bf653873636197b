"""No gradient from values that were written in place after the forward; the figures are PyTorch's."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, buffers, cat, nn, no_grad, optim, versions
from tinygrad_llm.errors import GraphError
from tinygrad_llm.layers import checkpoint
from tinygrad_llm.nn import functional as F


def leaf(*numbers: float) -> Tensor:
    return Tensor(np.array(numbers, np.float64), requires_grad=True)


def test_an_operand_written_after_the_forward() -> None:
    w = leaf(1, 2, 3)
    loss = (w * w).sum()
    with no_grad():
        w += 10
    with pytest.raises(GraphError, match=r"what `mul` saved .* operand 0, of shape \(3,\), was written in place after"):
        loss.backward()
    assert w.grad is None


def test_without_the_write_the_gradient_is_right() -> None:
    w = leaf(1, 2, 3)
    (w * w).sum().backward()
    np.testing.assert_array_equal(w.grad, [2, 4, 6])


W = np.array([1.0, 2.0])


def by_item(w: Tensor, x: Tensor, y: Tensor) -> None:
    with no_grad():
        w[0] = 100.0


def by_detach(w: Tensor, x: Tensor, y: Tensor) -> None:
    d = w.detach()
    d += 5


def by_view(w: Tensor, x: Tensor, y: Tensor) -> None:
    d = w.detach()[1:]
    d *= 0


def by_another_tensor_over_the_array(w: Tensor, x: Tensor, y: Tensor) -> None:
    Tensor(w.data)[0] = 7.0


def by_a_tensor_of_a_tensor(w: Any, x: Any, y: Any) -> None:
    Tensor(w.detach())[0] = 7.0


def by_optimizer(w: Tensor, x: Tensor, y: Tensor) -> None:
    w.grad = np.ones(2)
    optim.SGD([w], lr=0.1).step()


def by_adamw(w: Any, x: Any, y: Any) -> None:
    w.grad = np.ones(2)
    optim.AdamW([w], lr=0.1).step()


def by_the_plain_operand(w: Tensor, x: Tensor, y: Tensor) -> None:
    x[0] = 100.0


def by_numpy_into_out(w: Tensor, x: Tensor, y: Tensor) -> None:
    assert np.add(x, 1.0, out=x) is x


def by_numpy_sum_into_out(w: Tensor, x: Tensor, y: Tensor) -> None:
    assert np.sum(np.ones((3, 2)), axis=0, out=x) is x


def by_numpy_copyto(w: Tensor, x: Tensor, y: Tensor) -> None:
    np.copyto(x, 0.0)


def by_numpy_put(w: Tensor, x: Tensor, y: Tensor) -> None:
    np.put(x, [0], 5.0)


def by_numpy_add_at(w: Tensor, x: Tensor, y: Tensor) -> None:
    np.add.at(x, [0, 0], 1.0)


def by_remainder_in_place(w: Tensor, x: Tensor, y: Tensor) -> None:
    x %= 2.0


BY_NUMPY = [by_numpy_into_out, by_numpy_sum_into_out, by_numpy_copyto, by_numpy_put, by_numpy_add_at]


def by_the_result(w: Any, x: Any, y: Any) -> None:
    d = y.detach()
    d -= 1


SAVED = {
    "mul": (lambda w, x: w * x + x * w, [by_the_plain_operand, by_remainder_in_place, *BY_NUMPY]),
    "div": (lambda w, x: x / w, [by_item, by_detach, by_view, by_another_tensor_over_the_array, by_optimizer]),
    "square": (lambda w, x: w * w, [by_adamw, by_a_tensor_of_a_tensor, by_item]),
    "exp": (lambda w, x: w.exp(), [by_the_result]),
    "softmax": (lambda w, x: F.softmax(w), [by_the_result]),
    "log": (lambda w, x: w.log(), [by_item]),
    "pow": (lambda w, x: w**3, [by_item]),
    "matmul": (lambda w, x: w @ x, [by_the_plain_operand]),
    "linear": (lambda w, x: F.linear(w, x.reshape(1, 2)), [by_the_plain_operand]),
    "maximum": (lambda w, x: w.maximum(x), [by_the_plain_operand, by_item]),
    "cross_entropy": (lambda w, x: F.cross_entropy(w.reshape(1, 2), [1]), [by_item]),
}


@pytest.mark.parametrize(("name", "write"), [(name, write) for name, (_, writes) in SAVED.items() for write in writes])
def test_every_way_of_writing_is_seen(name: str, write: Callable[..., Any]) -> None:
    w, x = Tensor(W.copy(), requires_grad=True), Tensor(W.copy())
    y = SAVED[name][0](w, x)
    write(w, x, y)
    with pytest.raises(GraphError, match=r"was written in place after the forward; write into a copy"):
        y.sum().backward()


def test_between_two_backwards_of_one_retained_graph() -> None:
    w = leaf(1, 2, 3)
    loss = (w * w).sum()
    loss.backward(retain_graph=True)
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(GraphError, match="such as an optimizer's step"):
        loss.backward()


def test_load_state_dict_is_a_write() -> None:
    layer = nn.Linear(2, 2)
    x = leaf(1, 2)
    y = layer(x).sum()
    layer.load_state_dict(layer.state_dict())
    with pytest.raises(GraphError, match=r"operand 1, of shape \(2, 2\)"):
        y.backward()


HARMLESS = {
    "add": (lambda w, x: w + x, [1, 1]),
    "sub": (lambda w, x: w - x, [1, 1]),
    "mul by a number": (lambda w, x: w * 3, [3, 3]),
    "cat": (lambda w, x: cat([w, x]), [1, 1]),
    "getitem": (lambda w, x: w[[0, 0]], [2, 0]),
    "reshape": (lambda w, x: w.reshape(1, 2), [1, 1]),
    "relu": (lambda w, x: w.relu(), [1, 1]),
    "bias": (lambda w, x: F.linear(x.reshape(1, 2), Tensor(np.ones((2, 2))), w), [1, 1]),
    "matmul": (lambda w, x: w @ Tensor(W), [1, 2]),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_no_gradient_needs_may_be_written(name: str) -> None:
    """As in PyTorch, only what an operation saved has to stay."""
    function, expected = HARMLESS[name]
    w, x = Tensor(W.copy(), requires_grad=True), Tensor(W.copy())
    y = function(w, x).sum()
    with no_grad():
        w += 10
    y.backward()
    np.testing.assert_array_equal(w.grad, expected)


def test_a_write_before_the_forward_is_no_matter() -> None:
    w = leaf(1, 2)
    for _ in range(3):
        w.grad = None
        (w * w).sum().backward()
        optim.SGD([w], lr=0.25).step()
    np.testing.assert_allclose(w.data, [0.125, 0.25])


def test_a_write_next_to_the_saved_part_is_no_matter() -> None:
    numbers = np.arange(8.0)
    x, other, w = Tensor(numbers[:4]), Tensor(numbers[4:]), leaf(1, 1, 1, 1)
    y = (w * x).sum()
    other[...] = 9.0
    y.backward()
    np.testing.assert_array_equal(w.grad, [0, 1, 2, 3])


def test_many_parts_of_one_array_are_taken_as_a_whole() -> None:
    numbers = np.arange(200.0)
    w = leaf(1, 1)
    y = (w * Tensor(numbers[:2])).sum()
    for i in range(10, 200):
        Tensor(numbers[i : i + 1])[...] = 0.0
    with pytest.raises(GraphError):
        y.backward()


def test_freed_memory_forgets_its_recorded_writes() -> None:
    x = Tensor(np.ones(3))
    x[0] = 2.0
    key = id(buffers.memory_owner(x.data))
    assert key in versions._writes
    del x
    assert key not in versions._writes


def test_a_checkpoint_reads_the_parameters_of_its_forward() -> None:
    layer, x = nn.Linear(2, 2), leaf(1, 2)
    y = checkpoint(layer, x).sum()
    with no_grad():
        layer.weight[...] = 0.0
    with pytest.raises(GraphError, match="`recompute`"):
        y.backward()
    y = checkpoint(layer, x).sum()
    layer.weight.data = np.ones((2, 2), np.float32)
    with pytest.raises(GraphError, match="Linear must keep its parameters until backward"):
        y.backward()


# -- in-place operators


def test_a_computed_loss_adds_up() -> None:
    x = leaf(1, 2)
    loss = 0
    for _ in range(3):
        loss += (x * x).sum()
    loss /= 4
    loss.backward()
    np.testing.assert_array_equal(x.grad, [1.5, 3])


def test_a_plain_tensor_that_a_computed_one_is_added_to() -> None:
    x, total = leaf(1, 2), Tensor(np.zeros(2))
    before = total
    total += x * 3
    total *= x
    total.sum().backward()
    np.testing.assert_array_equal(x.grad, [6, 12])
    np.testing.assert_array_equal(before.data, [0, 0])  # the name is bound to a new Tensor


def test_a_leaf_that_collects_a_gradient_is_refused_while_recording() -> None:
    x = leaf(1, 2)
    with pytest.raises(GraphError, match="update a parameter under no_grad"):
        x += 1
    with pytest.raises(GraphError, match="choose with `where`"):
        (x * 2)[0] = 1.0
    plain = Tensor(np.zeros(2))
    with pytest.raises(GraphError, match="nor take its values from one"):
        plain[0] = x[0]
    with no_grad():
        plain[0] = x[1]
    assert plain.tolist() == [2, 0]


def test_under_no_grad_a_computed_tensor_is_written_and_its_graph_knows() -> None:
    x = leaf(1, 2)
    y = x.exp()
    with no_grad():
        y += 1
    with pytest.raises(GraphError, match="its result, of shape"):
        y.sum().backward()
