"""Measured slopes agree with backward."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_lab import PROMPT, tiny_beginning

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.backward import Recording
from tinygrad_llm.lab.measuring import measure
from tinygrad_llm.lab.views import View
from tinygrad_llm.verify.faults import FAULTS


def recording_of(**changes: object) -> Recording:
    beginning = tiny_beginning(**changes)
    for parameter in beginning.model.parameters():
        if parameter.ndim == 2:
            parameter.data *= 8
    return Recording.of(View("a model", None, beginning.model, beginning.tokenizer), PROMPT)


RECORDING = recording_of()
ARRAYS = [
    (entry.index, name, shape)
    for entry in RECORDING.tape
    if entry.backward is not None
    for name, shape in [
        *(
            (operand.name, operand.shape)
            for operand, gradient in zip(entry.operands, entry.backward.gradients, strict=True)
            if gradient is not None
        ),
        (entry.backward.incoming.removeprefix("d"), entry.shape),
    ]
]


@given(st.sampled_from(ARRAYS), st.integers(0, 2**31))
def test_a_measured_slope_agrees_to_1e_6(array: tuple[int, str, tuple[int, ...]], place: int) -> None:
    index, name, shape = array
    element = tuple(int(i) for i in np.unravel_index(place % max(int(np.prod(shape)), 1), shape))
    found = measure(RECORDING, index, name, element)
    assert abs(found["difference"]) < 1e-6
    assert found["measured"] == pytest.approx(found["backward"] + found["difference"], rel=1e-9)
    arrays = RECORDING.tape[index].arrays  # of float32: the same element is meant
    assert found["backward"] == pytest.approx(arrays[f"d{name}"][element], rel=1e-2, abs=1e-5)
    assert found["value"] == pytest.approx(arrays[name][element], rel=1e-3, abs=1e-4)


def test_every_operation_is_measured_at_its_largest_gradient() -> None:
    for entry in RECORDING.tape.backward_order:
        assert entry.backward is not None
        if entry.backward.dy.largest_at is not None:
            name = entry.backward.incoming.removeprefix("d")
            found = measure(RECORDING, entry.index, name, entry.backward.dy.largest_at)
            assert found["measured"] == pytest.approx(found["backward"], rel=1e-5, abs=1e-8)
            assert found["backward"] == pytest.approx(entry.backward.dy.largest, rel=1e-3, abs=1e-6)


def test_a_wrong_backward_is_found_out() -> None:
    """With a fault in a backward, the measured slope and the promised one differ."""
    beginning = tiny_beginning()
    fault = FAULTS["embedding-overwritten"]
    view = View("a twin", None, beginning.model, beginning.tokenizer, mistaken=fault.on)
    recording = Recording.of(view, "ttttttttttttttttt")
    found = measure(recording, 0, "weight", (beginning.tokenizer.encode("t")[0], 0))
    assert abs(found["difference"]) > 1e-4


def test_measuring_changes_no_bit() -> None:
    model = RECORDING.view.model
    before = {name: np.array(x) for name, x in model.state_dict().items()}
    measure(RECORDING, 4, "weight", (1, 1))
    assert all(np.array_equal(x, before[name]) and x.dtype == np.float32 for name, x in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize(
    ("index", "name", "element", "message"),
    [
        (4, "weight", (1,), "has shape"),
        (4, "weight", (1, 99), "has shape"),
        (4, "other", (0, 0), "the arrays of operation 4 are"),
        (999, "x", (0,), "operations are 0 to"),
    ],
)
def test_refusals(index: int, name: str, element: tuple[int, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        measure(RECORDING, index, name, element)
