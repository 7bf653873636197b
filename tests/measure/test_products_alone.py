"""The products of a step alone have the counted operations."""

import numpy as np
import pytest

from tinygrad_llm import study
from tinygrad_llm.measure.products_alone import products_alone
from tinygrad_llm.measure.training_step import gpt_like_nanogpt
from tinygrad_llm.models import GPT
from tinygrad_llm.ops.attention_tiles import QUERY_ROWS


@pytest.mark.parametrize("length", [QUERY_ROWS // 2, 3 * QUERY_ROWS])
def test_the_products_alone_are_those_of_forward_and_backward(monkeypatch: pytest.MonkeyPatch, length: int) -> None:
    """They have the counted operations, plus those of masked pairs in blocks on the diagonal."""
    config = gpt_like_nanogpt(65, length, 32, 2, 2)
    counted = study.flops(GPT(config), 3, length)
    worked = []

    def multiplied(a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        worked.append(2 * out.size * a.shape[-1])
        return real(a, b, out=out)

    products, real = list(products_alone(counted.products)), np.matmul
    monkeypatch.setattr(np, "matmul", multiplied)
    for product in products:
        product()
    blocks = range(0, length, QUERY_ROWS)
    hidden = sum(rows * (rows - 1) // 2 for rows in (min(QUERY_ROWS, length - start) for start in blocks))
    assert sum(worked) == 3 * counted.forward + 3 * 2 * (2 * 3 * 2 * hidden * (16 + 16))
