"""Each check names the caller and the argument, states the invariant and says what came."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, checks
from tinygrad_llm.errors import ConfigError, DTypeError, IdRangeError, ShapeError

REFUSED = [
    (checks.expect_number, (-0.5,), "SGD: rate must be a number, at least 0 and finite; got -0.5"),
    (checks.expect_number, (True,), "SGD: rate must be a number, at least 0 and finite; got True"),
    (checks.expect_number, (1.0, 0.0, 1.0), "SGD: rate must be a number, at least 0 and below 1; got 1.0"),
    (checks.expect_number, (float("nan"),), "SGD: rate must be a number, at least 0 and finite; got nan"),
    (checks.expect_count, (0,), "SGD: rate must be an integer of at least 1; got 0"),
    (checks.expect_count, (2.0, 0), "SGD: rate must be an integer of at least 0; got 2.0"),
    (checks.expect_probability, (1.5,), r"SGD: rate must be a probability in [0, 1]; got 1.5"),
    (checks.expect_probability, ("1",), r"SGD: rate must be a probability in [0, 1]; got '1'"),
    (checks.expect_choice, ("c", ("a", "b")), """SGD: rate must be "a" or "b"; got 'c'"""),
    (checks.expect_choice, (None, ("a",)), 'SGD: rate must be "a"; got None'),
    (checks.expect_choice, ([], {"a": 1}), 'SGD: rate must be "a"; got []'),
    (checks.expect_choice, ("", ("a", "b", "c")), """SGD: rate must be "a", "b" or "c"; got ''"""),
    (checks.expect_count, (True,), "SGD: rate must be an integer of at least 1; got True"),
    (checks.expect_probability, (True,), "SGD: rate must be a probability in [0, 1]; got True"),
    (checks.expect_probability, (-0.1,), "SGD: rate must be a probability in [0, 1]; got -0.1"),
]


@pytest.mark.parametrize(("check", "given", "message"), REFUSED)
def test_settings(check: Callable[..., Any], given: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        check("SGD", "rate", *given)
    assert str(error.value) == message


def test_what_fits_passes() -> None:
    checks.expect_number("f", "x", np.float32(0.5), high=1)
    checks.expect_count("f", "x", np.int64(3), at_least=3)
    checks.expect_number("f", "x", 0)
    checks.expect_count("f", "x", 1)
    checks.expect_probability("f", "x", 1)
    checks.expect_probability("f", "x", 0.0)
    checks.expect_choice("f", "x", "b", ("a", "b"))
    checks.expect_sizes("f", rows=1, columns=2)
    checks.expect_shape("f", np.ones((2, 3)), (3,), weight=Tensor(np.ones(3)), bias=None)
    checks.expect_axes("f", np.ones((2, 3)), 2)


def test_sizes_and_shapes() -> None:
    with pytest.raises(ConfigError, match="Linear: columns must be an integer of at least 1; got 0"):
        checks.expect_sizes("Linear", rows=1, columns=0)
    with pytest.raises(ShapeError, match=r"f: bias must be \(3,\) to match x \(2, 3\); got \(4,\)"):
        checks.expect_shape("f", np.ones((2, 3)), (3,), bias=Tensor(np.ones(4)))
    with pytest.raises(ShapeError, match=r"f: x needs at least 3 axes; got shape \(2, 3\)"):
        checks.expect_axes("f", np.ones((2, 3)), 3)


def test_ids() -> None:
    np.testing.assert_array_equal(checks.expect_ids("f", Tensor([1, 2]), 3), [1, 2])
    np.testing.assert_array_equal(checks.expect_ids("f", [1, -100], 3, ignored=-100), [1, -100])
    assert checks.expect_ids("f", [], 3).dtype == np.int64
    with pytest.raises(IdRangeError, match=r"f: ids must be in \[0, 3\); got 3 at position \(0, 1\)"):
        checks.expect_ids("f", [[0, 3]], 3)
    with pytest.raises(IdRangeError, match=r"got -1 at position \(2,\)"):
        checks.expect_ids("f", [0, -100, -1, 3], 3, ignored=-100)
    with pytest.raises(DTypeError, match="f: ids must be integers; got float32"):
        checks.expect_ids("f", [1.5], 3)


def test_a_boolean_is_no_count() -> None:
    with pytest.raises(ConfigError, match="integer"):
        checks.expect_count("f", "steps", True)
