"""The engine: how operations are recorded, and how `backward` walks back through them. No mathematics lives here.

Reverse-mode differentiation in four steps:

1. An operation computes its result with NumPy and hands it to `record_operation`, together with the Tensors it read
   and a function `backward(dy)` that turns the gradient of the result into the gradients of what it read.
2. `record_operation` returns the result as a Tensor and, where a gradient may be asked for, gives it a `Node` that
   points at the nodes of its parents. So the graph of a computation exists as a by-product of running it.
3. `loss.backward()` visits the nodes from the last recorded to the first. A node is recorded after all its parents, so
   this order meets every node when its gradient is complete, and meets it once: no recursion, no revisits.
4. Each node is taken apart as the walk leaves it. What only the graph kept alive (activations) is freed on the way.

    >>> from tinygrad_llm import Tensor
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> loss = (x * x).sum()
    >>> loss.backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)

Who owns a gradient: `dy` is shared, several branches may hold the same array, so nobody writes into it (it is made
read-only before it is handed out). A backward returns `dy` itself, a view, or an array it allocated, each of those
once. The walk borrows the first gradient that reaches a node, sums the second into a fresh array, and adds later ones
in place.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np

from tinygrad_llm import buffers, versions
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import GraphError

if TYPE_CHECKING:  # for annotations alone: these classes stand above the graph
    from tinygrad_llm.tensor import Tensor
    from tinygrad_llm.variable import Variable

Gradients: TypeAlias = "Sequence[Array | None]"
Backward: TypeAlias = "Callable[[Array], Gradients]"
TensorLike: TypeAlias = "Variable | Array | np.generic | float | int | bool | Sequence[Any]"
Axis: TypeAlias = "int | tuple[int, ...] | None"
C = TypeVar("C", bound="type[Variable]")
RECOMPUTED_FROM = 1 << 18  # elements from which a result is computed again in backward; saving a smaller one is faster

# -- modes and observers, of each thread


class Observer(Protocol):
    """An object that is shown every operation, such as the tape or `detect_anomaly`. See `observe`."""

    def recorded(self, output: Tensor, parents: Sequence[Tensor]) -> None:
        """After an operation ran forward (its node, if any, is `output.node`)."""

    def before_backward(self, node: Node, dy: Array) -> None:
        """Before a node's backward runs on its complete gradient."""

    def after_backward(self, node: Node, gradients: Gradients) -> None:
        """After a node's backward returned one gradient per parent."""


class _Mode(threading.local):
    """Each thread records for itself, so evaluation in one never switches off training in another."""

    recording = True
    observers: tuple[Observer, ...] = ()


mode = _Mode()


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside: no graph, no activations kept. Also a decorator: `@no_grad()`."""
    before, mode.recording = mode.recording, False
    try:
        yield
    finally:
        mode.recording = before


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record again inside a `no_grad` block, as a recomputed forward must."""
    before, mode.recording = mode.recording, True
    try:
        yield
    finally:
        mode.recording = before


def is_grad_enabled() -> bool:
    """Whether operations on this thread are being recorded."""
    return mode.recording


@contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Show `observer` every operation of this thread, forward and backward."""
    before = mode.observers
    mode.observers = (*before, observer)
    try:
        yield
    finally:
        mode.observers = before


# -- recording


class Node:
    """One recorded operation: its backward, and where its gradients go.

    A parent is the Node of another operation, or a leaf that collects its gradient, or None where no gradient is
    needed. A node never holds its own output's Tensor or array, so no reference cycle forms.
    """

    __slots__ = (
        *("arrays", "backward", "dtype", "grad", "grad_is_ours"),
        *("order", "parents", "recompute", "retained", "shape"),
    )

    def __init__(self, data: Array, operands: Sequence[Variable], backward: Backward, recompute: Any) -> None:
        self.backward: Backward | None = backward  # None once the walk has passed
        self.parents: Sequence[Any] = [x.node or (x if x.collects_gradient else None) for x in operands]
        self.recompute = recompute if data.size >= RECOMPUTED_FROM else None  # from what `backward` saves anyway
        self.order = versions.next_time()
        self.shape, self.dtype = data.shape, data.dtype
        self.grad: Array | None = None  # dL/d(output), while it is being collected
        self.grad_is_ours = False  # whether the walk may add to it in place
        self.retained: weakref.ref[Variable] | None = None  # the Tensor that asked for retain_grad
        self.arrays = [id(x.data) for x in operands] + [id(data)]  # ids, to name them in errors

    @property
    def name(self) -> str:
        """The operation's name: that of the function around its backward."""
        return "freed" if self.backward is None else operation_name(self.backward.__qualname__)

    def collect(self, gradient: Array) -> None:
        """Add `gradient` to that of this operation's result."""
        if self.grad is None:
            self.grad = gradient
        elif self.grad_is_ours:
            self.grad += gradient
        else:
            self.grad = buffers.add(self.grad, gradient)
            self.grad_is_ours = True


def operation_name(qualname: str) -> str:
    """`exp` for the closure `Elementwise.exp.<locals>.backward`, wherever `exp` was defined."""
    return qualname.rsplit(".<locals>", 1)[0].rpartition(".")[2].strip("_")


def record_operation(data: Array, parents: Sequence[Variable], backward: Backward, recompute: Any = None) -> Tensor:
    """An operation's result as a Tensor that remembers how to go back.

    `data` is the result, `parents` the Tensors it was computed from, and `backward(dy)` returns one gradient per
    parent, in order, each exactly of its parent's shape, or None where none is needed. Under `no_grad`, or when no
    parent needs a gradient, the result is a plain Tensor and `backward` is dropped with all it holds. `recompute`
    returns the result again: an operation that reads a large one may save it for its backward in place of the array.
    """
    output = plain_tensor(data)
    if mode.recording:
        for parent in parents:
            if parent.node is not None or parent.collects_gradient:
                output.node = Node(output.data, parents, backward, recompute)
                break
    for observer in mode.observers:
        observer.recorded(output, parents)  # type: ignore[arg-type]  # every Variable is a Tensor
    return output


_class_of_results: type[Tensor]


def class_of_results(tensor_class: C) -> C:
    """Decorator of Tensor: it tells this file, which Tensor imports, the class of every result."""
    global _class_of_results
    _class_of_results = tensor_class  # type: ignore[assignment]
    return tensor_class


def plain_tensor(data: Array) -> Tensor:
    """A Tensor over `data` without history."""
    output = _class_of_results.__new__(_class_of_results)
    output.data = data if isinstance(data, np.ndarray) else np.asarray(data)  # NumPy turns 0-d results into scalars
    output.grad = output.node = None
    output.collects_gradient = False
    return output


# -- the walk back


def _nodes_behind(root: Node) -> list[Node]:
    """Every node that `root` depends on, in the order they were recorded."""
    found, seen, stack = [], {id(root)}, [root]
    while stack:
        node = stack.pop()
        if node.backward is None:
            raise GraphError(
                "backward: each graph is walked once, its activations are freed on the way; this one was walked "
                "before; run the forward again, or give the first backward retain_graph=True"
            )
        found.append(node)
        for parent in node.parents:
            if isinstance(parent, Node) and id(parent) not in seen:
                seen.add(id(parent))
                stack.append(parent)
    found.sort(key=lambda node: node.order)
    return found


def walk_back(root: Node, gradient: Array, retain_graph: bool) -> Iterator[None]:
    """Hand `gradient` back through the graph behind `root`, newest operation first, one at each step."""
    pending = _nodes_behind(root)
    root.grad = gradient
    try:
        while pending:
            _go_back(pending.pop(), retain_graph)
            yield
    finally:
        for node in pending:  # a failed walk leaves no half-collected gradient behind
            node.grad, node.grad_is_ours = None, False


def _go_back(node: Node, retain_graph: bool) -> None:
    """Run one operation's backward, and hand the gradients to its parents."""
    dy, node.grad, node.grad_is_ours = node.grad, None, False
    backward, parents = node.backward, node.parents
    gradients: Gradients = [None] * len(parents)
    if dy is not None and backward is not None:  # else everything after it returned None, and so does this
        if versions.last_write > node.order:
            versions.expect_unchanged(backward, node.order, node.name, node.arrays)
        dy.flags.writeable = False
        if node.retained is not None and (tensor := node.retained()) is not None:
            tensor.collect(dy)
        for observer in mode.observers:
            observer.before_backward(node, dy)
        gradients = backward(dy)
        for observer in mode.observers:
            observer.after_backward(node, gradients)
    if not retain_graph:
        node.backward, node.recompute, node.parents = None, None, ()
    qualname = "" if backward is None else backward.__qualname__
    del backward, dy  # the activations of this operation die here
    _deliver(qualname, parents, gradients)


def _deliver(qualname: str, parents: Sequence[Node | Variable | None], gradients: Gradients) -> None:
    """Give each parent its gradient, once its shape is checked."""
    if len(gradients) != len(parents):
        raise GraphError(
            f"{operation_name(qualname)}: backward must return one gradient per parent, {len(parents)}; "
            f"got {len(gradients)}"
        )
    for parent, gradient in zip(parents, gradients, strict=True):
        if parent is None or gradient is None:
            continue
        if not isinstance(gradient, np.ndarray):
            gradient = np.asarray(gradient)  # NumPy turns 0-d results into scalars
        if gradient.shape != parent.shape:
            raise GraphError(
                f"{operation_name(qualname)}: backward must return a gradient of its parent's shape {parent.shape}; "
                f"got {gradient.shape}"
            )
        if gradient.dtype != parent.dtype:
            gradient = gradient.astype(parent.dtype)
        parent.collect(gradient)
