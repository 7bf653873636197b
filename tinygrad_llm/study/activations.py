"""Every activation of a model by name: read it and its gradient, or change it during a forward.

    seen = cache(model, ids)
    seen["blocks.3.attention.weights"]          # (B, H, T, S)

    with edit(model, {"blocks.3.attention.weights": zero(heads=1)}):
        without_that_head = model(ids)

A name is the path of the module whose output the activation is, as `named_modules` spells it: `token_embedding`,
`blocks.3` (the residual stream after that block), `blocks.3.attention`, `blocks.0.feed_forward.activation`,
`final_norm`, `head`. The weights of an attention add `.weights` to its path; where a module returns several Tensors,
each adds its index (`.0`, `.1`). Where one forward computes an activation several times, as when a layer is used twice,
the later ones are `name@2`, `name@3`; an edit of the name changes all of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

import numpy as np

from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError, DTypeError, IdRangeError, ShapeError
from tinygrad_llm.graph import TensorLike, enable_grad, no_grad
from tinygrad_llm.nn import Module, MultiHeadAttention, MultiHeadLatentAttention
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.primitives.functions import where
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.study.attention_weights import watch_attention_weights
from tinygrad_llm.study.module_paths import module_paths, running_modules
from tinygrad_llm.tensor import Tensor

Change: TypeAlias = "Callable[[Tensor], TensorLike]"
Indices: TypeAlias = "int | slice | list[int] | Array | None"

WEIGHTS = ".weights"


class Activations(dict[str, Array]):
    """A dict from name to array, in the order of computation.

    `output` is the output of the model. With targets, `loss` is the mean cross-entropy (nats per target) and
    `gradients` maps names to the gradients of the loss, arrays of the activations' shapes; an activation that the loss
    does not depend on has none.
    """

    output: Any = None
    loss: float | None = None

    def __init__(self) -> None:
        super().__init__()
        self.gradients: dict[str, Array] = {}

    def __missing__(self, name: str) -> Array:
        raise _unknown("cache", name, list(self))


def cache(model: Module, *inputs: Any, targets: Any = None, **options: Any) -> Activations:
    """Every activation of `model(*inputs, **options)` by name; with `targets`, their gradients too.

    `targets` are classes; -100 is ignored. The arrays are not copied. The model stays in its mode, training or
    evaluation, and its parameters and their gradients are left unchanged. Attention runs on its definition, so the
    output equals the usual one up to rounding.

    Shapes: output (..., V), targets (...)
    Raises: ShapeError, IdRangeError or DTypeError for inputs or targets that do not fit the model
    """
    seen = Activations()
    tensors: dict[str, Tensor] = {}

    def keep(name: str, x: Tensor) -> Tensor:
        times, unique = 1, name
        while unique in seen:
            times += 1
            unique = f"{name}@{times}"
        seen[unique] = x.data
        if targets is not None:
            tensors[unique] = x
            if x.requires_grad:
                x.retain_grad()
        return x

    if targets is None:
        with no_grad(), visited(model, keep):
            seen.output = _as_array(model(*inputs, **options))
        return seen
    before = [(parameter, parameter.requires_grad, parameter.grad) for parameter in model.parameters()]
    try:
        for parameter, _, _ in before:
            parameter.requires_grad, parameter.grad = True, None
        with enable_grad(), visited(model, keep):
            output = model(*inputs, **options)
            loss = cross_entropy(output, targets)
            loss.backward()
    finally:
        for parameter, requires_grad, grad in before:
            parameter.requires_grad, parameter.grad = requires_grad, grad
    seen.output, seen.loss = output.data, loss.item()
    seen.gradients = {name: x.grad for name, x in tensors.items() if x.grad is not None}
    return seen


@contextmanager
def edit(model: Module, changes: Mapping[str, Change]) -> Iterator[None]:
    """Replace the activation `name` by `changes[name](activation)` inside the block; gradients flow through it.

    A change takes a Tensor and returns one, or an array, of the same shape: `zero()`, `mean()`, `patch(array)`, or a
    function such as `lambda x: 2 * x`. Edits can be nested; `cache` inside an edit returns the edited activations.

    Raises: ConfigError for an unknown name, listing similar ones; ShapeError for a change of the shape
    """
    known = activation_names(model)
    for name, change in changes.items():
        stem, _, place = name.rpartition(".")
        if name not in known and not (place.isdigit() and stem in known):
            raise _unknown("edit", name, known)
        if not callable(change):
            raise ConfigError(
                f"edit: {name} must be changed by a function; got {type(change).__name__}; use patch(array)"
            )

    def changed(name: str, x: Tensor) -> Tensor:
        if name not in changes:
            return x
        new = as_tensor(changes[name](x))
        if new.shape != x.shape:
            raise ShapeError(f"edit: {name} must keep its shape {x.shape}; its function returned {new.shape}")
        if new.dtype != x.dtype:
            if new.requires_grad:
                raise DTypeError(f"edit: {name} must keep its dtype {x.dtype}; its function returned {new.dtype}")
            new = Tensor(new.data.astype(x.dtype))
        return new

    with visited(model, changed):
        yield


def activation_names(model: Module) -> list[str]:
    """The names of all activations of `model`. Containers such as `blocks`, which never run, have none."""
    names = []
    for path, module in module_paths(model):
        if path and type(module).forward is not Module.forward:
            names.append(path)
        if isinstance(module, MultiHeadAttention | MultiHeadLatentAttention):
            names.append(f"{path}{WEIGHTS}".lstrip("."))
    return names


def zero(positions: Indices = None, heads: Indices = None) -> Change:
    """Set the activation to 0: everywhere, or only at `positions` (axis -2) and `heads` (axis -3, of weights).

    A head whose weights are 0 contributes 0 to the input of the attention's output layer.
    """
    return patch(np.zeros(()), positions, heads)


def mean(positions: Indices = None, heads: Indices = None, axis: int | tuple[int, ...] | None = None) -> Change:
    """Replace the activation by its mean over `axis`; unless given, over all axes but the last (one mean per feature).

    For attention weights use `axis=0`, the batch: each query keeps a distribution over the keys that it may see.
    """

    def averaged(x: Tensor) -> Tensor:
        over = tuple(range(x.ndim - 1)) if axis is None else axis
        return _replaced(x, x.mean(axis=over, keepdims=True), positions, heads)

    return averaged


def patch(value: TensorLike, positions: Indices = None, heads: Indices = None) -> Change:
    """Replace the activation by `value`, such as that of another run, at `positions` and `heads`; it is broadcast."""
    value = as_tensor(value)
    return lambda x: _replaced(x, value, positions, heads)


def _replaced(x: Tensor, value: Tensor, positions: Indices, heads: Indices) -> Tensor:
    """`value` at the chosen positions and heads of x, and x elsewhere.

    Shapes: x (..., H, T, S) or (..., T, C), value broadcast to it -> the shape of x
    """
    try:
        fits = np.broadcast_shapes(value.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"patch: a value must broadcast to the activation, {x.shape}; got {value.shape}")
    if value.dtype != x.dtype and not value.requires_grad:
        value = Tensor(value.data.astype(x.dtype))
    return where(np.broadcast_to(_chosen(x, positions, -2) & _chosen(x, heads, -3), x.shape), value, x)


def _chosen(x: Tensor, indices: Indices, axis: int) -> Array:
    if indices is None:
        return np.ones((), bool)
    if x.ndim < -axis:
        raise ShapeError(
            f"edit: positions and heads are axes -2 and -3; the activation must have axis {axis}, got shape {x.shape}"
        )
    chosen = np.zeros(x.shape[axis], bool)
    try:
        chosen[indices] = True
    except IndexError:
        raise IdRangeError(
            f"edit: indices along axis {axis} must be within its size {len(chosen)}; got {indices}"
        ) from None
    return chosen.reshape(-1, *[1] * (-axis - 1))


@contextmanager
def visited(model: Module, visit: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """Call `visit(name, tensor)` for every activation of `model`; the forward continues with what it returns."""

    def visit_output(module: Module, _: Any, output: Any) -> Any:
        path = path_of(module)
        if not path:
            return output
        if isinstance(output, Tensor):
            return visit(path, output)
        if isinstance(output, tuple):
            return tuple(visit(f"{path}.{i}", x) if isinstance(x, Tensor) else x for i, x in enumerate(output))
        return output

    def visit_weights(weights: Tensor) -> Tensor:
        return visit(f"{running[-1]}{WEIGHTS}".lstrip("."), weights) if running else weights

    with ExitStack() as undo:
        running, path_of = undo.enter_context(running_modules(model))
        for module in model.modules():
            undo.enter_context(module.register_forward_hook(visit_output))
        undo.enter_context(watch_attention_weights(visit_weights))
        yield


def _as_array(output: Any) -> Any:
    return output.data if isinstance(output, Tensor) else output


def _unknown(caller: str, name: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(str(name), known, n=4, cutoff=0.4) or known[:4]
    return ConfigError(f"{caller}: the model has no activation {name!r}; similar names: {', '.join(near)}")
