"""Names of a package that are imported when they are first used (PEP 562).

So `import tinygrad_llm` takes little longer than importing NumPy, and importing the GPT loads no other model.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def lazy_imports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a module that import a name when it is first asked for.

    The names are those that the module's source imports under `if TYPE_CHECKING:`, so that readers, type checkers and
    the running program see one list:

        if TYPE_CHECKING:
            from tinygrad_llm.models.llama import Llama, LlamaConfig

        __getattr__, __dir__ = lazy_imports(__name__)

    A submodule is found by its name as well; a name on the list that is also the name of its module stays the object on
    the list, whoever imports the module. Raises: AttributeError, from `__getattr__`, for a name that is not there
    """

    @functools.cache
    def module_of() -> dict[str, str]:
        """The module that each name is imported from."""
        import ast  # these take longer to import than some packages that they are needed for
        import inspect

        # inspect finds the source also where the loader has no get_source, as pytest's
        tree = ast.parse(inspect.getsource(sys.modules[package]))
        blocks = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
        imports = [node for block in blocks for node in block.body if isinstance(node, ast.ImportFrom)]
        return {name.name: str(node.module) for node in imports for name in node.names}

    class Package(ModuleType):
        """Importing a submodule sets an attribute of its package; a listed object of that name is kept instead."""

        def __setattr__(self, name: str, value: Any) -> None:
            if isinstance(value, ModuleType) and module_of().get(name) == value.__name__:
                value = getattr(value, name)
            super().__setattr__(name, value)

    sys.modules[package].__class__ = Package

    def get(name: str) -> Any:
        module = sys.modules[package]
        if name.startswith("__"):
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        if name in module_of() and module_of()[name] != package:
            value = getattr(import_module(module_of()[name]), name)
            setattr(module, name, value)  # the next use finds it without coming here
            return value
        if hasattr(module, "__path__") and find_spec(f"{package}.{name}") is not None:
            return import_module(f"{package}.{name}")  # the import itself makes it an attribute of the package
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    def listed_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of()})

    return get, listed_names
