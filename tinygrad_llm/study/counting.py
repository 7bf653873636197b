"""What each part of a model costs: floating-point operations by formula, bytes by looking at what is there.

    print(flops(model, batch_size, tokens))
    print(memory(model, batch_size, tokens))

Both run the model once on ids of zeros and count what its operations record, so a new layer is counted if it is made
of known operations, and what no formula counts is named.
"""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from types import CellType
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.nn import Dropout, Module
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.random import Generator, default_generator
from tinygrad_llm.study.activations import visited
from tinygrad_llm.tensor import Array, Gradients, Node, Tensor, enable_grad, observe

OPTIMIZER_MOMENTS = 2  # AdamW keeps two numbers per trainable parameter


def _matmul(output: Tensor, parents: Sequence[Tensor]) -> int:
    """2 · (numbers of the product) · (length of each sum)."""
    return 2 * output.size * parents[0].shape[-1]


def _attention(output: Tensor, parents: Sequence[Tensor]) -> int:
    """2 · B · H · T · S · (D + E): q kᵀ and p v over every pair, also those that a mask hides."""
    query, key = parents[0], parents[1]
    return 2 * math.prod(query.shape[:-1]) * key.shape[-2] * (query.shape[-1] + output.shape[-1])


FORMULAS: dict[str, Callable[[Tensor, Sequence[Tensor]], int]] = {
    "matmul": _matmul,
    "linear": _matmul,
    "scaled_dot_product_attention": _attention,
}


@dataclass
class Flops:
    """Forward floating-point operations (a multiplication and an addition are two) by module path.

    `uncounted` says how many numbers the operations without a formula made, by operation: a few operations each.
    """

    by_module: dict[str, int] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)

    @property
    def forward(self) -> int:
        return sum(self.by_module.values())

    @property
    def backward(self) -> int:
        """Twice the forward: each product has two operands, and the gradient of each is a product of the same size.

        Too many by the products whose operand needs no gradient.
        """
        return 2 * self.forward

    def __str__(self) -> str:
        width = max(map(len, [*self.by_module, "backward (2 x forward)"]))
        total = max(self.forward, 1)
        rows = [f"{name:{width}} {count:>16,} {count / total:7.1%}" for name, count in self.by_module.items()]
        rows += [f"{'forward':{width}} {self.forward:>16,}", f"{'backward (2 x forward)':{width}} {self.backward:>16,}"]
        named = ", ".join(f"{name} {count:,}" for name, count in self.uncounted.items())
        return "\n".join([*rows, f"uncounted, numbers made: {named or 'none'}"])


@dataclass
class Memory:
    """Bytes of one training step, `activations` by module path; `kv_cache` is what generating as many tokens keeps.

    `optimizer` is AdamW's. Activations are the arrays that the graph of the forward and its loss keeps for the
    backward, each counted once, parameters and inputs not among them; "loss" is what no module made.
    """

    parameters: int
    gradients: int
    optimizer: int
    kv_cache: int
    by_module: dict[str, int]

    @property
    def activations(self) -> int:
        return sum(self.by_module.values())

    @property
    def training(self) -> int:
        """All of them but the cache."""
        return self.parameters + self.gradients + self.optimizer + self.activations

    def __str__(self) -> str:
        parts = {"parameters": self.parameters, "gradients": self.gradients, "optimizer (AdamW)": self.optimizer}
        parts["activations"] = self.activations
        parts |= {f"  {name}": size for name, size in self.by_module.items()}
        parts |= {"training": self.training, "kv cache": self.kv_cache}
        width = max(map(len, parts))
        return "\n".join(f"{name:{width}} {size:>16,} bytes" for name, size in parts.items())


class _Recorder:
    """Remembers where in the model each operation ran."""

    def __init__(self, running: list[str]) -> None:
        self.running = running
        self.flops: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.paths: dict[Node, str] = {}

    def recorded(self, output: Tensor, parents: Sequence[Tensor]) -> None:
        if output.node is None:  # nothing learned went into it
            return
        path = self.running[-1] if self.running else ""
        self.paths[output.node] = path or "loss"
        formula = FORMULAS.get(output.node.name)
        if formula is None:
            self.uncounted[output.node.name] += output.size
        else:
            self.flops[path] += formula(output, parents)

    def before_backward(self, node: Node, dy: Array) -> None: ...

    def after_backward(self, node: Node, gradients: Gradients) -> None: ...


def flops(model: Module, batch_size: int, tokens: int) -> Flops:
    """The floating-point operations of `model` on ids (batch_size, tokens), by module.

        linear and matmul: 2 · (numbers made) · (length of each sum)
        attention:         2 · B · H · T · S · (D + E), all pairs, whatever the mask hides

    Raises: ConfigError for sizes below 1; what the model raises for ids that do not fit it
    """
    recorder, _ = _run(model, batch_size, tokens)
    return Flops(dict(recorder.flops), dict(recorder.uncounted))


def memory(model: Module, batch_size: int, tokens: int) -> Memory:
    """The bytes that training `model` on ids (batch_size, tokens) keeps, by kind and module; see `Memory`.

    Raises: ConfigError for sizes below 1; what the model raises for ids that do not fit it
    """
    recorder, ids = _run(model, batch_size, tokens)
    ours = {id(_owner(tensor.data)) for tensor in (*model.parameters(), *model.buffers())}
    ours |= {id(_owner(array)) for array in ids}
    by_module: Counter[str] = Counter()
    for node, path in recorder.paths.items():
        for array in _arrays(node.backward):
            owner = _owner(array)
            if id(owner) not in ours:
                ours.add(id(owner))
                by_module[path] += owner.nbytes
    parameters = list(model.parameters())
    trainable = sum(parameter.data.nbytes for parameter in parameters if parameter.requires_grad)
    widths = sum(getattr(module, "cache_width", 0) for module in model.modules())
    return Memory(
        parameters=sum(parameter.data.nbytes for parameter in parameters),
        gradients=trainable,
        optimizer=OPTIMIZER_MOMENTS * trainable,
        kv_cache=widths * batch_size * tokens * (parameters[0].dtype.itemsize if parameters else 0),
        by_module=dict(by_module),
    )


def _run(model: Module, batch_size: int, tokens: int) -> tuple[_Recorder, tuple[Array, Array]]:
    if batch_size < 1 or tokens < 1:
        raise ConfigError(f"flops, memory: batch_size and tokens must be at least 1; got {batch_size} and {tokens}")
    ids, targets = np.zeros((batch_size, tokens), np.int64), np.zeros((batch_size, tokens), np.int64)
    inputs = [ids] * _count_inputs(model)
    drawing = {id(generator): generator for generator in _generators(model)}.values()
    before = [generator.state() for generator in drawing]
    try:
        with enable_grad(), visited(model, lambda _, x: x, attention_too=False) as running:
            recorder = _Recorder(running)
            with observe(recorder):
                cross_entropy(model(*inputs), targets)
    finally:
        for generator, state in zip(drawing, before, strict=True):
            generator.set_state(state)  # counting never changes the training
    return recorder, (ids, targets)


def _count_inputs(model: Module) -> int:
    """How many arrays of ids the model asks for: one, or a source and a target."""
    parameters = inspect.signature(model.forward).parameters.values()
    return sum(parameter.default is parameter.empty for parameter in parameters)


def _generators(model: Module) -> Iterator[Generator]:
    """Those that dropout draws from."""
    yield default_generator()
    for module in model.modules():
        if isinstance(module, Dropout) and module.generator is not None:
            yield module.generator


def _arrays(held: Any, seen: set[int] | None = None) -> Iterator[Array]:
    """Every array that a backward reaches through its closure: directly, in Tensors, containers and inner functions."""
    seen = set() if seen is None else seen
    if id(held) in seen:
        return
    seen.add(id(held))
    if isinstance(held, np.ndarray):
        yield held
    elif isinstance(held, Tensor):
        yield held.data
    elif isinstance(held, list | tuple | set):
        for item in held:
            yield from _arrays(item, seen)
    elif isinstance(held, dict):
        yield from _arrays(list(held.values()), seen)
    elif callable(held) and getattr(held, "__closure__", None):
        for cell in held.__closure__:
            if cell != CellType():  # a variable that was given a value
                yield from _arrays(cell.cell_contents, seen)


def _owner(array: Array) -> Array:
    """The array whose memory this one lies in."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
