"""The autograd core: Tensor, `record`, the backward walk and `no_grad`. No mathematics lives here.

Reverse-mode differentiation in four steps:

1. An operation computes its result with NumPy and hands it to `record`, together with the Tensors it read and a
   function `backward(dy)` that turns the gradient of the result into the gradients of what it read.
2. `record` wraps the result in a Tensor and, where a gradient may be asked for, in a `Node` that points at the nodes
   of its parents. So the graph of a computation exists as a by-product of running it.
3. `loss.backward()` visits the nodes from the last recorded to the first. A node is recorded after all its parents, so
   this order meets every node when its gradient is complete, and meets it once: no recursion, no revisits.
4. Each node is taken apart as the walk leaves it. What only the graph kept alive (activations) is freed on the way.

    >>> from tinygrad_llm import Tensor
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> loss = (x * x).sum()
    >>> loss.backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)

Who owns a gradient. `dy` is shared: several branches may hold the same array, so nobody writes into it (it is made
read-only before it is handed out). A backward returns `dy` itself, a view, or an array it allocated, each of those
once. The walk borrows the first gradient that reaches a node, sums the second into a fresh array, and adds later ones
in place.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np

from tinygrad_llm import buffers
from tinygrad_llm.arrays import Array, as_array
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError

Gradients: TypeAlias = Sequence["Array | None"]
Backward: TypeAlias = "Callable[[Array], Gradients]"
TensorLike: TypeAlias = "Tensor | Array | np.generic | float | int | bool | Sequence[Any]"
Axis: TypeAlias = "int | tuple[int, ...] | None"


class Observer(Protocol):
    """What wants to see every operation: the tape and `detect_anomaly`. See `observe`."""

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


_mode = _Mode()
_next_order = itertools.count().__next__


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside: no graph, no activations kept. Also a decorator: `@no_grad()`."""
    before, _mode.recording = _mode.recording, False
    try:
        yield
    finally:
        _mode.recording = before


@contextmanager
def enable_grad() -> Iterator[None]:
    """Record again inside a `no_grad` block, as a recomputed forward must."""
    before, _mode.recording = _mode.recording, True
    try:
        yield
    finally:
        _mode.recording = before


def is_grad_enabled() -> bool:
    """Whether operations on this thread are being recorded."""
    return _mode.recording


@contextmanager
def observe(observer: Observer) -> Iterator[None]:
    """Show `observer` every operation of this thread, forward and backward."""
    before = _mode.observers
    _mode.observers = (*before, observer)
    try:
        yield
    finally:
        _mode.observers = before


class Node:
    """One recorded operation: its backward, and where its gradients go.

    A parent is the Node of another operation, or a leaf Tensor that collects its gradient, or None where no gradient is
    needed. A node never holds its own output's Tensor or array, so no reference cycle forms.
    """

    __slots__ = ("backward", "dtype", "grad", "grad_is_ours", "order", "parents", "retained", "shape")

    def __init__(self, data: Array, parents: tuple[Node | Tensor | None, ...], backward: Backward) -> None:
        self.backward: Backward | None = backward  # None once the walk has passed
        self.parents = parents
        self.order = _next_order()
        self.shape = data.shape
        self.dtype = data.dtype
        self.grad: Array | None = None  # dL/d(output), while it is being collected
        self.grad_is_ours = False  # whether the walk may add to it in place
        self.retained: weakref.ref[Tensor] | None = None  # the Tensor that asked for retain_grad

    @property
    def name(self) -> str:
        """The operation's name: that of the function around its backward."""
        return "freed" if self.backward is None else operation_name(self.backward.__qualname__)

    def collect(self, gradient: Array) -> None:
        if self.grad is None:
            self.grad = gradient
        elif self.grad_is_ours:
            self.grad += gradient
        else:
            self.grad = buffers.add(self.grad, gradient)
            self.grad_is_ours = True


def operation_name(qualname: str) -> str:
    """`layer_norm` for the closure `layer_norm.<locals>.backward`, wherever `layer_norm` was defined."""
    return qualname.rsplit(".<locals>", 1)[0].rpartition(".")[2].rstrip("_")


def record(data: Array, parents: Sequence[Tensor], backward: Backward) -> Tensor:
    """Wrap an operation's result, remembering how to go back.

    `data` is the result, `parents` the Tensors it was computed from, and `backward(dy)` returns one gradient per
    parent, in order, each exactly of its parent's shape, or None where none is needed. Under `no_grad`, or when no
    parent needs a gradient, the result is a plain Tensor and `backward` is dropped with all it holds.
    """
    output = Tensor.__new__(Tensor)
    output.data = data if isinstance(data, np.ndarray) else np.asarray(data)
    output.grad = None
    output._is_parameter = False
    output.node = None
    if _mode.recording:
        for parent in parents:
            if parent.node is not None or parent._is_parameter:
                sources = tuple([p.node or (p if p._is_parameter else None) for p in parents])
                output.node = Node(output.data, sources, backward)
                break
    for observer in _mode.observers:
        observer.recorded(output, parents)
    return output


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


def _walk_back(root: Node, gradient: Array, retain_graph: bool) -> Iterator[None]:
    """Hand `gradient` back through the graph behind `root`, newest operation first, one at each step."""
    pending = _nodes_behind(root)
    root.grad = gradient
    try:
        while pending:
            node = pending.pop()
            dy, node.grad, node.grad_is_ours = node.grad, None, False
            backward, parents = node.backward, node.parents
            gradients: Gradients = [None] * len(parents)
            if dy is not None and backward is not None:  # else everything after it returned None, and so does this
                dy.flags.writeable = False
                if node.retained is not None and (tensor := node.retained()) is not None:
                    tensor._collect(dy)
                for observer in _mode.observers:
                    observer.before_backward(node, dy)
                gradients = backward(dy)
                for observer in _mode.observers:
                    observer.after_backward(node, gradients)
            maker = "" if backward is None else backward.__qualname__
            if not retain_graph:
                node.backward, node.parents = None, ()
            del backward, dy  # the activations of this operation die here
            _deliver(maker, parents, gradients)
            yield
    finally:
        for node in pending:  # a failed walk leaves no half-collected gradient behind
            node.grad, node.grad_is_ours = None, False


def _deliver(maker: str, parents: Sequence[Node | Tensor | None], gradients: Gradients) -> None:
    if len(gradients) != len(parents):
        raise GraphError(
            f"{operation_name(maker)}: backward must return one gradient per parent, {len(parents)}; "
            f"got {len(gradients)}"
        )
    for parent, gradient in zip(parents, gradients, strict=True):
        if parent is None or gradient is None:
            continue
        if not isinstance(gradient, np.ndarray):
            gradient = np.asarray(gradient)  # NumPy turns 0-d results into scalars
        if gradient.shape != parent.shape:
            raise GraphError(
                f"{operation_name(maker)}: backward must return a gradient of its parent's shape {parent.shape}; "
                f"got {gradient.shape}"
            )
        if gradient.dtype != parent.dtype:
            gradient = gradient.astype(parent.dtype)
        if isinstance(parent, Node):
            parent.collect(gradient)
        else:
            parent._collect(gradient)


class Tensor:
    """An n-dimensional array that remembers how it was computed.

    `Tensor(data, requires_grad=False, dtype=None)` wraps `data` without copying a NumPy array. Python floats become
    float32 and Python integers int64 (ids), unless `requires_grad` asks for a gradient, which only real numbers have;
    a NumPy array keeps its dtype.

    `.data` is the ndarray; `.grad` an ndarray of the same shape, or None; `.node` the operation that made it, or None
    for a leaf. Raises ShapeError for ragged lists, DTypeError for what is not a number.
    """

    __slots__ = ("__weakref__", "_is_parameter", "data", "grad", "node")
    __array_ufunc__ = None  # so that `ndarray + Tensor` comes to Tensor.__radd__ and stays in the graph

    data: Array
    grad: Array | None
    node: Node | None
    _is_parameter: bool  # a leaf that collects a gradient

    def __init__(self, data: TensorLike, requires_grad: bool = False, dtype: Any = None) -> None:
        self.data = as_array(data, dtype, prefer_float=requires_grad)
        self.grad = None
        self.node = None
        self._is_parameter = False
        self.requires_grad = requires_grad

    # -- what it is

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.node is None

    @property
    def requires_grad(self) -> bool:
        """Whether backward reaches it: a leaf that asked for a gradient, or anything computed from one."""
        return self._is_parameter or self.node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if self.node is not None and not value:
            raise GraphError("requires_grad: a computed Tensor always requires it; use detach() to leave the graph")
        if value and self.data.dtype.kind not in "fc":
            raise DTypeError(
                f"requires_grad: only floating-point Tensors have gradients; got {self.data.dtype}; "
                "give dtype=numpy.float32"
            )
        self._is_parameter = bool(value) and self.node is None

    def __len__(self) -> int:
        if not self.data.ndim:
            raise ShapeError("len: a 0-d Tensor has no length; use item() for its number")
        return len(self.data)

    def __repr__(self) -> str:
        numbers = np.array2string(self.data, separator=", ", precision=4, threshold=40, edgeitems=3, prefix="Tensor(")
        leaf = ", requires_grad=True" if self._is_parameter else ""
        made_by = leaf if self.node is None else f", op={self.node.name}"
        return f"{type(self).__name__}({numbers}, shape={self.shape}, dtype={self.dtype}{made_by})"

    # -- leaving the graph

    def numpy(self) -> Array:
        """The ndarray itself, not a copy."""
        return self.data

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return np.array(self.data, dtype=dtype, copy=copy)

    def item(self) -> Any:
        """The only element, as a Python number."""
        if self.data.size != 1:
            raise ShapeError(f"item: a Tensor of one element is needed; got shape {self.shape}")
        return self.data.item()

    def tolist(self) -> Any:
        return self.data.tolist()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self.data.dtype.kind not in "iu":
            raise DTypeError(f"only an integer Tensor is an index; got {self.data.dtype}")
        return int(self.item())

    def __bool__(self) -> bool:
        if self.data.size != 1:
            raise ShapeError(f"the truth of a Tensor with shape {self.shape} is ambiguous; reduce it to one element")
        return bool(self.data)

    def detach(self) -> Tensor:
        """The same array as a Tensor without history: no gradient flows through."""
        return Tensor(self.data)

    # -- gradients

    def backward(self, gradient: TensorLike | None = None, retain_graph: bool = False) -> None:
        """Add dL/d(leaf) to the `.grad` of every leaf that this Tensor, L, was computed from.

        `gradient` is dL/d(self), of the same shape; it may be left out only for a single element, where it is 1. The
        graph is freed unless `retain_graph`. Raises GraphError where there is nothing to walk.
        """
        for _ in self.backward_steps(gradient, retain_graph):
            pass

    def backward_steps(self, gradient: TensorLike | None = None, retain_graph: bool = False) -> Iterator[None]:
        """`backward`, one operation at each step, for who wants to look in between; unfinished, it frees no more."""
        if not self.requires_grad:
            raise GraphError(
                "backward: this Tensor was not computed from one with requires_grad=True, or under no_grad; "
                "there is nothing to differentiate"
            )
        if gradient is None:
            if self.data.size != 1:
                raise GraphError(
                    f"backward: without a gradient, the Tensor must have one element; got shape {self.shape}; "
                    "reduce it (sum or mean), or give a gradient of that shape"
                )
            start = np.ones_like(self.data)
        else:
            start = as_array(gradient, self.data.dtype).view()  # a view: it is made read-only, the caller's is not
            if start.shape != self.shape:
                raise ShapeError(f"backward: gradient must have the Tensor's shape {self.shape}; got {start.shape}")
        if self.node is None:
            self._collect(start)
        else:
            yield from _walk_back(self.node, start, retain_graph)

    def _collect(self, gradient: Array) -> None:
        if self.grad is not None:
            self.grad += gradient
        elif gradient.flags.writeable and not buffers.is_view(gradient):
            self.grad = gradient
        else:  # shared with another branch: a leaf's own gradient may be clipped or added to in place
            self.grad = gradient.copy()

    def retain_grad(self) -> None:
        """Keep `.grad` after backward for a computed Tensor too; a leaf keeps its own anyway."""
        if self.node is not None:
            self.node.retained = weakref.ref(self)
        elif not self._is_parameter:
            raise GraphError("retain_grad: this Tensor does not require a gradient")

    def zero_grad(self) -> None:
        """Forget the gradient, so that the next backward starts a new sum."""
        self.grad = None

    __hash__ = object.__hash__  # `==` compares elements, so identity is what a set or dict must use

    if TYPE_CHECKING:
        # Declared here for readers and type checkers; the bodies are in primitives/, one file per family.
        # arithmetic.py
        def __add__(self, other: TensorLike) -> Tensor: ...
        def __radd__(self, other: TensorLike) -> Tensor: ...
        def __sub__(self, other: TensorLike) -> Tensor: ...
        def __rsub__(self, other: TensorLike) -> Tensor: ...
        def __mul__(self, other: TensorLike) -> Tensor: ...
        def __rmul__(self, other: TensorLike) -> Tensor: ...
        def __truediv__(self, other: TensorLike) -> Tensor: ...
        def __rtruediv__(self, other: TensorLike) -> Tensor: ...
        def __pow__(self, other: TensorLike) -> Tensor: ...
        def __rpow__(self, other: TensorLike) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __iadd__(self, other: TensorLike) -> Tensor: ...
        def __isub__(self, other: TensorLike) -> Tensor: ...
        def __imul__(self, other: TensorLike) -> Tensor: ...
        def __itruediv__(self, other: TensorLike) -> Tensor: ...
        # comparison.py
        def __eq__(self, other: TensorLike) -> Tensor: ...  # type: ignore[override]
        def __ne__(self, other: TensorLike) -> Tensor: ...  # type: ignore[override]
        def __lt__(self, other: TensorLike) -> Tensor: ...
        def __le__(self, other: TensorLike) -> Tensor: ...
        def __gt__(self, other: TensorLike) -> Tensor: ...
        def __ge__(self, other: TensorLike) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def maximum(self, y: TensorLike) -> Tensor: ...
        def minimum(self, y: TensorLike) -> Tensor: ...
        def clip(self, low: float | None = None, high: float | None = None) -> Tensor: ...
        def where(self, condition: TensorLike, other: TensorLike) -> Tensor: ...
        def masked_fill(self, mask: TensorLike, value: float) -> Tensor: ...
        # elementwise.py
        def exp(self) -> Tensor: ...
        def log(self) -> Tensor: ...
        def sqrt(self) -> Tensor: ...
        def tanh(self) -> Tensor: ...
        def sigmoid(self) -> Tensor: ...
        def relu(self) -> Tensor: ...
        def abs(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def erf(self) -> Tensor: ...
        # matmul.py
        def __matmul__(self, other: TensorLike) -> Tensor: ...
        def __rmatmul__(self, other: TensorLike) -> Tensor: ...
        def matmul(self, y: TensorLike) -> Tensor: ...
        # reduction.py
        def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def var(
            self, axis: Axis = None, keepdims: bool = False, correction: int = 1, unbiased: bool | None = None
        ) -> Tensor: ...
        def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def logsumexp(self, axis: Axis = None, keepdims: bool = False) -> Tensor: ...
        def cumsum(self, axis: int) -> Tensor: ...
        def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor: ...
        # shape.py
        def reshape(self, *shape: int | Sequence[int]) -> Tensor: ...
        def transpose(self, first: int, second: int) -> Tensor: ...
        def permute(self, *axes: int | Sequence[int]) -> Tensor: ...
        def squeeze(self, axis: Axis = None) -> Tensor: ...
        def unsqueeze(self, axis: int) -> Tensor: ...
        def broadcast_to(self, shape: Sequence[int]) -> Tensor: ...
        def astype(self, dtype: Any) -> Tensor: ...
        @property
        def T(self) -> Tensor: ...
        # indexing.py
        def __getitem__(self, key: Any) -> Tensor: ...
        def __setitem__(self, key: Any, value: TensorLike) -> None: ...
        def tril(self, diagonal: int = 0) -> Tensor: ...
        def triu(self, diagonal: int = 0) -> Tensor: ...
        # joining.py
        def split(self, size: int | Sequence[int], axis: int = 0) -> tuple[Tensor, ...]: ...
        def pad(self, pad_width: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor: ...


def as_tensor(value: TensorLike) -> Tensor:
    """`value` itself if it is a Tensor, else wrapped as one."""
    return value if isinstance(value, Tensor) else Tensor(value)


def tensor_method(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give Tensor the decorated function under each of `names`: how primitives/ fills in the bodies declared above."""

    def give(function: Callable[..., Any]) -> Callable[..., Any]:
        for name in names:
            setattr(Tensor, name, function)
        return function

    return give
