"""The tree of modules: names, order, sharing, state, hooks, and changes to the whole tree."""

import copy
import gc
import pickle
import weakref
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, manual_seed, nn
from tinygrad_llm.errors import ConfigError, DTypeError, StateDictError, TinygradLLMError


class Scaled(nn.Module):
    """A module with one of each: its own parameter, a buffer, submodules, and attributes that are no state."""

    def __init__(self) -> None:
        self.width = 3
        self.inner = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3, bias=False))
        self.scale = nn.Parameter([1.0, 2.0, 3.0])
        self.steps = nn.Buffer(np.arange(3))
        self.offset = nn.Buffer([0.5, 0.5, 0.5])
        self.note = Tensor([1.0], requires_grad=True)
        self.norm = nn.LayerNorm(3)

    def forward(self, x: Any) -> Any:
        return self.norm(self.inner(x)) * self.scale + self.offset


class Tied(nn.Module):
    """One table for reading and writing."""

    def __init__(self) -> None:
        self.read = nn.Embedding(5, 4)
        self.write = nn.Linear(4, 5, bias=False)
        self.write.weight = self.read.weight


class Twice(nn.Module):
    """One module under two names."""

    def __init__(self) -> None:
        self.first = nn.Linear(2, 2)
        self.second = self.first


def snapshot(module: Any) -> Any:
    return {name: array.copy() for name, array in module.state_dict().items()}


def assert_state_equals(module: Any, expected: Any) -> None:
    state = module.state_dict()
    assert list(state) == list(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(state[name], array, err_msg=name)


# -- finding


def test_names_come_in_the_order_of_attributes_a_module_before_its_children() -> None:
    module = Scaled()
    assert [name for name, _ in module.named_parameters()] == [
        "scale",
        "inner.0.weight",
        "inner.0.bias",
        "inner.2.weight",
        "norm.weight",
        "norm.bias",
    ]
    assert [name for name, _ in module.named_buffers()] == ["steps", "offset"]
    assert [name for name, _ in module.named_modules()] == ["", "inner", "inner.0", "inner.1", "inner.2", "norm"]
    assert [name for name, _ in module.named_modules("top")][:2] == ["top", "top.inner"]
    assert [name for name, _ in module.named_children()] == ["inner", "norm"]
    assert list(module.children()) == [module.inner, module.norm]
    assert next(module.modules()) is module
    assert [id(p) for p in module.parameters()] == [id(p) for _, p in module.named_parameters()]
    assert [id(b) for b in module.buffers()] == [id(module.steps), id(module.offset)]
    assert list(module.state_dict()) == [
        "scale",
        "inner.0.weight",
        "inner.0.bias",
        "inner.2.weight",
        "norm.weight",
        "norm.bias",
        "steps",
        "offset",
    ]


def test_parameters_require_gradients_and_buffers_do_not() -> None:
    assert nn.Parameter([1, 2]).dtype == np.float32
    assert nn.Parameter([1.0]).requires_grad
    assert nn.Parameter(np.ones(2)).dtype == np.float64
    assert not nn.Buffer([1.0]).requires_grad
    module = Scaled()
    module(np.ones((2, 3), np.float32)).sum().backward()
    assert module.scale.grad is not None
    assert module.offset.grad is None
    module.zero_grad()
    assert all(p.grad is None for p in module.parameters())


def test_a_replaced_or_deleted_attribute_is_forgotten() -> None:
    module = Scaled()
    module.norm = nn.RMSNorm(3)
    del module.offset
    assert "norm.bias" not in module.state_dict()
    assert "offset" not in module.state_dict()


def test_counts() -> None:
    module = Scaled()
    assert module.num_parameters() == 3 + 12 + 4 + 12 + 3 + 3
    module.inner.requires_grad_(False)
    assert module.num_parameters(trainable_only=True) == 9
    assert module.num_parameters() == 37
    module.inner.requires_grad_()
    assert module.num_parameters(trainable_only=True) == 37
    assert Tied().num_parameters() == 20


def test_a_module_with_a_reference_to_its_parent_is_walked_once() -> None:
    module = Twice()
    module.first.parent = module
    assert len(list(module.parameters())) == 2
    assert len(list(module.modules())) == 2
    assert list(module.state_dict()) == ["first.weight", "first.bias"]


# -- sharing


def test_a_shared_parameter_is_found_once_under_its_first_name() -> None:
    tied = Tied()
    assert [name for name, _ in tied.named_parameters()] == ["read.weight"]
    assert list(tied.state_dict()) == ["read.weight"]


@pytest.mark.parametrize("name", ["read.weight", "write.weight"])
def test_a_shared_parameter_may_come_under_any_name_and_stays_shared(name: str) -> None:
    tied, table = Tied(), np.arange(20, dtype=np.float32).reshape(5, 4)
    result = tied.load_state_dict({name: table})
    assert result == ([], [])
    assert tied.read.weight is tied.write.weight
    np.testing.assert_array_equal(tied.write.weight.data, table)


def test_a_shared_parameter_may_come_twice_if_both_agree() -> None:
    tied, table = Tied(), np.ones((5, 4), np.float32)
    tied.load_state_dict({"read.weight": table, "write.weight": table.copy()})
    broken = np.where(table > 0, np.nan, 0)
    tied.load_state_dict({"read.weight": broken, "write.weight": broken.copy()})
    before = snapshot(tied)
    with pytest.raises(StateDictError, match=r"read\.weight and write\.weight are one shared parameter"):
        tied.load_state_dict({"read.weight": table, "write.weight": table + 1})
    assert_state_equals(tied, before)


def test_a_shared_module_is_one_module_under_both_names() -> None:
    twice = Twice()
    assert [name for name, _ in twice.named_parameters()] == ["first.weight", "first.bias"]
    assert len(list(twice.modules())) == 2
    twice.load_state_dict({"second.weight": np.ones((2, 2)), "first.bias": np.zeros(2)})
    np.testing.assert_array_equal(twice.first.weight.data, np.ones((2, 2)))
    stacked = nn.Sequential(twice.first, twice.first)
    x = np.array([[1.0, 2.0]], np.float32)
    np.testing.assert_allclose(stacked(x).data, [[6.0, 6.0]])  # both places are applied


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
def test_a_copy_is_independent_and_shares_within_itself(clone: Any) -> None:
    tied = Tied()
    other = clone(tied)
    assert other.read.weight is other.write.weight
    assert other.read.weight is not tied.read.weight
    other.read.weight.data[...] = 0
    assert tied.read.weight.data.any()


# -- saving and loading


def test_state_dict_round_trip_writes_in_place() -> None:
    manual_seed(0)
    source, target = Scaled(), Scaled()
    source.steps.data[...] = [7, 8, 9]
    arrays = {name: tensor.data for name, tensor in target.named_parameters()}
    assert target.load_state_dict(snapshot(source)) == ([], [])
    assert_state_equals(target, snapshot(source))
    assert all(tensor.data is arrays[name] for name, tensor in target.named_parameters())
    assert source.state_dict()["scale"] is source.scale.data
    assert target.scale.data is not source.scale.data


def test_loading_takes_tensors_lists_and_other_float_widths_and_keeps_the_dtype() -> None:
    module = nn.Linear(2, 1)
    module.load_state_dict({"weight": Tensor(np.array([[1.0, 2.0]])), "bias": [3]})
    assert module.weight.dtype == module.bias.dtype == np.float32
    np.testing.assert_array_equal(module([[1.0, 1.0]]).data, [[6.0]])


def test_all_problems_are_listed_in_one_error_and_nothing_is_written() -> None:
    module = Scaled()
    before = snapshot(module)
    state = {name: array + 1 for name, array in before.items()}
    del state["norm.bias"]
    state["extra.weight"] = np.zeros(3)
    state["inner.0.weight"] = np.zeros((3, 4))
    with pytest.raises(StateDictError) as caught:
        module.load_state_dict(state)
    message = str(caught.value)
    assert "Scaled" in message
    assert "missing norm.bias" in message
    assert "unexpected extra.weight" in message
    assert "inner.0.weight must be (4, 3); got (3, 4)" in message
    assert_state_equals(module, before)


@pytest.mark.parametrize("change", ["missing", "unexpected"])
def test_each_problem_alone_is_an_error_and_nothing_is_written(change: Any) -> None:
    module = nn.Linear(2, 2)
    before = snapshot(module)
    state = {"weight": np.zeros((2, 2)), "bias": np.zeros(2)}
    if change == "missing":
        del state["bias"]
    else:
        state["gain"] = np.zeros(2)
    with pytest.raises(StateDictError, match=change):
        module.load_state_dict(state)
    assert_state_equals(module, before)


def test_not_strict_loads_what_fits_and_reports_the_rest() -> None:
    module = nn.Linear(2, 2)
    bias = module.bias.data.copy()
    result = module.load_state_dict({"weight": np.zeros((2, 2)), "gain": np.zeros(2)}, strict=False)
    assert (result.missing, result.unexpected) == (["bias"], ["gain"])
    assert not module.weight.data.any()
    np.testing.assert_array_equal(module.bias.data, bias)


def test_not_strict_still_refuses_other_shapes() -> None:
    module = nn.Linear(2, 2)
    before = snapshot(module)
    with pytest.raises(StateDictError, match=r"bias must be \(2,\); got \(3,\)"):
        module.load_state_dict({"weight": np.zeros((2, 2)), "bias": np.zeros(3)}, strict=False)
    assert_state_equals(module, before)


def test_a_broadcastable_shape_is_refused() -> None:
    with pytest.raises(StateDictError, match=r"weight must be \(2, 2\); got \(1, 2\)"):
        nn.Linear(2, 2, bias=False).load_state_dict({"weight": np.zeros((1, 2))})


def test_values_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(DTypeError, match="numbers"):
        nn.Linear(1, 1, bias=False).load_state_dict({"weight": "one"})


# -- changing everything below


def test_train_and_eval_reach_every_module_and_return_it() -> None:
    module = Scaled()
    assert all(part.training for part in module.modules())
    assert module.eval() is module
    assert not any(part.training for part in module.modules())
    assert module.train() is module
    assert all(part.training for part in module.modules())
    module.inner.eval()
    assert module.training
    assert not module.inner[0].training


def test_apply_visits_children_first_and_returns_the_module() -> None:
    module, seen = Scaled(), []
    assert module.apply(seen.append) is module
    assert seen == [module.inner[0], module.inner[1], module.inner[2], module.inner, module.norm, module]


def test_to_converts_in_place_and_back() -> None:
    module = Scaled()
    x = np.random.RandomState(0).randn(2, 3)
    module(x.astype(np.float32)).sum().backward()
    before, scale = snapshot(module), module.scale
    assert module.to(np.float64) is module
    assert module.scale is scale
    assert {p.dtype for p in module.parameters()} == {np.dtype(np.float64)}
    assert module.offset.dtype == np.float64
    assert module.steps.dtype == np.int64  # ids stay ids
    assert module.scale.grad is None
    assert module(x).dtype == np.float64
    module(x).sum().backward()
    assert module.scale.grad.dtype == np.float64
    module.to("float32")
    assert module(x.astype(np.float32)).dtype == np.float32
    assert_state_equals(module, before)


def test_to_keeps_sharing_and_frozen_parameters_frozen() -> None:
    tied = Tied()
    tied.read.weight.requires_grad = False
    tied.to(np.float64)
    assert tied.read.weight is tied.write.weight
    assert tied.read.weight.dtype == np.float64
    assert not tied.read.weight.requires_grad


@pytest.mark.parametrize("dtype", [np.int64, bool, "no such dtype"])
def test_to_refuses_dtypes_that_are_not_floating_point(dtype: Any) -> None:
    with pytest.raises(DTypeError, match="to: "):
        nn.Linear(1, 1).to(dtype)


# -- hooks


def test_a_hook_sees_module_arguments_and_output() -> None:
    linear, seen = nn.Linear(2, 2), []
    linear.register_forward_hook(lambda *what: seen.append(what))
    x = np.ones((1, 2), np.float32)
    y = linear(x)
    ((module, args, output),) = seen
    assert module is linear
    assert args == (x,)
    assert output is y


def test_a_hook_may_replace_the_output_for_those_after_it() -> None:
    linear = nn.Linear(1, 1, bias=False)
    linear.load_state_dict({"weight": [[3.0]]})
    linear.register_forward_hook(lambda module, args, output: output * 2)
    linear.register_forward_hook(lambda module, args, output: None)
    linear.register_forward_hook(lambda module, args, output: output + 1)
    y = linear([[1.0]])
    assert y.item() == 7.0
    y.backward()
    assert linear.weight.grad.item() == 2.0


def test_a_handle_removes_its_own_hook_by_remove_and_by_with() -> None:
    linear, calls = nn.Linear(1, 1), []
    first = linear.register_forward_hook(lambda *_: calls.append("first"))
    first.remove()
    second = linear.register_forward_hook(lambda *_: calls.append("second"))
    first.remove()  # a second time: nobody else's hook
    with linear.register_forward_hook(lambda *_: calls.append("third")):
        linear([[1.0]])
    linear([[1.0]])
    assert calls == ["second", "third", "second"]
    second.remove()
    linear([[1.0]])
    assert len(calls) == 3


def test_a_hook_that_removes_itself_leaves_the_others() -> None:
    linear, calls = nn.Linear(1, 1), []

    def once(*_: Any) -> None:
        calls.append("once")
        handle.remove()

    handle = linear.register_forward_hook(once)
    linear.register_forward_hook(lambda *_: calls.append("always"))
    linear([[1.0]])
    linear([[1.0]])
    assert calls == ["once", "always", "always"]


def test_a_hook_belongs_to_one_module_alone() -> None:
    hooked, other, calls = nn.Linear(1, 1), nn.Linear(1, 1), []
    hooked.register_forward_hook(lambda *_: calls.append(1))
    other([[1.0]])
    assert not calls
    nn.Sequential(other, hooked)([[1.0]])
    assert calls == [1]


# -- showing itself


def test_repr_shows_the_tree() -> None:
    block = nn.Sequential(nn.Linear(2, 3, bias=False), nn.Sequential(nn.ReLU(), nn.Dropout(0.1)))
    assert repr(block) == (
        "Sequential(\n"
        "  (0): Linear(in_features=2, out_features=3, bias=False)\n"
        "  (1): Sequential(\n"
        "    (0): ReLU()\n"
        "    (1): Dropout(p=0.1)\n"
        "  )\n"
        ")"
    )
    assert repr(nn.GELU("tanh")) == "GELU(approximate='tanh')"
    assert repr(nn.LayerNorm(4)) == "LayerNorm(4, eps=1e-05)"
    assert repr(nn.Embedding(6, 3)) == "Embedding(6, 3)"


def test_repr_gives_own_settings_a_line_before_the_children() -> None:
    lines = repr(nn.MultiHeadAttention(4, 2, causal=True)).splitlines()
    assert lines[:3] == [
        "MultiHeadAttention(",
        "  num_heads=2, causal=True",
        "  (query): Linear(in_features=4, out_features=4, bias=False)",
    ]
    assert lines[-1] == ")"


# -- lists


def test_module_list_and_sequential() -> None:
    layers = nn.ModuleList(nn.Linear(2, 2) for _ in range(2))
    assert layers.append(nn.ReLU()) is layers
    assert len(layers) == 3
    assert layers[-1] is layers[2]
    assert [type(layer) for layer in layers] == [nn.Linear, nn.Linear, nn.ReLU]
    assert list(layers.state_dict()) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    x = np.array([[1.0, -1.0]], np.float32)
    np.testing.assert_array_equal(nn.Sequential(*layers)(x).data, layers[2](layers[1](layers[0](x))).data)
    assert nn.Sequential()(x) is x
    with pytest.raises(ConfigError, match=r"Sequential: items must be modules; got function"):
        nn.Sequential(lambda x: x)


def test_a_module_without_forward_raises_an_error_that_names_it() -> None:
    with pytest.raises(NotImplementedError, match="Module must define forward"):
        nn.Module()(1)


def test_bad_sizes_name_the_layer_and_the_size() -> None:
    for build, message in [
        (lambda: nn.Linear(0, 1), "Linear: in_features must be an integer of at least 1; got 0"),
        (lambda: nn.Linear(1, 2.0), "Linear: out_features must be an integer of at least 1; got 2.0"),
        (lambda: nn.Embedding(True, 1), "Embedding: num_embeddings must be an integer of at least 1; got True"),
        (lambda: nn.LayerNorm(-3), "LayerNorm: normalized_dim must be an integer of at least 1; got -3"),
        (lambda: nn.RMSNorm("3"), "RMSNorm: normalized_dim must be an integer of at least 1; got '3'"),
        (lambda: nn.Dropout(1.5), r"Dropout: p must be a probability in \[0, 1\]; got 1.5"),
        (lambda: nn.Dropout("half"), r"Dropout: p must be a probability in \[0, 1\]; got 'half'"),
        (lambda: nn.GELU("sigmoid"), 'gelu: approximate must be "none" or "tanh"; got \'sigmoid\''),
        (lambda: nn.MultiHeadAttention(6, 4), "embedding_dim must be a multiple of num_heads; got 6 and 4"),
        (lambda: nn.MultiHeadAttention(8, 4, num_kv_heads=3), "must be a multiple of num_kv_heads; got 4 and 3"),
        (lambda: nn.MultiHeadAttention(8, 4, num_kv_heads=0), "num_kv_heads must be an integer of at least 1"),
    ]:
        with pytest.raises(ConfigError, match=message):
            build()
    assert issubclass(ConfigError, TinygradLLMError)


def test_dropping_a_module_frees_it_at_once() -> None:
    gc.collect()
    gc.disable()
    try:
        module = Scaled()
        with module.register_forward_hook(lambda *_: None):
            module(np.ones((1, 3), np.float32))
        gone = weakref.ref(module.scale)
        del module
        assert gone() is None
    finally:
        gc.enable()
