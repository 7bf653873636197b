"""The functions beside the Tensor's methods: both have PyTorch's defaults."""

import inspect
from typing import Any

import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.primitives import functions

DEFAULTS = {
    "cat": (0,),
    "stack": (0,),
    "split": (0,),
    "pad": (0.0,),
    "tril": (0,),
    "triu": (0,),
    "sum": (None, False),
    "mean": (None, False),
    "var": (None, False, 1, None),
    "max": (None, False),
    "min": (None, False),
    "logsumexp": (None, False),
    "argmax": (None, False),
    "backward": (None, False),
    "backward_steps": (None, False),
}


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_of_a_method_and_of_the_function(name: str) -> None:
    forms: list[Any] = [getattr(home, name) for home in (Tensor, functions) if hasattr(home, name)]
    assert forms
    for form in forms:
        parameters = inspect.signature(form).parameters.values()
        assert tuple(one.default for one in parameters if one.default is not one.empty) == DEFAULTS[name]
