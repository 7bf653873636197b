"""Initial values can be left out."""

import numpy as np
import pytest

from tinygrad_llm import default_generator, manual_seed, nn


def test_without_initial_values_nothing_is_drawn() -> None:
    manual_seed(3)
    before = default_generator().state()
    with nn.init.no_initial_values():
        layers = [nn.Linear(3, 3), nn.Embedding(3, 3)]
    after = default_generator().state()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert not any(p.data.any() for layer in layers for p in layer.parameters())
    assert nn.Linear(3, 3).weight.data.any()  # and afterwards it is


def test_values_are_drawn_again_after_an_error_inside() -> None:
    with pytest.raises(KeyError), nn.init.no_initial_values():
        raise KeyError
    assert nn.Linear(3, 3).weight.data.any()
