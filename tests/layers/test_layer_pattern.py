"""Patterns of layers, compared with the lists that they stand for."""

from hypothesis import given
from hypothesis import strategies as st

from tinygrad_llm.layers.layer_pattern import is_of_first_kind, window_of_layer
from tinygrad_llm.models import GPTConfig


@given(first=st.integers(1, 6), second=st.integers(0, 6), layer=st.integers(0, 40))
def test_a_pattern_repeats(first: int, second: int, layer: int) -> None:
    written_out = ([True] * first + [False] * second) * 40
    assert is_of_first_kind(f"{first}:{second}", layer) == written_out[layer]


def test_the_window_of_each_layer() -> None:
    config = GPTConfig(num_layers=6, window=7, window_pattern="2:1")
    assert [window_of_layer(config, layer) for layer in range(6)] == [7, 7, None, 7, 7, None]
    assert window_of_layer(GPTConfig(window=7), 3) == 7 and window_of_layer(GPTConfig(), 3) is None
