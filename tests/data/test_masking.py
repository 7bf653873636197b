"""Masked language modelling: the share of masked tokens, their replacements, and resuming."""

from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Generator
from tinygrad_llm.data import MaskedLoader, WindowLoader, framed, mask_tokens
from tinygrad_llm.errors import ConfigError


def test_eighty_ten_ten() -> None:
    ids = Generator(0).randint(0, 100, (200, 500))
    inputs, targets = mask_tokens(ids, mask_id=100, vocab_size=100, generator=Generator(1))
    chosen = targets != -100
    assert chosen.mean() == pytest.approx(0.15, abs=0.005)
    np.testing.assert_array_equal(targets[chosen], ids[chosen])
    np.testing.assert_array_equal(inputs[~chosen], ids[~chosen])
    hidden, kept = inputs[chosen] == 100, inputs[chosen] == ids[chosen]
    assert hidden.mean() == pytest.approx(0.8, abs=0.01)
    assert kept.mean() == pytest.approx(0.101, abs=0.01)  # a hundredth of the random ones is the word itself
    others = inputs[chosen][~hidden & ~kept]
    assert others.min() == 0 and others.max() == 99 and len(np.unique(others)) == 100


def test_the_share_is_a_probability() -> None:
    ids = np.arange(20).reshape(2, 10)
    assert (mask_tokens(ids, 20, 20, Generator(0), 1.0)[1] == ids).all()
    inputs, targets = mask_tokens(ids, 20, 20, Generator(0), 0.0)
    assert (inputs == ids).all() and (targets == -100).all()
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match=r"share must be a probability in \[0, 1\]"):
            mask_tokens(ids, 20, 20, Generator(0), share)


def loader() -> MaskedLoader:
    return MaskedLoader(WindowLoader(np.arange(200) % 50, 8, 4, Generator(1)), 50, 50, Generator(2))


def test_a_frame_surrounds_each_row_and_is_no_target() -> None:
    batches = MaskedLoader(WindowLoader(np.arange(200) % 50, 8, 4, Generator(1)), 50, 50, Generator(2), 1.0, (51, 52))
    for inputs, targets in batches:
        assert inputs.shape == targets.shape == (len(inputs), 10) and inputs.dtype == targets.dtype == np.int64
        assert (inputs[:, 0] == 51).all() and (inputs[:, -1] == 52).all()
        assert (targets[:, [0, -1]] == -100).all() and (targets[:, 1:-1] >= 0).all()
    one, other = next(iter(loader())), (np.ones((1, 2)), np.ones((1, 2)))
    assert one[0].shape == (4, 8) and framed(other, ()) is other


def test_every_epoch_masks_other_tokens() -> None:
    batches = loader()
    first, second = ([targets for _, targets in batches] for _ in range(2))
    assert len(first) == len(second) > 3
    assert any((a != b).any() for a, b in zip(first, second, strict=True))


def test_resuming_masks_the_same_tokens() -> None:
    one, other = loader(), loader()
    batches = iter(one)
    for _ in range(3):
        next(batches)
    other.set_state(one.state())
    for expected, found in zip(batches, other, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("state", [{}, {"loader": {}}, None, 3])
def test_other_states_are_refused(state: dict[str, Any] | int | None) -> None:
    with pytest.raises(ConfigError, match="needs what state"):
        loader().set_state(state)
