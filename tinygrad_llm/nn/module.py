"""Module and Parameter: layers as objects that hold their own weights.

The parameters, buffers and submodules of a module are its attributes, in the order in which they were set; nothing is
registered. Every method here walks this tree of modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from tinygrad_llm import nn
from tinygrad_llm.arrays import Array
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import TensorLike
from tinygrad_llm.tensor import Tensor

if TYPE_CHECKING:
    from tinygrad_llm.nn.hooks import HookHandle
    from tinygrad_llm.nn.loading import LoadResult

M = TypeVar("M", bound="Module")
T = TypeVar("T", bound=Tensor)
ForwardHook: TypeAlias = "Callable[[Module, tuple[Any, ...], Any], Any]"


class Parameter(Tensor):
    """A Tensor that training changes: a leaf with `requires_grad`, float32 unless `dtype` says otherwise."""

    __slots__ = ()

    def __init__(self, data: TensorLike, requires_grad: bool = True, dtype: Any = None) -> None:
        super().__init__(data, requires_grad, dtype)


class Buffer(Tensor):
    """A Tensor of a module's state that is not trained, such as a table of positions."""

    __slots__ = ()


class Module:
    """The base of every layer and model: define `forward`, and set parameters and submodules as attributes.

    >>> from tinygrad_llm import nn
    >>> class TwoLayers(nn.Module):
    ...     def __init__(self):
    ...         self.first = nn.Linear(4, 8)
    ...         self.second = nn.Linear(8, 2)
    ...     def forward(self, x):
    ...         return self.second(self.first(x).relu())
    >>> [name for name, _ in TwoLayers().named_parameters()]
    ['first.weight', 'first.bias', 'second.weight', 'second.bias']
    """

    training = True
    _forward_hooks: Mapping[int, ForwardHook] = {}  # stays empty; an instance with hooks gets a dict of its own

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output = self.forward(*args, **kwargs)
        for hook in tuple(self._forward_hooks.values()):
            replaced = hook(self, args, output)
            if replaced is not None:
                output = replaced
        return output

    def register_forward_hook(self, hook: ForwardHook) -> HookHandle:
        """Call `hook(module, args, output)` after every forward. If it returns something, that replaces the output."""
        if "_forward_hooks" not in vars(self):
            self._forward_hooks = {}
        return nn.hooks.HookHandle(self._forward_hooks, hook)  # type: ignore[arg-type]

    # -- the tree

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules, by attribute name."""
        return ((name, value) for name, value in vars(self).items() if isinstance(value, Module))

    def children(self) -> Iterator[Module]:
        """The direct submodules."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all submodules, each once, with dotted names; the module's own name is `prefix`."""
        found: dict[Module, str] = {}
        self._add_to(found, prefix)
        return ((name, module) for module, name in found.items())

    def _add_to(self, found: dict[Module, str], prefix: str) -> None:
        if self not in found:
            found[self] = prefix
            for name, child in vars(self).items():
                if isinstance(child, Module):
                    child._add_to(found, f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and all submodules, each once."""
        return (module for _, module in self.named_modules())

    def named_tensors(self, kind: type[T]) -> Iterator[tuple[str, T]]:
        """Every attribute of class `kind` in the tree, under each of its names."""
        found: list[tuple[str, T]] = []
        self._add_tensors(found, kind, "", ())
        return iter(found)

    def _add_tensors(self, found: list[tuple[str, T]], kind: type[T], prefix: str, above: tuple[Module, ...]) -> None:
        above, children = (*above, self), []
        for name, value in vars(self).items():
            if isinstance(value, kind):
                found.append((prefix + name, value))
            elif isinstance(value, Module) and value not in above:  # a reference to a parent is no child
                children.append((name, value))
        for name, child in children:  # a shared module has several names
            child._add_tensors(found, kind, f"{prefix}{name}.", above)

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every parameter once, under its first name, even if several modules share it."""
        return _distinct(self.named_tensors(Parameter))

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """Every buffer once, under its first name."""
        return _distinct(self.named_tensors(Buffer))

    def buffers(self) -> Iterator[Buffer]:
        """Every buffer once."""
        return (buffer for _, buffer in self.named_buffers())

    def num_parameters(self, trainable_only: bool = False) -> int:
        """The number of elements of all parameters; shared ones count once."""
        return sum(p.size for p in self.parameters() if p.requires_grad or not trainable_only)

    # -- state

    def state_dict(self) -> dict[str, Array]:
        """The array of every parameter and buffer by name, not copied; a shared one once, under its first name."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name: tensor.data for name, tensor in named}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy `state` into the parameters and buffers in place, so that shared parameters stay shared.

        A shared parameter may come under any of its names. Nothing is written unless everything fits.

        Raises: StateDictError listing the names that are missing or unexpected (if `strict`) or have another shape;
                DTypeError for values that are not numbers
        """
        return nn.loading.load_state_dict(self, state, strict)

    def zero_grad(self) -> None:
        """Set the gradient of every parameter to None."""
        for parameter in self.parameters():
            parameter.zero_grad()

    # -- changing the whole tree

    def train(self: M, mode: bool = True) -> M:
        """Training mode: dropout is on. Returns the module."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: M) -> M:
        """Evaluation mode: dropout is off. Returns the module."""
        return self.train(False)

    def apply(self: M, function: Callable[[Module], None]) -> M:
        """Call `function` on every submodule, children first, then on this one. Returns the module."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def requires_grad_(self: M, requires_grad: bool = True) -> M:
        """Unfreeze or freeze every parameter. Returns the module."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def to(self: M, dtype: Any) -> M:
        """Convert parameters and buffers in place and drop their gradients. Returns the module.

        Raises: DTypeError for a dtype that is not floating-point
        """
        nn.conversion.to(self, dtype)
        return self

    # -- printing

    def extra_repr(self) -> str:
        """A subclass's options, for its line in `repr`."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        children = [f"({name}): {child!r}" for name, child in self.named_children()]
        if not children:
            return f"{type(self).__name__}({extra})"
        lines = "\n".join([extra, *children] if extra else children)
        return f"{type(self).__name__}(\n  " + lines.replace("\n", "\n  ") + "\n)"


def _distinct(named: Iterator[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """Each tensor once, under its first name."""
    first_names: dict[T, str] = {}
    for name, tensor in named:
        first_names.setdefault(tensor, name)
    return ((name, tensor) for tensor, name in first_names.items())


class ModuleList(Module):
    """A list of submodules, named "0", "1", ...

    Raises: ConfigError for an item that is not a Module
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> ModuleList:
        if not isinstance(module, Module):
            raise ConfigError(f"{type(self).__name__}: items must be modules; got {type(module).__name__}")
        setattr(self, str(len(self)), module)
        return self

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Iterator[Any]:
        return self.children()

    def __getitem__(self, index: int) -> Any:
        return list(self.children())[index]
