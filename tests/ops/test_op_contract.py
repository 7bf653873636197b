"""What every op owes the engine, whatever it computes: asked of each fused op and of its definition alike."""

import inspect
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, no_grad
from tinygrad_llm.gradcheck import spread
from tinygrad_llm.ops import FUSED
from tinygrad_llm.verify.op_cases import CASES, Case

SMALL = [case for case in CASES if max(map(np.size, case.inputs)) < 2000]
both_sides = pytest.mark.parametrize("side", ["fused", "composed"])
each_case = pytest.mark.parametrize("case", SMALL, ids=str)


def float_tensors(inputs: list[Tensor]) -> list[Tensor]:
    return [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]


def assert_same(got: list[np.ndarray], expected: list[Any]) -> None:
    for one, other in zip(got, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13, strict=True)


def everything(
    case: Case, function: Callable[..., Any], inputs: list[Tensor], dy: np.ndarray | None = None
) -> list[np.ndarray]:
    """The output and all gradients."""
    y = case.call(function, inputs)
    y.backward(spread(y.shape, 7) if dy is None else dy)
    return [y.data, *(x.grad for x in float_tensors(inputs))]


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


@both_sides
@each_case
def test_writes_into_nothing_that_it_was_given(case: Case, side: str) -> None:
    options = {name: read_only(x) if isinstance(x, np.ndarray) else x for name, x in case.options.items()}
    case = replace(case, options=options)
    inputs = case.tensors()
    for x in inputs:
        if isinstance(x, Tensor):
            x.data = read_only(x.data)
    dy = read_only(spread(case.call(getattr(FUSED[case.op], side), inputs).shape, 7))
    before = [x.data.copy() for x in inputs if isinstance(x, Tensor)]
    everything(case, getattr(FUSED[case.op], side), inputs, dy)
    assert_same([x.data for x in inputs if isinstance(x, Tensor)], before)
    np.testing.assert_array_equal(dy, spread(dy.shape, 7))


@both_sides
@each_case
def test_any_layout_in_memory_gives_the_same(case: Case, side: str) -> None:
    """Inputs and dy laid out back to front, and with gaps between the numbers."""
    function = getattr(FUSED[case.op], side)
    expected = everything(case, function, case.tensors())
    for lay_out in (back_to_front, with_gaps):
        inputs = case.tensors()
        for x in float_tensors(inputs):
            x.data = lay_out(x.data)
        assert_same(everything(case, function, inputs, lay_out(spread(expected[0].shape, 7))), expected)


def back_to_front(x: np.ndarray) -> np.ndarray:
    return x.T.copy(order="C").T


def with_gaps(x: np.ndarray) -> np.ndarray:
    wide = np.full((*x.shape, 2), np.nan)  # a wrong stride would read NaN
    wide[..., 0] = x
    return wide[..., 0]


@both_sides
@each_case
def test_dy_may_be_one_number_seen_many_times(case: Case, side: str) -> None:
    function = getattr(FUSED[case.op], side)
    shape = case.call(function, case.tensors()).shape
    stretched = np.broadcast_to(np.float64(0.7), shape)
    assert_same(
        everything(case, function, case.tensors(), stretched),
        everything(case, function, case.tensors(), np.full(shape, 0.7)),
    )


@both_sides
@each_case
def test_two_backwards_double_the_gradients(case: Case, side: str) -> None:
    """What was saved for backward must come out of it as it went in."""
    inputs = case.tensors()
    y = case.call(getattr(FUSED[case.op], side), inputs)
    dy = spread(y.shape, 7)
    y.backward(dy, retain_graph=True)
    first = [x.grad.copy() for x in float_tensors(inputs)]
    output = y.data.copy()
    y.backward(dy)
    np.testing.assert_array_equal(y.data, output)
    assert_same([x.grad for x in float_tensors(inputs)], [2 * gradient for gradient in first])


@both_sides
@each_case
def test_each_gradient_can_be_asked_for_alone(case: Case, side: str) -> None:
    function = getattr(FUSED[case.op], side)
    everyone = case.tensors()
    everything(case, function, everyone)
    for wanted, reference in enumerate(everyone):
        if not isinstance(reference, Tensor) or not reference.requires_grad:
            continue
        inputs = [x if i == wanted or not isinstance(x, Tensor) else x.detach() for i, x in enumerate(case.tensors())]
        everything(case, function, inputs)
        assert_same([inputs[wanted].grad], [reference.grad])
        assert all(x.grad is None for i, x in enumerate(inputs) if isinstance(x, Tensor) and i != wanted)


@both_sides
@each_case
def test_no_operation_is_recorded_without_need(case: Case, side: str) -> None:
    function = getattr(FUSED[case.op], side)
    recorded = case.call(function, case.tensors())
    with no_grad():
        unrecorded = case.call(function, case.tensors())
    plain = case.call(function, [x.detach() if isinstance(x, Tensor) else x for x in case.tensors()])
    assert unrecorded.node is None
    assert plain.node is None
    assert_same([unrecorded.data, plain.data], [recorded.data] * 2)


def records(case: Case) -> bool:
    """Not where dropout hands its input back."""
    return case.op != "dropout" or (case.options["p"] > 0 and case.options.get("training", True))


recorded_cases = pytest.mark.parametrize("case", [case for case in SMALL if records(case)], ids=str)


@both_sides
@recorded_cases
def test_the_graph_dies_with_its_output(case: Case, side: str, no_collector: None) -> None:
    y = case.call(getattr(FUSED[case.op], side), case.tensors())
    alive = [weakref.ref(y), weakref.ref(y.data), weakref.ref(y.node.backward)]
    del y
    assert [one() for one in alive] == [None] * 3


@both_sides
@recorded_cases
def test_activations_die_as_the_walk_passes(case: Case, side: str, no_collector: None) -> None:
    y = case.call(getattr(FUSED[case.op], side), case.tensors())
    backward = weakref.ref(y.node.backward)
    y.backward(spread(y.shape, 7))
    assert backward() is None
    assert y.data is not None


DEFAULTS = {
    "scaled_dot_product_attention": (None, 0.0, False, None, None, None),
    "cross_entropy": (-100, 0.0, "mean"),
    "linear_cross_entropy": (-100, 0.0),
    "dropout": (0.5, True, None),
    "gelu": ("none",),
    "layer_norm": (None, 1e-5),
    "linear": (None,),
    "log_softmax": (-1,),
    "softmax": (-1,),
}


@both_sides
@pytest.mark.parametrize("op", DEFAULTS)
def test_the_defaults_are_pytorchs(op: str, side: str) -> None:
    parameters = inspect.signature(getattr(FUSED[op], side)).parameters.values()
    assert tuple(one.default for one in parameters if one.default is not one.empty) == DEFAULTS[op]
