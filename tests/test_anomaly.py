"""The operation that first made a bad number is named, with its operand and the line that called it."""

import gc
import sys
import weakref
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, composed_ops, nn, no_grad, where
from tinygrad_llm.anomaly import detect_anomaly
from tinygrad_llm.errors import AnomalyError, GraphError
from tinygrad_llm.graph import record_operation
from tinygrad_llm.models import GPT, GPTConfig


def leaf(*numbers: float) -> Tensor:
    return Tensor(np.array(numbers, np.float64), requires_grad=True)


def here() -> int:
    return sys._getframe(1).f_lineno


FORWARD = {
    "log": (lambda: leaf(1, 0, 2).log(), r"`log` made infinity at \[1\] \(1 of 3 elements\) from finite operands"),
    "log of a negative": (lambda: leaf(-1).log(), r"`log` made NaN at \[0\].*clip its operand"),
    "sqrt": (lambda: leaf(-1).sqrt(), "`sqrt` made NaN"),
    "div": (lambda: leaf(1, 2) / Tensor([1.0, 0.0]), r"`div` made infinity at \[1\].*operands \(2,\), \(2,\).*eps"),
    "exp": (lambda: leaf(1000).exp(), "`exp` made infinity.*subtract the largest first"),
    "pow": (lambda: leaf(0) ** -1, "`pow` made infinity"),
    "overflow": (lambda: leaf(1e200) / leaf(1e-200), "`div` made infinity"),
    "mean": (lambda: Tensor(np.ones((0, 2)), requires_grad=True).mean(0), "`mean` made NaN.*the mean of no elements"),
    "infinity - infinity": (
        lambda: Tensor([np.inf]) * 1 + leaf(1) * 0 + Tensor([-np.inf]),
        r"`add` made NaN at \[0\].*infinite operands",
    ),
}


@pytest.mark.parametrize("case", FORWARD)
def test_forward(case: str) -> None:
    run, message = FORWARD[case]
    with np.errstate(invalid="ignore"):
        with pytest.raises(AnomalyError, match=f"detect_anomaly: {message}"), detect_anomaly():
            run()
        run()


def test_forward_under_no_grad() -> None:
    with pytest.raises(AnomalyError, match="`log` made infinity"), detect_anomaly(), no_grad():
        leaf(0).log()


def test_the_first_nan_is_named_not_those_that_follow_from_it() -> None:
    with pytest.raises(AnomalyError, match="`log`"), detect_anomaly():
        (leaf(0).log() * 0 + 1).sum().backward()


def test_the_line_is_named() -> None:
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        line = here() + 1
        leaf(0).log()
    assert f"called at test_anomaly.py:{line} in test_the_line_is_named" in str(caught.value)


def test_inside_a_model_the_layer_and_the_caller_are_named() -> None:
    layer = nn.Linear(2, 2)
    layer.weight.data[0, 0] = np.nan
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        layer(Tensor(np.ones((1, 2), np.float32)))
    message = str(caught.value).replace("\\", "/")
    assert "operand 1 of `linear` came in holding NaN at [0, 0] (1 of 4 elements)" in message
    assert "tinygrad_llm/nn/linear.py:" in message
    assert "test_anomaly.py:" in message


def test_the_infinity_of_a_mask_is_meant() -> None:
    scores, hidden = leaf(1, 2, 3), np.array([False, True, False])
    with detect_anomaly():
        for masked in (
            scores.masked_fill(hidden, -np.inf),
            where(~hidden, scores, -np.inf),
            scores + np.where(hidden, -np.inf, 0),
            scores.pad([(1, 1)], value=-np.inf),
        ):
            masked.exp().sum().backward()
    assert np.isfinite(scores.grad).all()


@pytest.mark.parametrize("composed", [False, True])
def test_a_healthy_model_passes(composed: bool) -> None:
    model = GPT(GPTConfig(vocab_size=7, context_length=4, embedding_dim=8, num_heads=2, num_layers=2))
    ids = np.array([[1, 2, 3, 4]])
    with detect_anomaly():
        if composed:
            with composed_ops():
                model.loss(ids, ids).backward()
        else:
            model.loss(ids, ids).backward()
    assert all(p.grad is not None for p in model.parameters())


def test_backward_names_the_operation_and_the_operand() -> None:
    x = leaf(0, 4)
    with pytest.raises(AnomalyError) as caught, detect_anomaly():
        line = here() + 1
        y = x.sqrt()
        y.sum().backward()
    assert "backward of `sqrt` made infinity at [0] (1 of 2 elements) in the gradient of operand 0" in str(caught.value)
    assert f"test_anomaly.py:{line}" in str(caught.value)

    def broken(x: Tensor, y: Tensor) -> Tensor:
        def backward(dz: np.ndarray) -> tuple[Any, ...]:
            return None, dz * np.nan

        return record_operation(x.data + y.data, (x, y), backward)

    with pytest.raises(AnomalyError, match=r"backward of `broken` made NaN.*operand 1"), detect_anomaly():
        broken(leaf(1), leaf(2)).backward()


def test_backward_of_a_graph_from_before() -> None:
    y = leaf(0).sqrt()
    with pytest.raises(AnomalyError, match=r"`sqrt`.*recorded before detect_anomaly began"), detect_anomaly():
        y.backward()


def test_a_gradient_that_was_bad_before_any_backward() -> None:
    with pytest.raises(AnomalyError, match=r"arrived at `mul` holds NaN.*was started with it"), detect_anomaly():
        (leaf(1) * 2).backward(np.array([np.nan]))
    x = leaf(1e-300)
    with (
        np.errstate(over="ignore"),
        pytest.raises(AnomalyError, match=r"arrived at `mul` holds infinity.*overflowed in their sum"),
        detect_anomaly(),
    ):
        y = x * 2
        (y * 1.5e308 + y * 1.5e308).backward(np.ones(1))


WRITES = {
    "an operand": (lambda x, h, y: x.data.__setitem__(0, 5), "operand 0 of `mul`"),
    "the other operand": (lambda x, h, y: h.data.__iadd__(1), "operand 1 of `mul`"),
    "the result": (lambda x, h, y: y.data.__imul__(2), "the result of `mul`|operand 0 of `sum`"),
    "another array": (lambda x, h, y: setattr(x, "data", np.ones(2)), "operand 0 of `mul`"),
    "another shape": (lambda x, h, y: setattr(x, "data", np.ones((2, 1))), "operand 0 of `mul`"),
    "through a view": (lambda x, h, y: x.data[1:].fill(9), "operand 0 of `mul`"),
}


@pytest.mark.parametrize("case", WRITES)
def test_a_write_that_the_graph_cannot_see(case: str) -> None:
    write, operand = WRITES[case]
    x, h = leaf(1, 2), leaf(3, 4)
    with pytest.raises(GraphError, match=f"({operand}).*was written into after") as caught, detect_anomaly():
        y = x * h
        loss = y.sum()
        write(x, h, y)
        loss.backward()
    assert "test_anomaly.py" in str(caught.value)


def test_writes_that_do_no_harm() -> None:
    x = leaf(1, 2)
    with detect_anomaly():
        y = x * x
        x.data[0] = x.data[0]
        loss = y.sum()
        loss.backward()
        x.data -= 0.1 * x.grad  # after backward, as an optimizer does
        (x * x).sum().backward()


def test_a_second_walk_is_watched_too() -> None:
    x = leaf(1, 2)
    with pytest.raises(GraphError, match="operand 0 of `mul`"), detect_anomaly():
        loss = (x * x).sum()
        loss.backward(retain_graph=True)
        loss.backward(retain_graph=True)
        x.data[0] = 7
        loss.backward()


def test_it_is_over_at_the_end_of_the_block() -> None:
    with detect_anomaly():
        pass
    assert leaf(0).log().data == -np.inf


def test_watching_keeps_no_activation_alive() -> None:
    gc.disable()
    try:
        with detect_anomaly():
            x = leaf(1, 2)
            y = x * x
            z = y.exp()  # whose backward holds its result
            seen = weakref.ref(y.data), weakref.ref(y), weakref.ref(z.data)
            z.sum().backward()
            del y, z
            assert [one() for one in seen] == [None, None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (1, 1)])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_every_shape_and_dtype_passes(shape: tuple[Any, ...], dtype: type) -> None:
    x = Tensor(np.ones(shape, dtype), requires_grad=True)
    with detect_anomaly():
        (x.broadcast_to((2, *shape)).T * 2).sum().backward()
    assert x.grad.shape == shape
