"""What tinygrad_llm/README.md says of adding an op, a layer, an optimizer, a tokenizer or a command is all it takes."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygrad_llm import Tensor, cli, composed_ops, gradcheck, manual_seed
from tinygrad_llm.graph import TensorLike, record_operation
from tinygrad_llm.nn import Module, Parameter
from tinygrad_llm.ops import FUSED, intercept
from tinygrad_llm.ops.dispatch import fuses
from tinygrad_llm.optim import Optimizer
from tinygrad_llm.primitives import as_tensor
from tinygrad_llm.text import Tokenizer, load_tokenizer, save_tokenizer
from tinygrad_llm.text.saved import KINDS


def cube_composed(x: TensorLike) -> Tensor:
    x = as_tensor(x)
    return x * x * x


def test_an_op_is_its_fast_form_and_its_definition(monkeypatch: pytest.MonkeyPatch) -> None:
    def cube(x: TensorLike) -> Tensor:
        x = as_tensor(x)
        data = x.data
        return record_operation(data**3, (x,), lambda dy: (3 * data**2 * dy,))

    monkeypatch.setitem(FUSED, "cube", None)  # so that the entry which the decorator makes is taken back at the end
    cube = fuses(cube_composed)(cube)
    x = Tensor(np.array([0.5, -2.0]), requires_grad=True)
    assert gradcheck(cube, [x]).ok and gradcheck(cube_composed, [x]).ok
    seen = []

    def watch(name: str, call: Callable[..., Tensor], *args: Any) -> Tensor:
        seen.append(name)
        return call(*args)

    with intercept(watch):
        fast = cube(x)
    with composed_ops():
        composed = cube(x)
    assert seen == ["cube"]
    assert (fast.node.name, composed.node.name) == ("cube", "mul")
    np.testing.assert_allclose(fast.data, composed.data)


class Scale(Module):
    """A layer with one parameter."""

    def __init__(self, width: int) -> None:
        self.weight = Parameter(np.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


def test_a_layer_is_its_attributes_and_its_forward() -> None:
    layer = Scale(3)
    assert layer.num_parameters() == 3 and list(layer.state_dict()) == ["weight"]
    layer(Tensor(np.ones((2, 3)))).sum().backward()
    assert layer.weight.grad.tolist() == [2.0, 2.0, 2.0]


class SignDescent(Optimizer):
    """A step of fixed size against the sign of each gradient."""

    def __init__(self, params: Iterable[Any], lr: float = 0.1) -> None:
        super().__init__(params, {"lr": lr})

    def step(self) -> None:
        for group, parameter, gradient in self._updates():
            parameter.data -= group["lr"] * np.sign(gradient)


def test_an_optimizer_is_its_step() -> None:
    manual_seed(0)
    weight = Parameter([1.0, -1.0])
    optimizer = SignDescent([weight])
    (weight * weight).sum().backward()
    optimizer.step()
    np.testing.assert_allclose(weight.data, [0.9, -0.9], rtol=1e-6)


class Digits(Tokenizer):
    """One id per digit."""

    kind = "digits"

    def __init__(self) -> None:
        super().__init__([str(digit).encode() for digit in range(10)], {})

    def encode_ordinary(self, text: str) -> list[int]:
        return [int(digit) for digit in text]

    def state(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Digits":
        return cls()


def test_a_tokenizer_is_saved_and_loaded_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, Digits.kind, Digits)
    save_tokenizer(Digits(), tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert isinstance(loaded, Digits) and loaded.decode(loaded.encode("2026")) == "2026"
    assert np.concatenate(list(loaded.encode_blocks(["20", "26"]))).tolist() == [2, 0, 2, 6]


def test_a_command_is_its_file_and_its_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "count.py").write_text(
        "def add_arguments(parser):\n    parser.add_argument('text')\n\n\n"
        "def run(arguments):\n    print(len(arguments.text))\n    return 0\n"
    )
    monkeypatch.setattr(cli, "__path__", [*cli.__path__, str(tmp_path)])
    monkeypatch.setitem(cli.COMMANDS, "count", ("count", "Count the characters of a text."))
    assert cli.main(["count", "four"]) == 0
    assert capsys.readouterr().out == "4\n"
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    assert "Count the characters of a text." in capsys.readouterr().out
