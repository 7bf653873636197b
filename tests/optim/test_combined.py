"""Several optimizers as one: each part's own update, one state, and the checks before any part changes something."""

import copy
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ConfigError, ShapeError, StateDictError
from tinygrad_llm.optim import AdamW, CombinedOptimizer, Muon

DRAW = np.random.default_rng(5)
SHAPES = [(4, 3), (3, 3), (5,), (2, 2)]
START = [DRAW.standard_normal(shape) for shape in SHAPES]
GRADIENTS = [[DRAW.standard_normal(shape) for shape in SHAPES] for _ in range(4)]


def leaves() -> list[Tensor]:
    return [Tensor(array.copy(), requires_grad=True) for array in START]


def parts(p: list[Tensor]) -> tuple[Any, ...]:
    adamw = AdamW([{"params": [("bias", p[2])], "weight_decay": 0.0}, {"params": [("table", p[3])]}], lr=0.1)
    return Muon([("first", p[0]), ("second", p[1])], lr=0.1), adamw


def take_steps(parameters: list[Tensor], optimizers: Any, gradients: Any) -> None:
    for arrays in gradients:
        for parameter, array in zip(parameters, arrays, strict=True):
            parameter.grad = array.copy()
        for optimizer in optimizers:
            optimizer.step()


def test_it_does_what_its_parts_do_side_by_side() -> None:
    apart, together = leaves(), leaves()
    take_steps(apart, parts(apart), GRADIENTS)
    combined = CombinedOptimizer(*parts(together))
    for group in combined.param_groups[1:]:
        assert group["betas"] == (0.9, 0.999)
    take_steps(together, [combined], GRADIENTS)
    for one, other in zip(apart, together, strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    assert {name for entry in combined.state.values() for name in entry} == set(combined.state_arrays) | {"step"}


def test_a_saved_state_goes_on_to_the_same_bits() -> None:
    whole, pieces = leaves(), leaves()
    take_steps(whole, [CombinedOptimizer(*parts(whole))], GRADIENTS)
    first = CombinedOptimizer(*parts(pieces))
    take_steps(pieces, [first], GRADIENTS[:2])
    second = CombinedOptimizer(*parts(pieces))
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    take_steps(pieces, [second], GRADIENTS[2:])
    for one, other in zip(whole, pieces, strict=True):
        np.testing.assert_array_equal(one.data, other.data)


def test_the_state_of_another_optimizer_is_refused() -> None:
    parameters = leaves()
    combined = CombinedOptimizer(*parts(parameters))
    groups = [{"params": parameters[:2]}, {"params": parameters[2:3]}, {"params": parameters[3:]}]
    with pytest.raises(StateDictError, match=r"Muon: group 0 .* missing adjust_lr_fn, momentum"):
        combined.load_state_dict(AdamW(groups).state_dict())
    take_steps(parameters, [combined], GRADIENTS[:1])
    saved = combined.state_dict()
    saved["state"][0] = dict(saved["state"][3])
    with pytest.raises(StateDictError, match=r"Muon: the state of 0 must hold \['momentum_buffer'\]"):
        combined.load_state_dict(saved)


def test_nothing_is_updated_where_one_gradient_does_not_fit() -> None:
    parameters = leaves()
    combined = CombinedOptimizer(*parts(parameters))
    for parameter in parameters:
        parameter.grad = np.ones(parameter.shape)
    parameters[3].grad = np.ones(7)
    with pytest.raises(ShapeError, match="Muon and AdamW: the gradient of table"):
        combined.step()
    for parameter, before in zip(parameters, START, strict=True):
        np.testing.assert_array_equal(parameter.data, before)


def test_a_group_that_comes_later_belongs_to_the_last_part() -> None:
    parameters = leaves()
    combined = CombinedOptimizer(Muon(parameters[:2]), AdamW(parameters[2:3]))
    combined.add_param_group({"params": [parameters[3]], "lr": 0.5})
    assert combined.rules == [combined.parts[0], combined.parts[1], combined.parts[1]]
    take_steps(parameters, [combined], GRADIENTS[:1])
    assert "exp_avg" in combined.state[parameters[3]]
    with pytest.raises(ConfigError, match="in two"):
        combined.add_param_group({"params": [parameters[0]]})


def test_parts_that_do_not_fit_are_refused() -> None:
    parameters = leaves()
    used = AdamW(parameters)
    take_steps(parameters, [used], GRADIENTS[:1])
    for wrong in ([], [used], [parameters]):
        with pytest.raises(ConfigError, match="parts must be optimizers that have taken no step"):
            CombinedOptimizer(*wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="in two"):
        CombinedOptimizer(Muon(parameters[:2]), AdamW(parameters))
