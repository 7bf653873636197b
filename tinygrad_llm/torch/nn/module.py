"""`torch.nn.Module`: the engine's Module whose parameters are `torch.Tensor`s, and which prints as PyTorch's."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from tinygrad_llm import nn
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.torch.missing import missing_word
from tinygrad_llm.torch.tensor import EngineTensor, Tensor, as_torch
from tinygrad_llm.torch.types import as_dtype, expect_cpu


class Parameter(nn.Parameter, Tensor):
    """A Tensor that a module learns. It shares the memory of the Tensor it is made of."""

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        super().__init__(data.data if isinstance(data, EngineTensor) else data, requires_grad)

    def __repr__(self) -> str:
        return f"Parameter containing:\n{Tensor.__repr__(self)}"


class Buffer(nn.Buffer, Tensor):
    """A Tensor that belongs to a module's state but is not learned."""

    __slots__ = ()


class TemporaryBuffer(Buffer):
    """A buffer that is left out of the state dict, such as a cache."""

    __slots__ = ()


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict` could not match, by PyTorch's names."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not (self.missing_keys or self.unexpected_keys):
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


class Module(nn.Module):
    """The base of every layer and model: call `super().__init__()`, set layers as attributes, define `forward`."""

    _buffer_kinds: Mapping[str, type[Buffer]] = {}  # by name; an instance that registers one gets a dict of its own

    def __setattr__(self, name: str, value: Any) -> None:
        """A parameter or buffer that the engine's layers make becomes one of this wing's: the same memory."""
        if type(value) is nn.Parameter:
            value.__class__ = Parameter  # the layouts are one
        elif type(value) is nn.Buffer:
            value.__class__ = Buffer
        elif name in self._buffer_kinds and isinstance(value, EngineTensor):
            value.__class__ = self._buffer_kinds[name]  # what is set under a buffer's name is the buffer from now on
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(missing_word(type(self).__name__, name, [*dir(type(self)), *vars(self)]))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return as_torch(super().__call__(*args, **kwargs))

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Keep `tensor` as an attribute, and, if `persistent`, in the state dict."""
        kind = Buffer if persistent else TemporaryBuffer
        super().__setattr__("_buffer_kinds", {**self._buffer_kinds, name: kind})
        if tensor is not None:
            tensor = kind(tensor.data if isinstance(tensor, EngineTensor) else np.asarray(tensor))
        setattr(self, name, tensor)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        setattr(self, name, parameter)

    def add_module(self, name: str, module: Module) -> None:
        setattr(self, name, module)

    def to(self, *where: Any, device: Any = None, dtype: Any = None, **ignored: Any) -> Any:
        """Convert the parameters to another dtype; a device must be the CPU. Returns the module."""
        for one in (*where, device, dtype):
            if one is None or isinstance(one, bool):
                continue
            if isinstance(one, str) or type(one).__name__ == "device":
                expect_cpu(one)
            else:
                super().to(as_dtype(one))
        return self

    def cpu(self) -> Any:
        return self

    def cuda(self, _: Any = None) -> Any:
        expect_cpu("cuda")
        return self

    def float(self) -> Any:
        return self.to(dtype=np.float32)

    def double(self) -> Any:
        return self.to(dtype=np.float64)

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad()

    def state_dict(self) -> Any:
        """Name to Tensor for every parameter and buffer, under every name that it has; they share memory.

        They come module by module, the parameters of each before its buffers.
        """
        every = self.named_tensors(EngineTensor)
        kept = [pair for pair in every if isinstance(pair[1], nn.Parameter | nn.Buffer)]
        named = [pair for pair in kept if not isinstance(pair[1], TemporaryBuffer)]
        modules: dict[str, int] = {}
        for name, _ in named:
            modules.setdefault(name.rpartition(".")[0], len(modules))
        named.sort(key=lambda pair: (modules[pair[0].rpartition(".")[0]], isinstance(pair[1], nn.Buffer)))
        return OrderedDict((name, Tensor(tensor.data)) for name, tensor in named)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Copy the state into the parameters and buffers, also where PyTorch's `assign` would share its memory.

        Raises: StateDictError if names or shapes do not fit
        """
        missing, unexpected = super().load_state_dict(state_dict, strict)
        return IncompatibleKeys(missing, unexpected)

    def __repr__(self) -> str:
        extra, children = self.extra_repr(), list(self.named_children())
        if not children:
            return f"{type(self).__name__}({extra})"
        lines = [f"({name}): {child!r}" for name, child in children]
        if isinstance(self, ModuleList):
            lines = _runs([repr(child) for _, child in children])
        text = "\n".join([extra, *lines] if extra else lines)
        return f"{type(self).__name__}(\n  " + text.replace("\n", "\n  ") + "\n)"


def _runs(printed: list[str]) -> list[str]:
    """Equal neighbours in one line, as PyTorch prints a ModuleList: `(0-11): 12 x Block(...)`."""
    lines, start = [], 0
    for i in range(1, len(printed) + 1):
        if i == len(printed) or printed[i] != printed[start]:
            many = f"({start}-{i - 1}): {i - start} x" if i - start > 1 else f"({start}):"
            lines.append(f"{many} {printed[start]}")
            start = i
    return lines


class Sequential(Module, nn.Sequential):
    """Modules applied one after the other, named "0", "1", ..., or as an OrderedDict names them."""

    def __init__(self, *modules: Any) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                setattr(self, name, module)
        else:
            nn.Sequential.__init__(self, *modules)

    def __getitem__(self, index: Any) -> Any:
        found = list(self.children())[index]
        return Sequential(*found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, [name for name, _ in self.named_children()][index], module)


class ModuleList(Module, nn.ModuleList):
    """A list of modules that the tree sees, named "0", "1", ..."""

    def __getitem__(self, index: Any) -> Any:
        found = list(self.children())[index]
        return ModuleList(found) if isinstance(index, slice) else found

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, [name for name, _ in self.named_children()][index], module)

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        for module in modules:
            self.append(module)
        return self


class ModuleDict(Module):
    """A dict of modules that the tree sees, under its keys."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        for name, module in (modules or {}).items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        setattr(self, name, module)

    def __getitem__(self, name: str) -> Any:
        return dict(self.named_children())[name]

    def __len__(self) -> int:
        return sum(1 for _ in self.children())

    def __iter__(self) -> Any:
        return (name for name, _ in self.named_children())

    def keys(self) -> Any:
        return dict(self.named_children()).keys()

    def values(self) -> Any:
        return dict(self.named_children()).values()

    def items(self) -> Any:
        return dict(self.named_children()).items()


def expect_options(name: str, device: Any = None, **others: Any) -> None:
    """Raise ConfigError for a device that is not the CPU, and for options of PyTorch that are not here."""
    expect_cpu(device)
    for option, (value, default) in others.items():
        if value != default:
            raise ConfigError(f"{name}: {option} must be {default!r} here; got {value!r}")
