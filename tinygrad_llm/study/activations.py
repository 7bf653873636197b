"""Every activation of a model by name: read it, ask for its gradient, change it and see what follows.

    seen = cache(model, ids)
    seen["blocks.3.attention.weights"]          # (B, H, T, S)

    with edit(model, {"blocks.3.attention.weights": zero(heads=1)}):
        without_that_head = model(ids)

A name is the path of the module whose output the activation is, as `named_modules` spells it: `token_embedding`,
`blocks.3` (the residual stream after that block), `blocks.3.attention`, `blocks.0.feed_forward.activation`,
`final_norm`, `head`. The weights of an attention add `.weights` to its path; where a module returns several Tensors,
each adds its place (`.0`, `.1`). What one forward computes again under the same name, as when a layer is used twice,
is called `name@2`, `name@3`; an edit of the name changes all of them.
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
from tinygrad_llm.ops.attention import watch_attention_weights
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.primitives.comparison import where
from tinygrad_llm.primitives.operands import as_tensor
from tinygrad_llm.tensor import Tensor

Change: TypeAlias = "Callable[[Tensor], TensorLike]"
Places: TypeAlias = "int | slice | list[int] | Array | None"

WEIGHTS = ".weights"


class Activations(dict[str, Array]):
    """Name to array, in the order in which they were computed.

    `output` is what the model returned. With targets, `loss` is the mean cross-entropy (nats per target) and
    `gradients` maps each name to the loss's gradient there, an array of the activation's shape; what the loss does not
    depend on has none.
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

    `targets` are class targets of the output's shape without its last axis; -100 is not counted. The arrays are those
    of the run, not copies. Mode (training or not) is the model's own; its parameters and their gradients are left as
    they were. Attention runs on its definition, so the output equals the plain one to rounding.

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
            seen.output = _without_graph(model(*inputs, **options))
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
    """Inside, what `changes[name]` makes of the activation `name` takes its place; gradients flow through it.

    A change takes a Tensor and returns one, or an array, of the same shape: `zero()`, `mean()`, `patch(array)`, or a
    function such as `lambda x: 2 * x`. Edits may stand inside one another, and around `cache`, which sees what they
    made.

    Raises: ConfigError for a name that the model has not, listing near ones; ShapeError for a change of the shape
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
        made = as_tensor(changes[name](x))
        if made.shape != x.shape:
            raise ShapeError(f"edit: {name} must keep its shape {x.shape}; its function made {made.shape}")
        if made.dtype != x.dtype:
            if made.requires_grad:
                raise DTypeError(f"edit: {name} must keep its dtype {x.dtype}; its function made {made.dtype}")
            made = Tensor(made.data.astype(x.dtype))
        return made

    with visited(model, changed):
        yield


def activation_names(model: Module) -> list[str]:
    """Every name that an activation of `model` can have. Containers such as `blocks`, which never run, have none."""
    names = []
    for path, module in module_paths(model):
        if path and type(module).forward is not Module.forward:
            names.append(path)
        if isinstance(module, MultiHeadAttention | MultiHeadLatentAttention):
            names.append(f"{path}{WEIGHTS}".lstrip("."))
    return names


def zero(positions: Places = None, heads: Places = None) -> Change:
    """Make the activation 0: everywhere, or only at `positions` (axis -2) and `heads` (axis -3, of weights).

    A head whose weights are 0 adds nothing to what the attention's output layer reads.
    """
    return patch(np.zeros(()), positions, heads)


def mean(positions: Places = None, heads: Places = None, axis: int | tuple[int, ...] | None = None) -> Change:
    """Replace the activation by its own mean over `axis`: unless given, every axis but the last (one per feature).

    `axis=0`, the batch, suits attention weights: each query keeps a distribution over the keys that it may see.
    """

    def averaged(x: Tensor) -> Tensor:
        over = tuple(range(x.ndim - 1)) if axis is None else axis
        return _placed(x, x.mean(axis=over, keepdims=True), positions, heads)

    return averaged


def patch(value: TensorLike, positions: Places = None, heads: Places = None) -> Change:
    """Put `value` (another run's activation, or what broadcasts to one) in its place, at `positions` and `heads`."""
    value = as_tensor(value)
    return lambda x: _placed(x, value, positions, heads)


def _placed(x: Tensor, value: Tensor, positions: Places, heads: Places) -> Tensor:
    """`value` at the chosen places of x, and x elsewhere."""
    try:
        fits = np.broadcast_shapes(value.shape, x.shape) == x.shape
    except ValueError:
        fits = False
    if not fits:
        raise ShapeError(f"patch: a value must broadcast to the activation, {x.shape}; got {value.shape}")
    if value.dtype != x.dtype and not value.requires_grad:
        value = Tensor(value.data.astype(x.dtype))
    return where(np.broadcast_to(_chosen(x, positions, -2) & _chosen(x, heads, -3), x.shape), value, x)


def _chosen(x: Tensor, places: Places, axis: int) -> Array:
    if places is None:
        return np.ones((), bool)
    if x.ndim < -axis:
        raise ShapeError(f"edit: places along axis {axis} need an activation that has it; got shape {x.shape}")
    chosen = np.zeros(x.shape[axis], bool)
    try:
        chosen[places] = True
    except IndexError:
        raise IdRangeError(f"edit: places along axis {axis} must be within its {len(chosen)}; got {places}") from None
    return chosen.reshape(-1, *[1] * (-axis - 1))


@contextmanager
def visited(model: Module, visit: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """Let `visit(name, tensor)` see, and replace, every activation of `model` as it is computed."""

    def finished(module: Module, _: Any, output: Any) -> Any:
        path = path_of(module)
        if not path:
            return output
        if isinstance(output, Tensor):
            return visit(path, output)
        if isinstance(output, tuple):
            return tuple(visit(f"{path}.{i}", x) if isinstance(x, Tensor) else x for i, x in enumerate(output))
        return output

    def weighed(weights: Tensor) -> Tensor:
        return visit(f"{running[-1]}{WEIGHTS}".lstrip("."), weights) if running else weights

    with ExitStack() as undo:
        running, path_of = undo.enter_context(running_modules(model))
        for module in model.modules():
            undo.enter_context(module.register_forward_hook(finished))
        undo.enter_context(watch_attention_weights(weighed))
        yield


@contextmanager
def running_modules(model: Module) -> Iterator[tuple[list[str], Callable[[Module], str]]]:
    """The paths of the modules that are running, outermost first, which change as `model` runs; and a module's path.

    Each module's `forward` is wrapped for as long as this lasts: so it is known, even after an exception, which module
    is running, and a layer that is shared has the name of the place where it is used. No hook is registered, so a model
    that asks whether there are any goes the way that it always goes.
    """
    paths: dict[int, list[str]] = {}
    for path, module in module_paths(model):
        paths.setdefault(id(module), []).append(path)
    running: list[str] = []

    def path_of(module: Module) -> str:
        possible = paths[id(module)]
        inside = running[-1] if running else ""
        return next((path for path in possible if path.startswith(f"{inside}." if inside else "")), possible[0])

    def tracked(module: Module) -> Callable[..., Any]:
        forward = module.forward

        def forward_knowing_where(*args: Any, **kwargs: Any) -> Any:
            running.append(path_of(module))
            try:
                return forward(*args, **kwargs)
            finally:
                running.pop()

        return forward_knowing_where

    with ExitStack() as undo:
        for module in model.modules():
            earlier = vars(module).get("forward")
            vars(module)["forward"] = tracked(module)
            undo.callback(_put_back, module, earlier)
        yield running, path_of


def _put_back(module: Module, forward: Any) -> None:
    if forward is None:
        del vars(module)["forward"]
    else:
        vars(module)["forward"] = forward


def module_paths(module: Module, path: str = "", above: tuple[Module, ...] = ()) -> Iterator[tuple[str, Module]]:
    """Every module under every path that leads to it, however many share it."""
    yield path, module
    for name, child in module.named_children():
        if child not in (*above, module):
            yield from module_paths(child, f"{path}.{name}" if path else name, (*above, module))


def _without_graph(output: Any) -> Any:
    return output.data if isinstance(output, Tensor) else output


def _unknown(caller: str, name: str, known: list[str]) -> ConfigError:
    near = difflib.get_close_matches(str(name), known, n=4, cutoff=0.4) or known[:4]
    return ConfigError(f"{caller}: names must be the model's own; got {name!r}; near it: {', '.join(near)}")
