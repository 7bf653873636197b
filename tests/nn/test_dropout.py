"""The dropout layer and its random numbers."""

import numpy as np

from tinygrad_llm import Generator, default_generator, manual_seed, nn


def test_dropout_scales_kept_elements_and_is_off_in_evaluation() -> None:
    layer, x = nn.Dropout(0.25, Generator(0)), np.ones(10000, np.float32)
    y = layer(x).data
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert abs((y == 0).mean() - 0.25) < 0.02
    np.testing.assert_array_equal(layer.eval()(x).data, x)


def test_dropout_draws_from_its_own_generator_and_leaves_the_default_alone() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.FeedForward(4, activation=nn.Dropout(0.5)))
    nn.draw_dropout_from(model, Generator(9))
    x = np.ones((1, 3, 4), np.float32)
    before = manual_seed(1).state()
    first = model(x).data
    after = default_generator().state()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    nn.draw_dropout_from(model, Generator(9))
    manual_seed(2)
    np.testing.assert_array_equal(model(x).data, first)
    assert not np.array_equal(model(x).data, first)


def test_dropout_without_a_generator_draws_from_the_default() -> None:
    layer, x = nn.Dropout(0.5), np.ones(64, np.float32)
    manual_seed(1)
    first = layer(x).data
    manual_seed(1)
    np.testing.assert_array_equal(layer(x).data, first)
