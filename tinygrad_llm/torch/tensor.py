"""`torch.Tensor`: the engine's Tensor with PyTorch's methods, arguments and printing.

The engine knows nothing of this class. It computes with its own Tensor, of which this is a subclass without a field of
its own. Each word of this wing (a method here, a function of `torch`, a module of `torch.nn`) calls the engine, then
gives the result this class (`as_torch`). So a graph may hold both, and any function of the package takes either.

Two things differ from PyTorch: `.data` and `.grad` are arrays, since the engine and its optimizers read both. They
print as Tensors and know a Tensor's methods (`Numbers`, `Gradient`); what NumPy computes with `.data` is plain arrays.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm import Tensor as EngineTensor
from tinygrad_llm import functions, maximum, minimum, ops
from tinygrad_llm import where as engine_where
from tinygrad_llm.errors import DTypeError, GraphError, ShapeError
from tinygrad_llm.functions.sorting import Sorted
from tinygrad_llm.graph import is_grad_enabled
from tinygrad_llm.random import default_generator
from tinygrad_llm.torch.grad_names import GradFn, grad_fn_name
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.printing import printed
from tinygrad_llm.torch.types import CPU, Size, as_dtype, bfloat16, device, dtype, dtype_of, expect_cpu
from tinygrad_llm.versions import mark_written

Array = np.ndarray[Any, np.dtype[Any]]

DATA: Any = EngineTensor.data  # the slot in which the engine keeps the numbers
ARRAY_SHAPE: Any = np.ndarray.shape
GRADIENT: Any = EngineTensor.grad  # the slot in which the engine keeps the array

# What PyTorch calls an argument, and what the engine does.
RENAMED = {"dim": "axis", "keepdim": "keepdims", "dims": "axes", "min": "low", "max": "high"}


TYPE_NAMES = {"float16": "Half", "float32": "Float", "float64": "Double", "int16": "Short", "int32": "Int"}
TYPE_NAMES |= {"int64": "Long", "uint8": "Byte", "int8": "Char"}


class ValuesIndices(NamedTuple):
    """What `max(dim)`, `min(dim)`, `sort` and `topk` return."""

    values: Any
    indices: Any

    def __repr__(self) -> str:
        return f"torch.return_types.{type(self).__name__}(\nvalues={self.values!r},\nindices={self.indices!r})"


RETURN_TYPES: dict[str, Any] = {
    name: type(name, (ValuesIndices,), {}) for name in ("max", "min", "sort", "topk", "median")
}


def as_torch(value: Any) -> Any:
    """The engine's Tensor as a `torch.Tensor`, and so each Tensor in a tuple or list: the same object, not a copy."""
    if type(value) is EngineTensor:
        value.__class__ = Tensor  # the layouts are one: a subclass without fields
    elif type(value) in (tuple, list):
        return type(value)(as_torch(one) for one in value)
    return value


def with_torch_names(function: Callable[..., Any], renamed: dict[str, str] = RENAMED) -> Callable[..., Any]:
    """A function of the engine with PyTorch's argument names, whose results are of this wing's class."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        named = {renamed.get(name, name): value for name, value in kwargs.items() if name != "out"}
        result = function(*args, **named)
        if isinstance(result, Sorted):
            return RETURN_TYPES[function.__name__](*map(as_torch, result))
        return as_torch(result)

    return call


class Count(int):
    """A number of elements, which PyTorch's `size()` calls: `x.size()` is the shape, `x.size(0)` the first axis."""

    shape: tuple[int, ...]

    def __call__(self, dim: int | None = None) -> Any:
        return Size(self.shape) if dim is None else self.shape[dim]


class TensorType(type):
    """The class of `torch.Tensor`, for which `.data` and `.grad` are among its instances."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or (cls is Tensor and isinstance(instance, Numbers))


class Tensor(EngineTensor, metaclass=TensorType):
    """An n-dimensional array as PyTorch has it: see the file's text for what is the engine's."""

    __slots__ = ()
    __hash__ = EngineTensor.__hash__

    # -- what it is

    @property
    def data(self) -> Any:
        array = DATA.__get__(self)
        if type(array) is not Numbers:
            array = array.view(Numbers)
            DATA.__set__(self, array)  # the same object at the next access
        return array

    @data.setter
    def data(self, value: Any) -> None:
        DATA.__set__(self, value.data if isinstance(value, EngineTensor) else value)

    @property
    def shape(self) -> Size:
        return Size(self.data.shape)

    @property
    def size(self) -> Any:
        count = Count(self.data.size)
        count.shape = self.data.shape
        return count

    @property
    def dtype(self) -> Any:
        return dtype_of(self.data.dtype)

    @property
    def device(self) -> device:
        return CPU

    is_cuda = False

    @property
    def grad(self) -> Any:
        array = GRADIENT.__get__(self)
        return None if array is None else array.view(Gradient)

    @grad.setter
    def grad(self, value: Any) -> None:
        array = None if value is None else np.asarray(value.data if isinstance(value, EngineTensor) else value)
        GRADIENT.__set__(self, array)

    @property
    def grad_fn(self) -> GradFn | None:
        return None if self.node is None else GradFn(self.node)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        self.requires_grad = requires_grad
        return self

    def numel(self) -> int:
        return self.data.size

    nelement = numel

    def dim(self) -> int:
        return self.data.ndim

    def element_size(self) -> int:
        return self.data.itemsize

    def is_floating_point(self) -> bool:
        return self.data.dtype.kind == "f"

    def is_contiguous(self) -> bool:
        return self.data.flags.c_contiguous

    def __repr__(self) -> str:
        if self.node is not None:
            said = [f"grad_fn=<{grad_fn_name(self.node)}>"]
        else:
            said = ["requires_grad=True"] if self.requires_grad else []
        return printed(self.data, said)

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if not self.data.ndim else format(repr(self), spec)

    def __eq__(self, other: Any) -> Any:
        return False if other is None else as_torch(EngineTensor.__eq__(self, other))

    def __ne__(self, other: Any) -> Any:
        return True if other is None else as_torch(EngineTensor.__ne__(self, other))

    def __iter__(self) -> Any:
        if not self.data.ndim:
            raise ShapeError("iteration: a 0-d Tensor has no elements to walk; use item()")
        return (self[i] for i in range(len(self.data)))

    def __array_ufunc__(self, *args: Any, **kwargs: Any) -> Any:
        return as_torch(EngineTensor.__array_ufunc__(self, *args, **kwargs))

    def __array_function__(self, *args: Any, **kwargs: Any) -> Any:
        return as_torch(EngineTensor.__array_function__(self, *args, **kwargs))

    def __contains__(self, value: Any) -> bool:
        return bool((self.data == np.asarray(value)).any())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(missing_word("torch.Tensor", name, dir(type(self))))

    # -- other dtypes, other places

    def to(self, *where: Any, dtype: Any = None, device: Any = None, **ignored: Any) -> Tensor:
        """The same numbers in another dtype; a device must be the CPU. Itself where nothing changes."""
        for one in (*where, dtype, device):
            if one is None or isinstance(one, bool):
                continue  # non_blocking
            if isinstance(one, EngineTensor):
                dtype = one.dtype
            elif isinstance(one, str) or type(one).__name__ == "device":
                expect_cpu(one)
            else:
                dtype = one
        wanted = as_dtype(dtype)
        return self if wanted is None or wanted == self.data.dtype else as_torch(self.astype(wanted))

    def type(self, dtype: Any = None) -> Any:
        if dtype is not None:
            return self.to(dtype)
        name = dtype_of(self.data.dtype).named
        return f"torch.{TYPE_NAMES.get(name, name.title())}Tensor"

    def cpu(self) -> Tensor:
        return self

    def cuda(self, *_: Any) -> Tensor:
        expect_cpu("cuda")
        return self

    def float(self) -> Tensor:
        return self.to(np.float32)

    def double(self) -> Tensor:
        return self.to(np.float64)

    def half(self) -> Tensor:
        return self.to(np.float16)

    def long(self) -> Tensor:
        return self.to(np.int64)

    def int(self) -> Tensor:
        return self.to(np.int32)

    def bool(self) -> Tensor:
        return self.to(np.bool_)

    def bfloat16(self) -> Tensor:
        return self.to(bfloat16)

    # -- new Tensors of this one's dtype

    def new_zeros(self, *size: Any) -> Tensor:
        return Tensor(np.zeros(sizes_of(size), self.data.dtype))

    def new_ones(self, *size: Any) -> Tensor:
        return Tensor(np.ones(sizes_of(size), self.data.dtype))

    def new_full(self, size: Any, fill_value: Any) -> Tensor:
        return Tensor(np.full(size, fill_value, self.data.dtype))

    def new_tensor(self, data: Any) -> Tensor:
        return tensor(data, self.data.dtype)

    # -- copies and views

    def clone(self) -> Tensor:
        return as_torch(self.astype(self.data.dtype))

    def contiguous(self) -> Tensor:
        return self

    def view(self, *shape: Any) -> Tensor:
        return as_torch(self.reshape(*shape))

    def ravel(self) -> Tensor:
        return as_torch(self.reshape(-1))

    def view_as(self, other: EngineTensor) -> Tensor:
        return as_torch(self.reshape(other.shape))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        shape = self.data.shape or (1,)
        start, end = start_dim % len(shape), end_dim % len(shape)
        return as_torch(self.reshape(*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))

    def t(self) -> Tensor:
        return as_torch(self.transpose(0, 1)) if self.data.ndim > 1 else self

    @property
    def T(self) -> Tensor:
        return as_torch(EngineTensor.T.__get__(self))

    @property
    def mT(self) -> Tensor:
        return as_torch(self.transpose(-2, -1))

    def expand_as(self, other: EngineTensor) -> Tensor:
        return as_torch(functions.expand(self, other.shape))

    def repeat(self, *sizes: Any) -> Tensor:
        """Copies of the whole, `sizes` times along each axis; the gradient sums over the copies."""
        counts = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], Sequence) else sizes
        shape = (1,) * (len(counts) - self.data.ndim) + self.data.shape
        if len(counts) < self.data.ndim:
            raise ShapeError(f"repeat: one count for each axis of {self.data.shape} is needed; got {counts}")
        split = self.reshape(*(size for one in shape for size in (1, one)))
        wide = split.broadcast_to([size for pair in zip(counts, shape, strict=True) for size in pair])
        return as_torch(wide.reshape(*(count * size for count, size in zip(counts, shape, strict=True))))

    def unbind(self, dim: int = 0) -> tuple[Tensor, ...]:
        before = (slice(None),) * (dim % self.data.ndim)
        return tuple(self[(*before, i)] for i in range(self.data.shape[dim]))

    def masked_select(self, mask: Any) -> Tensor:
        return as_torch(self.broadcast_to(np.broadcast_shapes(self.data.shape, np.shape(_plain(mask))))[mask])

    def index_select(self, dim: int, index: Any) -> Tensor:
        return as_torch(self[(*(slice(None),) * (dim % self.data.ndim), index)])

    def nonzero(self, as_tuple: Any = False) -> Any:
        """The positions of elements that are not 0: one row each, or one Tensor for each axis."""
        places = np.nonzero(np.atleast_1d(self.data))
        if as_tuple:
            return tuple(Tensor(one) for one in places)
        return Tensor(np.stack(places, axis=-1) if self.data.ndim else np.zeros((len(places[0]), 0), np.int64))

    # -- reductions that have a form of their own

    def max(self, *args: Any, **kwargs: Any) -> Any:
        """The largest of all; or along `dim`, with positions; or of two Tensors, element by element."""
        return self._extreme("max", args, kwargs)

    def min(self, *args: Any, **kwargs: Any) -> Any:
        """The smallest of all; or along `dim`, with positions; or of two Tensors, element by element."""
        return self._extreme("min", args, kwargs)

    def _extreme(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args and isinstance(args[0], EngineTensor):
            return as_torch((maximum if name == "max" else minimum)(self, args[0]))
        if "axis" in kwargs or "keepdims" in kwargs or not (args or kwargs):  # the engine's form
            return as_torch(getattr(EngineTensor, name)(self, *args, **kwargs))
        given = dict(zip(("dim", "keepdim"), args, strict=False)) | kwargs
        dim, keep = given["dim"], given.get("keepdim", False)
        choose = EngineTensor.argmax if name == "max" else functions.argmin
        x = self if self.data.ndim else self.reshape(1)
        indices = choose(x, dim, True)
        values = functions.take_along_axis(x, indices, dim)
        if not self.data.ndim:
            values, indices = values.reshape(()), indices.reshape(())
        elif not keep:
            values, indices = values.squeeze(dim), indices.squeeze(dim)
        return RETURN_TYPES[name](as_torch(values), as_torch(indices))

    def amax(self, dim: Any = None, keepdim: Any = False) -> Tensor:
        """The largest along `dim`; those that tie for it share the gradient evenly."""
        return as_torch(EngineTensor.max(self, dim, keepdim))

    def amin(self, dim: Any = None, keepdim: Any = False) -> Tensor:
        """The smallest along `dim`; those that tie for it share the gradient evenly."""
        return as_torch(EngineTensor.min(self, dim, keepdim))

    def count_nonzero(self, dim: Any = None) -> Tensor:
        return Tensor(np.asarray(np.count_nonzero(self.data, axis=dim)))

    def reciprocal(self) -> Tensor:
        return as_torch(1 / self)

    def floor_divide(self, other: Any) -> Tensor:
        """⌊x / y⌋, in the dtype of x · y; it has no gradient."""
        common = (self.detach() * other).data.dtype
        return Tensor(np.asarray(np.floor_divide(self.data.astype(common), _plain(other).astype(common))))

    def __floordiv__(self, other: Any) -> Tensor:
        return self.floor_divide(other)

    def __rfloordiv__(self, other: Any) -> Tensor:
        common = (self.detach() * other).data.dtype
        return Tensor(np.asarray(np.floor_divide(np.asarray(other, common), self.data.astype(common))))

    def softmax(self, dim: int, dtype: Any = None) -> Tensor:
        return as_torch(ops.softmax(self if dtype is None else self.to(dtype), dim))

    def log_softmax(self, dim: int, dtype: Any = None) -> Tensor:
        return as_torch(ops.log_softmax(self if dtype is None else self.to(dtype), dim))

    def allclose(self, other: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: Any = False) -> Any:
        return bool(np.allclose(self.data, _plain(other), rtol, atol, equal_nan))

    def isclose(self, other: Any, rtol: Any = 1e-05, atol: Any = 1e-08, equal_nan: Any = False) -> Tensor:
        return Tensor(np.asarray(np.isclose(self.data, _plain(other), rtol, atol, equal_nan)))

    def equal(self, other: Any) -> Any:
        return bool(np.array_equal(self.data, _plain(other)))

    def floor(self) -> Tensor:
        return Tensor(np.floor(self.data))

    def ceil(self) -> Tensor:
        return Tensor(np.ceil(self.data))

    def round(self, decimals: Any = 0) -> Tensor:
        return Tensor(np.round(self.data, decimals))

    def sign(self) -> Tensor:
        return Tensor(np.sign(self.data))

    def bincount(self, weights: Any = None, minlength: Any = 0) -> Tensor:
        return Tensor(np.bincount(self.data, None if weights is None else _plain(weights), minlength))

    def unique(self) -> Tensor:
        return Tensor(np.unique(self.data))

    def multinomial(self, num_samples: Any, replacement: Any = False, *, generator: Any = None) -> Tensor:
        source = default_generator() if generator is None else generator
        return Tensor(source.multinomial(self.data, num_samples, bool(replacement)))

    def dot(self, other: Any) -> Tensor:
        if self.data.ndim != 1 or np.ndim(_plain(other)) != 1:
            raise ShapeError(f"dot: two vectors are needed; got {self.data.shape} and {np.shape(_plain(other))}")
        return as_torch(EngineTensor.matmul(self, other))

    # -- writing

    def _rebind(self, result: EngineTensor) -> Tensor:
        """Make this Tensor the result of an operation on itself: how in-place operators work on a recorded Tensor.

        The array that the graph saved stays as it was, so no gradient can go wrong.
        """
        self._refuse_leaf()
        if result.shape != self.data.shape:
            raise ShapeError(f"in place: the result must have the shape {self.data.shape}; got {result.shape}")
        if not np.can_cast(result.data.dtype, self.data.dtype, "same_kind"):
            raise DTypeError(f"in place: the result must fit {self.dtype!r}; got {dtype_of(result.data.dtype)!r}")
        if not is_grad_enabled() or not (self.requires_grad or result.requires_grad):
            write(self, result.data)  # into its memory, which other Tensors may share
        else:
            self.node, self.data = result.node, result.data.astype(self.data.dtype, copy=False)
        return self

    def _rebind_shape(self, result: EngineTensor) -> Tensor:
        """Make this Tensor a view of itself in another shape."""
        self._refuse_leaf()
        self.node, self.data = result.node, result.data
        return self

    def _refuse_leaf(self) -> None:
        if self.requires_grad and self.node is None and is_grad_enabled():
            raise GraphError(
                "an in-place write must not touch a leaf that requires a gradient; "
                "write `y = x + 1` instead of `x += 1`, or update a parameter under no_grad()"
            )

    def __setitem__(self, key: Any, value: Any) -> None:
        """x[key] = value; the gradient goes to the value where it was written, and to x elsewhere."""
        of_value = isinstance(value, EngineTensor) and value.requires_grad
        if not of_value and self.node is None:
            EngineTensor.__setitem__(self, key, value)
            return
        plain = tuple(_plain(part) if isinstance(part, EngineTensor) else part for part in _parts(key))
        places = np.full(self.data.shape, -1)
        written = places[plain]
        places[plain] = np.arange(written.size).reshape(written.shape)
        source = value if isinstance(value, EngineTensor) else EngineTensor(np.asarray(value, self.data.dtype))
        flat = source.broadcast_to(written.shape).reshape(-1)
        if not flat.data.size:
            return
        self._rebind(engine_where(places >= 0, flat[np.maximum(places, 0)], self))

    def __iadd__(self, other: Any) -> Tensor:
        return self._rebind(EngineTensor.__add__(self, other))

    def __isub__(self, other: Any) -> Tensor:
        return self._rebind(EngineTensor.__sub__(self, other))

    def __imul__(self, other: Any) -> Tensor:
        return self._rebind(EngineTensor.__mul__(self, other))

    def __itruediv__(self, other: Any) -> Tensor:
        return self._rebind(EngineTensor.__truediv__(self, other))

    def add_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        return self._rebind(EngineTensor.__add__(self, other * alpha))

    def sub_(self, other: Any, *, alpha: Any = 1) -> Tensor:
        return self._rebind(EngineTensor.__sub__(self, other * alpha))

    def mul_(self, other: Any) -> Tensor:
        return self._rebind(EngineTensor.__mul__(self, other))

    def div_(self, other: Any) -> Tensor:
        return self._rebind(EngineTensor.__truediv__(self, other))

    def masked_fill_(self, mask: Any, value: Any) -> Tensor:
        return self._rebind(EngineTensor.masked_fill(self, mask, value))

    def scatter_(self, dim: Any, index: Any, src: Any) -> Tensor:
        """x[i, index[i, j]] = src[i, j] for dim 1; `src` may be one number."""
        places = np.array(self.data)
        values = np.broadcast_to(_plain(src), np.shape(_plain(index)))
        np.put_along_axis(places, _plain(index), values, dim)
        return self._rebind(EngineTensor(places))

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        return self._rebind(EngineTensor.clip(self, min, max))

    def fill_(self, value: Any) -> Tensor:
        return self._rebind(EngineTensor(np.full_like(self.data, value)))

    def zero_(self) -> Tensor:
        return self.fill_(0)

    def copy_(self, source: Any) -> Tensor:
        return self._rebind(EngineTensor(np.broadcast_to(_plain(source), self.data.shape).astype(self.data.dtype)))

    def uniform_(self, low: Any = 0.0, high: Any = 1.0, *, generator: Any = None) -> Tensor:
        source = default_generator() if generator is None else generator
        return self._rebind(EngineTensor(source.uniform(low, high, self.data.shape, self.data.dtype)))

    def normal_(self, mean: Any = 0.0, std: Any = 1.0, *, generator: Any = None) -> Tensor:
        source = default_generator() if generator is None else generator
        return self._rebind(EngineTensor(source.normal(mean, std, self.data.shape, self.data.dtype)))

    def numpy(self) -> Array:
        """The array; as in PyTorch, one that is part of a graph must be detached first."""
        if self.requires_grad:
            raise GraphError("numpy: a Tensor that requires a gradient must leave the graph first; use x.detach()")
        return self.data


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    return with_torch_names(lambda x, y: function(y, x))


# The methods that differ from the engine's in the names of arguments, or in nothing but the class of their results.
_OPERATORS = ["add", "sub", "mul", "truediv", "pow", "matmul", "radd", "rsub", "rmul", "rtruediv", "rpow", "rmatmul"]
_OPERATORS += ["neg", "abs", "invert", "lt", "le", "gt", "ge", "getitem"]
_WRAPPED = ["exp", "log", "sqrt", "tanh", "sigmoid", "relu", "abs", "erf", "neg", "pow", "maximum", "minimum", "where"]
_WRAPPED += ["masked_fill", "matmul", "sum", "mean", "var", "logsumexp", "cumsum", "argmax", "reshape", "transpose"]
_WRAPPED += ["permute", "squeeze", "unsqueeze", "broadcast_to", "astype", "tril", "triu", "split", "detach", "clip"]
_ALIASES = {"mm": "matmul", "bmm": "matmul", "swapaxes": "transpose", "clamp": "clip", "absolute": "abs"}
_ALIASES |= {"add": "__add__", "sub": "__sub__", "mul": "__mul__", "div": "__truediv__"}
_ALIASES |= {name: f"__{name}__" for name in ("eq", "ne", "lt", "le", "gt", "ge")}
_FUNCTIONS = ["sin", "cos", "square", "rsqrt", "log1p", "expm1", "prod", "std", "norm", "gather", "scatter_add"]
_FUNCTIONS += ["sort", "argsort", "topk", "argmin", "outer", "repeat_interleave", "expand", "chunk", "flip", "roll"]
_FUNCTIONS += ["diagonal", "isnan", "isfinite", "isinf", "any", "all", "logaddexp", "remainder", "floor_divide"]
_SYMBOLS = {
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "mod": "remainder",
    "floordiv": "floor_divide",
}
_RENAMED_ARGUMENTS = RENAMED | {
    "dim0": "first",
    "dim1": "second",
    "split_size_or_sections": "size",
    "split_size": "size",
}
_RENAMED_ARGUMENTS |= {"src": "source"}

for _name in _OPERATORS:
    setattr(Tensor, f"__{_name}__", with_torch_names(getattr(EngineTensor, f"__{_name}__")))
for _name in _WRAPPED:
    setattr(Tensor, _name, with_torch_names(getattr(EngineTensor, _name), _RENAMED_ARGUMENTS))
for _name, _engine in _ALIASES.items():
    setattr(Tensor, _name, with_torch_names(getattr(EngineTensor, _engine), _RENAMED_ARGUMENTS))
for _name in _FUNCTIONS:
    _renamed = _RENAMED_ARGUMENTS | ({"dim1": "axis1", "dim2": "axis2"} if _name == "diagonal" else {})
    _renamed |= {"dims": "axes", "dim": "axes"} if _name in ("flip", "roll") else {}
    setattr(Tensor, _name, with_torch_names(getattr(functions, _name), _renamed))
for _symbol, _name in _SYMBOLS.items():
    setattr(Tensor, f"__{_symbol}__", with_torch_names(getattr(functions, _name)))
    setattr(Tensor, f"__r{_symbol}__", _reflected(getattr(functions, _name)))
for _name, _symbol in (("bitwise_and", "and"), ("logical_and", "and"), ("bitwise_or", "or"), ("logical_or", "or")):
    setattr(Tensor, _name, vars(Tensor)[f"__{_symbol}__"])
Tensor.logical_not = Tensor.__invert__


class Numbers(np.ndarray[Any, np.dtype[Any]]):
    """What `.data` gives: an array for the engine, a Tensor of the same memory for what only a Tensor knows."""

    @property
    def data(self) -> Tensor:
        return Tensor(np.asarray(self))

    @property
    def shape(self) -> Size:
        return Size(ARRAY_SHAPE.__get__(self))

    @property
    def size(self) -> Any:
        shape = ARRAY_SHAPE.__get__(self)
        count = Count(math.prod(shape))
        count.shape = shape
        return count

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        plain = np.asarray(array)
        return plain[()] if return_scalar else plain

    def __repr__(self) -> str:
        return repr(self.data)

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return format(self.data, spec)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)


class Gradient(Numbers):
    """A gradient, and whatever is computed with it: an array that answers as a Tensor wherever the two differ."""

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return found if isinstance(found, np.ndarray) else np.asarray(found).view(Gradient)  # a number: 0-d

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array.view(Gradient)

    def view(self, *shape: Any) -> Any:
        """PyTorch's `view(2, -1)`, or NumPy's `view(type)`."""
        is_shape = bool(shape) and all(isinstance(one, int | tuple | list) for one in shape)
        return self.data.view(*shape) if is_shape else super().view(*shape)


def _delegated(name: str) -> Callable[..., Any]:
    def method(self: Gradient, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.data, name)(*args, **kwargs)

    return method


# What arrays have too, but answer with an array: a reader's `w.grad.flatten().max()` is a Tensor, and prints as one.
_DELEGATED = ["flatten", "max", "min", "mean", "sum", "std", "var", "squeeze", "argmax", "round", "clip", "all", "any"]
_DELEGATED += ["argmin", "argsort", "cumsum", "diagonal", "dot", "nonzero", "prod", "repeat", "sort", "trace"]
_DELEGATED += ["transpose"]
for _name in _DELEGATED:
    setattr(Gradient, _name, _delegated(_name))


def write(target: EngineTensor, values: Any) -> None:
    """Write into the memory of a Tensor, and note it, so that a graph that saved these numbers refuses to go back."""
    target.data[...] = values
    mark_written(target.data)


def _plain(value: Any) -> Array:
    """A Tensor's array, or whatever else as one."""
    return value.data if isinstance(value, EngineTensor) else np.asarray(value)


def _parts(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def sizes_of(size: Sequence[Any]) -> tuple[Any, ...]:
    """`f(2, 3)` and `f((2, 3))` alike."""
    return tuple(size[0]) if len(size) == 1 and isinstance(size[0], Sequence) else tuple(size)


def plain_list(data: Any) -> Any:
    """Nested lists of numbers in place of nested lists of Tensors and numbers."""
    if isinstance(data, EngineTensor):
        return data.data
    return [plain_list(one) for one in data] if isinstance(data, list | tuple) else data


def tensor(data: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new leaf from numbers, nested lists, an array or a Tensor, which is copied.

    Python floats become float32, Python integers int64; arrays and Tensors keep their dtype.
    Raises: ShapeError for ragged lists, DTypeError for what is not a number, ConfigError for another device
    """
    expect_cpu(device)
    copied = data.data if isinstance(data, EngineTensor) else plain_list(data)
    result = Tensor(np.array(copied) if isinstance(copied, np.ndarray) else copied, dtype=as_dtype(dtype))
    result.requires_grad = requires_grad
    return result


__all__ = ["Gradient", "Tensor", "ValuesIndices", "as_torch", "dtype", "tensor"]
