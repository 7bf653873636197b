"""Edits as text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_lab import tiny_beginning

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.edits import RateEdit, WeightEdit, edits_of, text_of

STEPS = st.integers(0, 10**8)
RATES = st.builds(RateEdit, STEPS, st.floats(0, 1e6))
WEIGHTS = st.builds(
    WeightEdit,
    STEPS,
    st.sampled_from(["head.weight", "blocks.0.attention.query.weight", "a", "a_b.c9"]),
    st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
    st.floats(-1e30, 1e30),
)


@given(st.lists(RATES | WEIGHTS, max_size=5))
def test_the_text_of_edits_is_read_back(edits: list) -> None:
    ordered = tuple(sorted(edits, key=lambda edit: edit.step))
    assert edits_of(text_of(ordered)) == ordered


@pytest.mark.parametrize(
    "text",
    [
        ";",
        "50",
        "50:rate=",
        "50:rate=nan",
        "50:rate=-1",
        "50:rate=1e999",
        "-1:rate=1",
        "5:weight=a[1]=nan",
        "5:weight=a[1]=1e39",
        "5:weight=a b[1]=1",
        "5:weight=a[x]=1",
        "9:rate=1;8:rate=1",
        "٥:rate=1",
        "1:rate=1;" * 200,
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        edits_of(text)


def test_an_edit_needs_an_element_of_the_model() -> None:
    model = tiny_beginning().model
    with pytest.raises(ConfigError, match="must name a parameter"):
        WeightEdit(0, "head", (0,), 1.0).apply(model)
    with pytest.raises(ConfigError, match="has shape"):
        WeightEdit(0, "final_norm.weight", (8,), 1.0).apply(model)
