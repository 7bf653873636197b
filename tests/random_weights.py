"""Models with random weights, and whether two models have the same."""

from typing import Any

from tinygrad_llm import Generator


def with_random_weights(model: Any, std: float) -> Any:
    """The model; no two weights are equal, no bias is 0 and no scale 1."""
    for parameter in model.parameters():
        parameter.data += Generator(parameter.size).normal(0.0, std, parameter.shape)
    return model


def same(first: Any, second: Any) -> bool:
    """Whether the weights of two models are equal in name, dtype and every bit."""
    one, two = first.state_dict(), second.state_dict()
    return one.keys() == two.keys() and all(
        one[name].dtype == two[name].dtype and one[name].tobytes() == two[name].tobytes() for name in one
    )
