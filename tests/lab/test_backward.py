"""The tape of a prompt's loss: gradients to the bit, windows of arrays, sources."""

import numpy as np
import pytest
from tiny_lab import PROMPT, tiny_beginning

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.backward import Recording, array_roles, window
from tinygrad_llm.lab.views import View
from tinygrad_llm.tensor import Tensor


@pytest.fixture(scope="module")
def view() -> View:
    beginning = tiny_beginning()
    return View("a model", None, beginning.model, beginning.tokenizer)


@pytest.fixture(scope="module")
def recording(view: View) -> Recording:
    return Recording.of(view, PROMPT)


def test_stepping_backward_leaves_the_gradients_of_backward_to_the_bit(view: View) -> None:
    model, ids = view.model, np.array(view.tokenizer.encode(PROMPT))
    model.eval()
    model.zero_grad()
    model.loss(ids[:-1], ids[1:]).backward()
    expected = {name: np.array(p.grad) for name, p in model.named_parameters()}
    model.zero_grad()
    recording = Recording.of(view, PROMPT)
    collected: dict[str, list[np.ndarray]] = {}
    for index in [entry.index for entry in recording.tape.backward_order]:
        answer = recording.describe_operation(index, {})
        assert answer["notKept"] == []
        entry = recording.tape[index]
        for operand in entry.operands:
            if operand.parameter is not None:
                collected.setdefault(operand.parameter, []).append(entry.arrays[f"d{operand.name}"])
    assert collected.keys() >= expected.keys() - {"head.weight"}
    for name, gradient in expected.items():
        parts = collected[name]
        assert np.array_equal(parts[0] if len(parts) == 1 else parts[0] + parts[1], gradient), name
    assert all(p.grad is None for p in model.parameters())


def test_the_answer_lists_all_operations(recording: Recording) -> None:
    answer = recording.describe()
    operations = answer["operations"]
    assert answer["order"][0] == len(operations) - 1
    assert operations[-1]["name"] == "linear_cross_entropy"
    assert answer["formulas"][operations[-1]["formula"]]
    gradients = [one["backward"]["gradients"] for one in operations if one["backward"]]
    assert all(len(one) for one in gradients)
    assert {one["module"] for one in operations} >= {"", "blocks.0.attention", "blocks.1.feed_forward.up"}
    assert answer["refused"] == 0


def test_every_array_has_a_role_and_a_window(recording: Recording) -> None:
    for entry in recording.tape:
        answer = recording.describe_operation(entry.index, {})
        assert {one["name"]: one["role"] for one in answer["arrays"]} == array_roles(entry)
        for one in answer["arrays"]:
            x = entry.arrays[one["name"]]
            rows = x.reshape(-1, *x.shape[-1:])[:64, :64] if x.ndim == 2 else None
            assert rows is None or np.array_equal(one["values"], rows.astype(np.float32))


def test_the_source_is_that_of_the_operation(recording: Recording) -> None:
    sources = {entry.name: recording.describe_operation(entry.index, {})["source"] for entry in recording.tape}
    attention = sources["scaled_dot_product_attention"]
    assert attention["forward"]["file"] == "tinygrad_llm/ops/attention.py"
    marked = attention["forward"]["lines"][attention["forward"]["marked"][0] - attention["forward"]["first"]]
    assert "record_operation(" in marked
    assert "def backward(do: Array)" in attention["backward"]["lines"][0]
    back = attention["backward"]
    assert back["lines"][back["marked"][0] - back["first"]].strip().startswith("return")
    assert attention["call"]["file"] == "tinygrad_llm/nn/attention.py"
    call = sources["gelu"]["call"]
    assert "self.activation(" in call["lines"][call["marked"][0] - call["first"]]


def test_windows_of_any_array() -> None:
    x = np.arange(3 * 100 * 70, dtype=np.float32).reshape(3, 100, 70)
    shown = window(x, [2, 90, 10])
    assert np.array_equal(shown["values"], x[2, 90:, 10:])
    assert (shown["low"], shown["high"], shown["shape"]) == (0.0, float(x.size - 1), [3, 100, 70])
    assert window(np.float32(4.0).reshape(()))["values"].tolist() == [[4.0]]
    assert window(np.arange(3.0))["values"].tolist() == [[0.0, 1.0, 2.0]]
    assert window(np.array([1.0, np.nan, np.inf]))["high"] == 1.0
    assert window(np.zeros((0, 4)))["low"] is None
    for wrong in ([0, 0], [0, 100, 0], [0, -1, 0], ["a", 0, 0], [True, 0, 0]):
        with pytest.raises(ConfigError, match="one index per axis"):
            window(x, wrong)


def test_arrays_beyond_the_budget_are_named(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_llm.lab.backward.ARRAY_BUDGET", 4_000)
    recording = Recording.of(view, PROMPT)
    assert recording.describe()["refused"] > 0
    assert recording.describe_operation(len(recording.tape) - 1, {})["notKept"] != []


def test_refusals(view: View, recording: Recording) -> None:
    with pytest.raises(ConfigError, match="two tokens, for a loss; got 1"):
        Recording.of(view, "t")
    with pytest.raises(ConfigError, match="operations are 0 to"):
        recording.entry(10_000)
    with pytest.raises(ConfigError, match="the arrays are"):
        recording.describe_operation(3, {"nothing": [0, 0]})
    assert isinstance(next(iter(view.model.parameters())), Tensor)
