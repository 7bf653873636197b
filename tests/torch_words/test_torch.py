"""What the wing adds around PyTorch's words: files, refusals, missing words, and that nothing else changes."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import tinygrad_llm
import tinygrad_llm.torch as torch
import tinygrad_llm.torch.nn as nn
import tinygrad_llm.torch.nn.functional as F
from tinygrad_llm.errors import ConfigError, DTypeError, FormatError, GraphError
from tinygrad_llm.formats import read_safetensors, write_safetensors
from tinygrad_llm.torch.autograd import grad
from tinygrad_llm.torch.printing import printed
from tinygrad_llm.torch.utils.data import DataLoader, Dataset

# -- printing

numbers = st.floats(width=32) | st.integers(-1000, 1000).map(float) | st.floats(-2, 2, width=16)
printable = npst.arrays(np.float32, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=8), elements=numbers)
integers = npst.arrays(np.int64, npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=8))


@given(printable | integers)
def test_numbers_are_printed_as_in_pytorch(array: np.ndarray) -> None:
    real = pytest.importorskip("torch")
    assert printed(array, []) == repr(real.tensor(array))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=3), st.integers(0, 2))
def test_long_tensors_are_abbreviated_as_in_pytorch(shape: list[int], digits: int) -> None:
    real = pytest.importorskip("torch")
    array = (np.arange(np.prod(shape)) / 10**digits).astype(np.float32).reshape(shape)
    assert printed(array, ["requires_grad=True"]) == repr(real.tensor(array, requires_grad=True))


# -- files


def test_a_state_dict_is_a_plain_safetensors_file(tmp_path: Path) -> None:
    layer = nn.Linear(2, 3)
    torch.save(layer.state_dict(), tmp_path / "layer.pth")
    arrays = read_safetensors(tmp_path / "layer.pth")
    assert sorted(arrays) == ["bias", "weight"]
    np.testing.assert_array_equal(arrays["weight"], layer.weight.data)


def test_a_checkpoint_of_model_and_optimizer_comes_back(tmp_path: Path) -> None:
    layer = nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    saved = {"model": layer.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "losses": [1.5, None]}
    torch.save(saved, tmp_path / "checkpoint.pth")
    loaded = torch.load(tmp_path / "checkpoint.pth", map_location="cpu", weights_only=True)
    assert (loaded["epoch"], loaded["losses"]) == (3, [1.5, None])
    other = torch.optim.AdamW(nn.Linear(2, 3).parameters())
    other.load_state_dict(loaded["optimizer"])
    assert other.param_groups[0]["lr"] == 0.1
    assert other.param_groups[0]["betas"] == (0.9, 0.999)
    assert list(loaded["optimizer"]["state"]) == [0, 1]
    assert torch.equal(other.state_dict()["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])


def test_another_programs_safetensors_file_is_a_dict_of_tensors(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.safetensors", {"a": np.arange(3.0)})
    assert torch.load(tmp_path / "x.safetensors")["a"].tolist() == [0, 1, 2]


def test_a_pickle_is_refused_with_a_hint_to_convert_it(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(FormatError, match=r"is a pickle, .* convert it once: safetensors.torch.save_file"):
        torch.load(tmp_path / "model.pth")


def test_a_whole_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"got Linear; of a model save model.state_dict\(\)"):
        torch.save(nn.Linear(1, 1), tmp_path / "model.pth")


# -- devices, dtypes, missing words


def test_bfloat16_becomes_float32_and_says_so() -> None:
    with pytest.warns(UserWarning, match="bfloat16 is computed as float32"):
        x = torch.tensor([1.0]).to(torch.bfloat16)
    assert x.dtype == torch.float32
    assert repr(torch.bfloat16) == "torch.bfloat16"


@pytest.mark.parametrize("send", [lambda: torch.ones(1).to("cuda"), lambda: nn.Linear(1, 1).to(torch.device("mps"))])
def test_another_device_is_refused(send: Callable[..., Any]) -> None:
    with pytest.raises(ConfigError, match="this package computes on the CPU"):
        send()


def test_only_the_cpu_can_be_made_the_place_of_new_tensors() -> None:
    with torch.device("cpu"):
        assert torch.ones(1).device == torch.device("cpu")
    with pytest.raises(ConfigError, match="this package computes on the CPU"), torch.device("meta"):
        pass


def test_a_sampler_excludes_shuffling() -> None:
    with pytest.raises(ConfigError, match="sampler gives the order"):
        DataLoader([1, 2], sampler=[0], shuffle=True)


def test_parts_that_do_not_sum_to_the_whole_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"must sum to the 3 items, or to 1; got \[1, 1\]"):
        torch.utils.data.random_split([1, 2, 3], [1, 1])


def test_a_schedule_goes_on_from_its_saved_state() -> None:
    def begin() -> tuple[torch.optim.SGD, torch.optim.lr_scheduler.ExponentialLR]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=1.0)
        return optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    _, first = begin()
    first.step()
    optimizer, second = begin()
    second.load_state_dict(first.state_dict())
    second.step()
    assert optimizer.param_groups[0]["lr"] == 0.25


def test_an_optimizer_prints_its_hyperparameters() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    assert repr(optimizer).startswith("SGD (\nParameter Group 0\n")
    assert "    lr: 0.5\n" in repr(optimizer)


def test_lines_about_devices_cost_nothing() -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    x = torch.ones(2)
    assert x.to(device) is x
    assert not torch.backends.mps.is_available()
    assert x.cpu() is x


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda: torch.sofmax, "torch of tinygrad_llm has no 'sofmax'; the nearest is softmax"),
        (lambda: torch.ones(1).unsqueze, "torch.Tensor of tinygrad_llm has no 'unsqueze'; the nearest is unsqueeze"),
        (lambda: nn.Liner, "torch.nn of tinygrad_llm has no 'Liner'; the nearest is Linear"),
        (lambda: F.gello, "the nearest is gelu"),
        (lambda: nn.Linear(1, 1).wight, "Linear of tinygrad_llm has no 'wight'; the nearest is weight"),
        (lambda: torch.compile, "run the model as it is"),
        (lambda: torch.optim.AdamV, "the nearest is Adam"),
        (lambda: torch.optim.lr_scheduler.OneCycleLR, "see tinygrad_llm.optim.one_cycle"),
        (lambda: torch.optim.lr_scheduler.StepLr, "the nearest is StepLR"),
        (lambda: torch.nn.utils.rnn, "torch.nn.functional.pad brings sequences to one length"),
        (lambda: torch.ones(1).register_hook, "see tinygrad_llm.study.record"),
    ],
)
def test_a_missing_word_names_the_nearest(ask: Callable[..., Any], says: str) -> None:
    with pytest.raises(AttributeError, match=says):
        ask()


def test_hasattr_answers() -> None:
    assert not hasattr(torch.ones(1), "nothing_of_this_name")
    assert hasattr(torch.ones(1), "unsqueeze")


# -- writing in place


def test_a_leaf_that_collects_a_gradient_is_not_written_in_place() -> None:
    w = torch.ones(2, requires_grad=True)
    with pytest.raises(GraphError, match="a leaf that requires a gradient"):
        w += 1
    memory = w.data
    with torch.no_grad():
        w += 1
    assert w.tolist() == [2, 2]
    assert w.data is memory


def test_what_was_written_after_the_forward_is_refused_by_backward() -> None:
    w = torch.ones(2, requires_grad=True)
    loss = (w * w).sum()
    with torch.no_grad():
        w.mul_(3)
    with pytest.raises(GraphError):
        loss.backward()
    x = torch.ones(2)
    loss = (w * x).sum()
    nn.init.zeros_(x)
    with pytest.raises(GraphError):
        loss.backward()


def test_a_fraction_is_not_written_into_integers() -> None:
    x = torch.tensor([1, 2])
    with pytest.raises(DTypeError, match=r"the result must fit torch\.int64; got torch\.float32"):
        x += 0.5


def test_a_recorded_tensor_can_be_written_and_its_gradient_is_right() -> None:
    w = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    x = w * w
    y = x.exp()
    x[1] = w[0] * 5
    x += 1
    (x.sum() + y.sum()).backward()
    expected = 2 * np.array([1.0, 0.0, 3.0]) + [5, 0, 0] + 2 * w.data * np.exp(w.data**2)
    np.testing.assert_allclose(w.grad, expected, rtol=1e-6)


def test_a_tensor_without_a_graph_is_written_in_place() -> None:
    x = torch.zeros(2, 2)
    row = x[0]
    row += 3
    assert x.tolist() == [[3, 3], [0, 0]]


def test_a_value_that_needs_a_gradient_can_be_written_into_a_plain_tensor() -> None:
    w = torch.tensor([2.0], requires_grad=True)
    scores = torch.empty(3)
    for i in range(3):
        scores[i] = (w * i).sum()
    scores.sum().backward()
    assert w.grad.tolist() == [3.0]


# -- gradients


def test_grad_leaves_every_gradient_as_it_was() -> None:
    w, v = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    (w * v).backward()
    middle = w * 3
    first, second = grad((middle * v).sum(), [w, middle])
    assert (first.item(), second.item()) == (3.0, 1.0)
    assert (w.grad.item(), v.grad.item()) == (1.0, 1.0)
    with pytest.raises(GraphError, match="each input must be part of the graph; input 0"):
        grad((v * 2).sum(), w)


def test_what_numpy_computes_with_the_data_is_a_plain_array() -> None:
    x = torch.ones(2)
    assert type(x.data * 2) is np.ndarray
    assert type(x.data.sum()) is np.float32
    assert x.data is x.data


def test_a_gradient_is_an_array_and_answers_like_a_tensor() -> None:
    w = torch.ones(2, requires_grad=True)
    (w * torch.tensor([1.0, -3.0])).sum().backward()
    assert isinstance(w.grad, np.ndarray)
    assert repr(w.grad) == "tensor([ 1., -3.])"
    assert w.grad.abs().mean().item() == 2
    assert w.grad.norm().item() == pytest.approx(10**0.5)


# -- the rest of the package


def test_engine_and_words_mix_in_one_graph() -> None:
    w = tinygrad_llm.Tensor([1.0, 2.0], requires_grad=True)
    x = torch.tensor([3.0, 4.0], requires_grad=True)
    assert type(w + x) is torch.Tensor
    assert type(w * 2) is tinygrad_llm.Tensor
    assert type(np.ones(2, np.float32) * x) is torch.Tensor
    assert type(np.exp(x)) is torch.Tensor
    (w * x).sum().backward()
    assert w.grad.tolist() == [3, 4]
    assert x.grad.tolist() == [1, 2]


def test_importing_it_changes_nothing_elsewhere() -> None:
    code = (
        "import tinygrad_llm as t\n"
        "before = {k: v for k, v in vars(t.Tensor).items()}, repr(t.Tensor([1.0, 2.0]) * 2)\n"
        "import tinygrad_llm.torch\n"
        "after = {k: v for k, v in vars(t.Tensor).items()}, repr(t.Tensor([1.0, 2.0]) * 2)\n"
        "assert before == after, set(after[0]) - set(before[0])\n"
        "assert type(t.nn.Linear(2, 2)(t.Tensor([[1.0, 2.0]]))) is t.Tensor\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_other_part_of_the_package_loads_it() -> None:
    code = "import sys, tinygrad_llm.train, tinygrad_llm.models, tinygrad_llm.optim\n"
    code += "assert not [name for name in sys.modules if name.startswith('tinygrad_llm.torch')]\n"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_packages_own_functions_take_its_tensors() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(3, 4), nn.GELU(), nn.Linear(4, 2))
    assert tinygrad_llm.gradcheck(lambda: model(torch.ones(2, 3)), parameters=dict(model.named_parameters())).ok


def test_a_loader_gives_tensors() -> None:
    class Rows(Dataset):
        def __len__(self) -> int:
            return 5

        def __getitem__(self, i: int) -> dict[str, Any]:
            return {"ids": torch.tensor([i]), "text": f"row {i}"}

    batches = list(DataLoader(Rows(), batch_size=2, num_workers=0, pin_memory=True))
    assert batches[0]["ids"].tolist() == [[0], [1]]
    assert batches[2]["text"] == ["row 4"]
