"""The embedding with a row for padding."""

import numpy as np
import pytest

from tinygrad_llm import Tensor, functions
from tinygrad_llm.testing import check_error

IDS = np.array([[1, 0, 1], [2, 0, 0]])


@pytest.mark.parametrize("padding", [0, -3])
def test_the_padding_row_is_looked_up_and_gets_no_gradient(padding: int) -> None:
    weight = Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    y = functions.embedding(IDS, weight, padding_idx=padding)
    np.testing.assert_array_equal(y.data, weight.data[IDS])
    y.sum().backward()
    np.testing.assert_array_equal(weight.grad, [[0, 0], [2, 2], [1, 1]])


def test_a_padding_index_outside_the_table_is_refused() -> None:
    check_error(functions.embedding, IDS, Tensor(np.ones((3, 2))), 3, says="padding_idx must be in [-3, 3)")
