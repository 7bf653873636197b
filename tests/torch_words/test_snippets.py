"""Code in PyTorch's words prints here what it prints in PyTorch."""

import json
import sys
import warnings

import pytest
from torch_words.snippets import CODES, PRINTED, printed

import tinygrad_llm.torch

EXPECTED = json.loads(PRINTED.read_text("utf-8"))


@pytest.mark.parametrize("code", CODES)
def test_a_snippet_prints_what_pytorch_prints(code: str) -> None:
    if sys.version_info >= (3, 12) and "OrderedDict([" in EXPECTED[code]:
        pytest.skip("Python 3.12 prints an OrderedDict as a dict")
    assert printed(code, tinygrad_llm.torch) == EXPECTED[code]


def test_what_is_recorded_is_what_pytorch_prints() -> None:
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert {code: printed(code, torch) for code in CODES} == EXPECTED
