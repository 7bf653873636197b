"""Groups, checks and the state dict: what all optimizers share."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor
from tinygrad_llm.errors import ConfigError, DTypeError, ShapeError, StateDictError
from tinygrad_llm.optim import SGD, Adam, AdamW, Optimizer


def leaf(*shape: int, seed: int = 0) -> Tensor:
    return Tensor(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32), requires_grad=True)


class TestGroups:
    def test_defaults_fill_what_a_group_leaves_out(self) -> None:
        matrix, bias = leaf(2, 2), leaf(2)
        groups = [{"params": [matrix], "weight_decay": 0.1}, {"params": iter([bias]), "lr": 1.0}]
        optimizer = AdamW(groups, lr=0.5, weight_decay=0.0)
        assert [(g["lr"], g["weight_decay"]) for g in optimizer.param_groups] == [(0.5, 0.1), (1.0, 0.0)]
        assert optimizer.param_groups[1]["params"][0] is bias

    def test_each_group_steps_with_its_own_rate_even_when_changed_later(self) -> None:
        slow, fast = leaf(1), leaf(1)
        before = slow.data.copy(), fast.data.copy()
        optimizer = SGD([{"params": [slow], "lr": 1.0}, {"params": [fast]}], lr=2.0)
        optimizer.param_groups[0]["lr"] = 0.25
        slow.grad = fast.grad = np.ones(1, np.float32)
        optimizer.step()
        np.testing.assert_allclose([before[0] - slow.data, before[1] - fast.data], [[0.25], [2.0]], rtol=1e-6)

    def test_shared_weights_are_updated_once(self) -> None:
        shared = leaf(1)
        before = shared.data.copy()
        optimizer = SGD([("embedding", shared), ("head", shared)], lr=1.0)
        shared.grad = np.ones(1, np.float32)
        optimizer.step()
        np.testing.assert_allclose(before - shared.data, [1.0], rtol=1e-6)
        assert optimizer.param_groups[0]["param_names"] == ["embedding"]

    def test_one_parameter_in_two_groups_is_refused(self) -> None:
        shared = leaf(1)
        with pytest.raises(ConfigError, match=r"head of shape .* is in two"):
            SGD([{"params": [("embedding", shared)]}, {"params": [("head", shared)]}])

    def test_a_group_may_be_added_later(self) -> None:
        first, later = leaf(1), leaf(1)
        optimizer = SGD([first], lr=0.5)
        optimizer.add_param_group({"params": [later], "lr": 0.1})
        assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.1]

    def test_frozen_parameters_may_be_listed(self) -> None:
        frozen = Tensor([1.0])
        optimizer = AdamW([frozen])
        optimizer.step()
        assert frozen.data[0] == 1

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ([], "at least one parameter"),
            (iter([]), "at least one parameter"),
            ([{"params": []}], "at least one parameter"),
            (leaf(2), "got one Tensor"),
            ({"weight": leaf(2)}, "got one dict"),
            (None, "got one NoneType"),
            ([np.ones(2)], "parameter 0 is ndarray"),
            ([("weight", 3.0)], "weight is float"),
            ([("weight", leaf(2), 1)], "parameter 0 is tuple"),
            ([{"lr": 1.0}], '"params"'),
            ([{"params": leaf(2)}], "got one Tensor"),
            ([{"params": [leaf(2)], "learning_rate": 1.0}], "got learning_rate"),
            ([{"params": [leaf(2)], "lr": -1.0}], "lr must be"),
            ([leaf(2), {"params": [leaf(2)]}], "parameter 1 is dict"),
        ],
    )
    def test_what_is_no_list_of_parameters(self, params: Any, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            SGD(params)

    def test_a_computed_tensor_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="leaf"):
            SGD([leaf(2) * 2.0])

    @pytest.mark.parametrize("dtype", [np.int64, np.float16])
    def test_other_dtypes_are_refused(self, dtype: type) -> None:
        with pytest.raises(DTypeError, match="float32 or float64"):
            SGD([Tensor(np.ones(2, dtype))])

    def test_zero_grad_forgets(self) -> None:
        weight = leaf(2)
        optimizer: Optimizer = SGD([weight])
        (weight * weight).sum().backward()
        optimizer.zero_grad()
        assert weight.grad is None


class TestStepChecks:
    def step_with(self, change: Callable[..., Any], error: type, message: str) -> None:
        first, second = leaf(2), leaf(2)
        optimizer = AdamW([("first", first), ("second", second)])
        for weight in (first, second):
            weight.grad = np.ones(2, np.float32)
        optimizer.step()
        change(second)
        before = first.data.copy()
        with pytest.raises(error, match=message):
            optimizer.step()
        assert (first.data == before).all(), "a refused step must leave the parameters before it alone"

    def test_gradient_of_another_shape(self) -> None:
        def change(weight: Tensor) -> None:
            weight.grad = np.ones((1, 2), np.float32)

        self.step_with(change, ShapeError, r"gradient of second must be \(2,\)")

    def test_gradient_of_another_dtype(self) -> None:
        def change(weight: Tensor) -> None:
            weight.grad = np.ones(2)

        self.step_with(change, DTypeError, "gradient of second must be float32; got float64")

    def test_parameter_converted_after_its_moments_were_made(self) -> None:
        def change(weight: Tensor) -> None:
            weight.data, weight.grad = weight.data.astype(np.float64), np.ones(2)

        self.step_with(change, DTypeError, "second is now float64")

    def test_read_only_parameter(self) -> None:
        def change(weight: Tensor) -> None:
            weight.data.flags.writeable = False

        self.step_with(change, DTypeError, "second is read-only")


def make_optimizer(kind: str, weights: list[Tensor]) -> Optimizer:
    if kind == "AdamW":
        groups = [{"params": [("a", weights[0])], "weight_decay": 0.1}, {"params": [("b", weights[1])]}]
        return AdamW(groups, lr=0.01, betas=(0.9, 0.95))
    return SGD(weights, lr=0.01, momentum=0.9)


def train(optimizer: Optimizer, weights: list[Tensor], steps: range) -> None:
    for step in steps:
        for i, weight in enumerate(weights):
            weight.grad = np.random.default_rng([step, i]).standard_normal(weight.shape, dtype=np.float32)
        optimizer.param_groups[0]["lr"] = 0.01 / (step + 1)
        optimizer.step()


class TestStateDict:
    @pytest.mark.parametrize("kind", ["AdamW", "SGD"])
    @pytest.mark.parametrize("stop", [0, 1, 4])
    def test_resuming_equals_never_stopping(self, kind: str, stop: int) -> None:
        whole = [leaf(3, 4), leaf(5)]
        train(make_optimizer(kind, whole), whole, range(7))

        first = [leaf(3, 4), leaf(5)]
        optimizer = make_optimizer(kind, first)
        train(optimizer, first, range(stop))
        saved = copy.deepcopy(optimizer.state_dict())
        second = [Tensor(weight.data.copy(), requires_grad=True) for weight in first]
        optimizer = make_optimizer(kind, second)
        optimizer.load_state_dict(saved)
        train(optimizer, second, range(stop, 7))
        for a, b in zip(whole, second, strict=True):
            assert a.data.tobytes() == b.data.tobytes()

    def test_layout(self) -> None:
        weights = [leaf(3, 4), leaf(5)]
        optimizer = make_optimizer("AdamW", weights)
        train(optimizer, weights, range(2))
        saved = optimizer.state_dict()
        assert list(saved["state"]) == [0, 1]
        assert saved["state"][1]["step"] == 2
        assert saved["state"][0]["exp_avg"].shape == (3, 4)
        assert [group["params"] for group in saved["param_groups"]] == [[0], [1]]
        assert json.loads(json.dumps(saved["param_groups"]))[1]["param_names"] == ["b"]

    def test_loading_copies_and_survives_json(self) -> None:
        weights = [leaf(3, 4), leaf(5)]
        optimizer = make_optimizer("AdamW", weights)
        train(optimizer, weights, range(2))
        saved = optimizer.state_dict()
        by_string = {str(position): entry for position, entry in saved["state"].items()}
        other = make_optimizer("AdamW", weights)
        other.load_state_dict({"state": by_string, "param_groups": json.loads(json.dumps(saved["param_groups"]))})
        assert other.param_groups[0]["betas"] == (0.9, 0.95)
        assert other.param_groups[0]["lr"] == 0.005
        ours, loaded = optimizer.state[weights[1]], other.state[weights[1]]
        assert ours["exp_avg"].tobytes() == loaded["exp_avg"].tobytes()
        assert not np.shares_memory(ours["exp_avg"], loaded["exp_avg"])

    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda s: s.pop("state"), "param_groups"),
            (lambda s: s["param_groups"].pop(), r"\[1, 1\], in the state dict \[1\]"),
            (lambda s: s["param_groups"][0].update(params=[0, 7]), r"in the state dict \[2, 1\]"),
            (lambda s: s["param_groups"][1].update(param_names=["c"]), "here comes b, in the state dict c"),
            (lambda s: s["param_groups"][0].pop("betas"), "missing betas"),
            (lambda s: s["param_groups"][0].update(lr=-1.0), "group 0 .* lr"),
            (lambda s: s["state"].update({2: s["state"][0]}), "positions below 2; got 2"),
            (lambda s: s["state"].update(x={}), "positions below 2; got 'x'"),
            (lambda s: s["state"].update({0: None}), "the state of 0 must hold"),
            (lambda s: s["state"][0].pop("exp_avg"), "exp_avg"),
            (lambda s: s["state"][0].update(momentum_buffer=1), "momentum_buffer"),
            (lambda s: s["state"][0].update(step=1.5), "count of steps; got 1.5"),
            (lambda s: s["state"][1].update(exp_avg=np.zeros(4, np.float32)), r"float32 \(5,\); got float32 \(4,\)"),
            (lambda s: s["state"][1].update(exp_avg=np.zeros(5)), "got float64"),
            (lambda s: s["state"][1].update(exp_avg=[0.0] * 5), "got list"),
        ],
    )
    def test_misfitting_arguments_are_refused_and_change_nothing(self, spoil: Callable[..., Any], message: str) -> None:
        weights = [leaf(3, 4), leaf(5)]
        optimizer = make_optimizer("AdamW", weights)
        train(optimizer, weights, range(2))
        saved = copy.deepcopy(optimizer.state_dict())
        saved["param_groups"][0]["weight_decay"] = 0.7
        spoil(saved)
        before = copy.deepcopy(optimizer.state_dict())
        with pytest.raises(StateDictError, match=message):
            optimizer.load_state_dict(saved)
        after = optimizer.state_dict()
        assert after["param_groups"] == before["param_groups"]
        assert (after["state"][1]["exp_avg"] == before["state"][1]["exp_avg"]).all()

    def test_another_kind_of_optimizer(self) -> None:
        weight = leaf(2)
        with pytest.raises(StateDictError, match="another kind"):
            SGD([weight]).load_state_dict(AdamW([weight]).state_dict())


def test_a_boolean_is_no_count_of_steps() -> None:
    parameter = leaf(2)
    optimizer = AdamW([parameter])
    parameter.grad = np.ones(2, np.float32)
    optimizer.step()
    state = optimizer.state_dict()
    state["state"][next(iter(state["state"]))]["step"] = True
    with pytest.raises(StateDictError, match="count of steps"):
        optimizer.load_state_dict(state)


def test_a_pair_whose_first_is_no_name_is_refused() -> None:
    with pytest.raises((ConfigError, DTypeError)):
        AdamW([(1, leaf(2))])


def test_parameters_without_names_have_no_names_in_their_group() -> None:
    assert "param_names" not in AdamW([leaf(2)]).param_groups[0]
    assert AdamW([("a", leaf(2))]).param_groups[0]["param_names"] == ["a"]


@pytest.mark.parametrize(
    ("kind", "defaults"),
    [
        (SGD, {"lr": 1e-3, "momentum": 0.0, "weight_decay": 0.0, "nesterov": False, "dampening": 0.0}),
        (Adam, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}),
        (AdamW, {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}),
    ],
)
def test_the_defaults_are_pytorchs(kind: Any, defaults: dict[str, Any]) -> None:
    group = kind([leaf(2)]).param_groups[0]
    assert {name: group[name] for name in defaults} == defaults
