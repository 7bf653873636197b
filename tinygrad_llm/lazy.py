"""Names of a package that are imported when they are first used (PEP 562).

So `import tinygrad_llm` takes little longer than importing NumPy, and importing the GPT loads no other model.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of `package`, whose `names` map each module to what is taken from it.

    A module in `package` is also reached as an attribute, as any submodule is once it is imported. The package repeats
    the imports under `if TYPE_CHECKING:` for type checkers and readers.

        __getattr__, __dir__ = lazy_names(__name__, {"tinygrad_llm.models.llama": ("Llama", "LlamaConfig")})

    Raises: AttributeError, from `__getattr__`, for a name that is not listed
    """
    module_of = {name: module for module, listed in names.items() for name in listed}
    submodules = {module.rpartition(".")[2]: module for module in names if module.rpartition(".")[0] == package}

    def get(name: str) -> Any:
        if name not in module_of:
            if name in submodules:
                return import_module(submodules[name])  # the import itself makes it an attribute of the package
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(module_of[name]), name)
        setattr(sys.modules[package], name, value)  # the next use finds it without coming here
        return value

    def listed_names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *module_of, *submodules})

    return get, listed_names
