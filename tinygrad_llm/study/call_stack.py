"""What the call stack says about an operation: its modules, the line that called it, the names of its operands."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import FrameType

from tinygrad_llm.anomaly import ENGINE, PACKAGE
from tinygrad_llm.nn import Module
from tinygrad_llm.study.module_paths import module_paths
from tinygrad_llm.tensor import Tensor

LAYERS = str(Path(PACKAGE, "nn")), str(Path(PACKAGE, "layers"))


class ModulePaths:
    """The path of each module and parameter, such as `blocks.0.attention.query.weight`.

    Paths begin at `model`. Without it they begin at the outermost module found on the stack; those below a second
    outermost module begin with its class: `GPT@2`.
    """

    def __init__(self, model: Module | None) -> None:
        self.is_fixed = model is not None
        self.roots = [] if model is None else [model]
        self._of_module: dict[int, list[str]] = {}
        self._of_parameter: dict[int, tuple[weakref.ref[Tensor], str]] = {}  # by the Tensor's id
        self._collect()

    @property
    def root_name(self) -> str:
        """The class of the first root, "" where no module is known."""
        return type(self.roots[0]).__name__ if self.roots else ""

    def of_parameter(self, x: Tensor) -> str | None:
        known, path = self._of_parameter.get(id(x), (None, None))
        return path if known is not None and known() is x else None  # the id of a dead Tensor may be another's

    def at_work(self, frame: FrameType | None) -> tuple[str, ...]:
        """The paths of the modules whose methods are on the stack, outermost first."""
        paths: list[str] = []
        for module in reversed(list(_modules_on_stack(frame))):
            if id(module) not in self._of_module:
                self._collect()  # the module may have been added to its model since
            if id(module) not in self._of_module:
                if self.is_fixed:
                    continue  # not a part of the given model
                self.roots.append(module)
                self._collect()
            possible, inside = self._of_module[id(module)], f"{paths[-1]}." if paths and paths[-1] else ""
            path = next((path for path in possible if path.startswith(inside)), possible[0])
            if path not in paths:
                paths.append(path)
        return tuple(paths)

    def _collect(self) -> None:
        self._of_module, self._of_parameter = {}, {}
        for number, root in enumerate(self.roots, 1):
            for path, module in module_paths(root, "" if number == 1 else f"{type(root).__name__}@{number}"):
                self._of_module.setdefault(id(module), []).append(path)
                for name, value in vars(module).items():
                    if isinstance(value, Tensor):
                        named = weakref.ref(value), f"{path}.{name}" if path else name
                        self._of_parameter.setdefault(id(value), named)


def _modules_on_stack(frame: FrameType | None) -> Iterable[Module]:
    """The modules whose methods are running, innermost first, without immediate repetitions."""
    last = None
    while frame is not None:
        module = _module_of(frame)
        if module is not None and module is not last:
            last = module
            yield module
        frame = frame.f_back


def _module_of(frame: FrameType) -> Module | None:
    """The module whose method this frame runs; None for `__init__`, where the module has no parts yet.

    `f_locals` is read in frames of modules only. Reading it keeps the local variables of a frame alive for as long as
    it runs; in the frame of a training loop that would keep the loss alive.
    """
    code = frame.f_code
    if code.co_name == "__init__":
        return None
    if code is not Module.__call__.__code__:
        owner = frame.f_globals.get(code.co_qualname.partition(".")[0])
        if code.co_varnames[:1] != ("self",) or not (isinstance(owner, type) and issubclass(owner, Module)):
            return None
    module = frame.f_locals.get("self")
    return module if isinstance(module, Module) else None


def caller_of(frame: FrameType | None) -> FrameType | None:
    """The frame outside the engine that called the operation in `frame`.

    Where that is a layer without sublayers, such as Linear, it is the frame that called the layer.
    """
    while frame is not None and frame.f_code.co_filename.startswith(ENGINE):
        frame = frame.f_back
    while frame is not None and frame.f_back is not None and (module := _module_of(frame)) is not None:
        is_layer = vars(sys.modules[type(module).__module__]).get("__file__", "").startswith(LAYERS)
        if not is_layer or any(True for _ in module.children()):
            break
        frame = frame.f_back
    return frame


def source_line(frame: FrameType | None) -> str:
    """The line that a frame is at, as file:line."""
    if frame is None:
        return "?"
    path = Path(frame.f_code.co_filename)
    shown = path.relative_to(Path(PACKAGE).parent) if path.is_relative_to(PACKAGE) else path.name
    return f"{shown}:{frame.f_lineno}"


def operand_names(frame: FrameType, parents: Sequence[Tensor]) -> list[str]:
    """The names of the operation's local variables that hold its operands; `x0`, `x1`, ... for those in none."""
    variables = [(name, value) for name, value in frame.f_locals.items() if isinstance(value, Tensor)]
    variables.sort(key=lambda variable: variable[0] in ("self", "other"))  # x and y, where the method names them so
    names = []
    for i, parent in enumerate(parents):
        found = next((variable for variable in variables if variable[1] is parent), None)
        if found is not None:
            variables.remove(found)
        names.append(f"x{i}" if found is None else "x" if found[0] == "self" else found[0])
    return names
