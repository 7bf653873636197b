"""The rule of the house, read from the source: imports run one way, and nothing heavy is loaded unasked."""

import ast
import functools
import graphlib
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import tinygrad_llm

PACKAGE = Path(tinygrad_llm.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A room may import the rooms of the lines above its own; where several stand in one line, they do not see each other.
CHAIN = [
    ["errors", "lazy", "scripts", "terminal"],
    ["arrays"],
    ["checks", "settings", "buffers"],
    ["versions"],
    ["graph"],
    ["variable"],
    ["primitives"],
    ["tensor"],
    ["ops"],
    ["functions"],
    ["nn"],
    ["layers"],
    ["models"],
    ["optim", "generate", "interop"],
    ["train"],
    ["finetune"],
    ["evaluation"],
    ["architectures"],
    ["runs"],
    ["study"],
    ["verify", "measure"],
    ["lab", "serve", "speedrun"],
    ["cli"],
    ["__main__"],
]
BELOW: dict[str, set[str]] = {}
for lines_above, line in enumerate(CHAIN):
    for room in line:
        BELOW[room] = {one for above in CHAIN[:lines_above] for one in above}
# Rooms beside the chain, what they may import, and the first line of the chain that may import them.
FLOOR = {"errors", "lazy", "terminal", "arrays", "checks", "settings"}
BESIDE = [
    ("random", FLOOR, "ops"),
    ("formats", FLOOR, "models"),
    ("text", FLOOR | {"random", "formats"}, "models"),
    ("data", FLOOR | {"random", "formats"}, "optim"),
    ("web", FLOOR, "lab"),
    ("gradcheck", BELOW["ops"], "optim"),
    ("anomaly", BELOW["ops"], "optim"),
]
for room, below, first in BESIDE:
    BELOW[room] = below
    for line in CHAIN[next(i for i, line in enumerate(CHAIN) if first in line) :]:
        for above in line:
            BELOW[above] |= {room}
BELOW["cli"] |= {"__version__"}  # which the package itself states
BELOW["generate"] -= {"nn", "layers", "models"}  # what can be decoded is a protocol
# They stand on the public names of the core, and nothing stands on them.
BELOW |= {room: set.union(*BELOW.values(), tinygrad_llm.__all__) for room in ("torch", "testing")}

# Classes that stand above the graph and the primitives, whose annotations name them.
NAMED_FOR_TYPES = {"tinygrad_llm.tensor", "tinygrad_llm.variable"}

LOADED_AT_ONCE = sys.stdlib_module_names | {"tinygrad_llm", "numpy"}
LOADED_WHEN_NEEDED = {"regex", "tiktoken", "matplotlib", "mpi4py", "jinja2", "threadpoolctl"}
MADE_OF_HYPOTHESIS = "testing/strategies.py"  # the one file that loads it; the room offers its names lazily


def room_of(file: Path) -> str:
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


class Found(NamedTuple):
    """A node of the syntax tree that a test asks about, and what it stands in."""

    file: Path
    node: ast.Import | ast.ImportFrom | ast.Assert | ast.Attribute
    in_function: bool
    for_types: bool  # under `if TYPE_CHECKING:`


@functools.cache
def found() -> list[Found]:
    """Every import, every assert statement and everything called `random`: each file is parsed and walked once."""
    nodes = []
    for file in FILES:
        waiting: list[tuple[ast.AST, bool, bool]] = [(ast.parse(file.read_text("utf-8")), False, False)]
        while waiting:
            node, in_function, for_types = waiting.pop()
            if isinstance(node, ast.Import | ast.ImportFrom | ast.Assert) or (
                isinstance(node, ast.Attribute) and node.attr == "random"
            ):
                nodes.append(Found(file, node, in_function, for_types))
            in_function |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            for_types |= isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            waiting += [(child, in_function, for_types) for child in ast.iter_child_nodes(node)]
    return nodes


def names_of(node: ast.AST, file: Path) -> list[str]:
    """The dotted names that an import statement reads, relative ones spelled out."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    module = node.module or ""
    if node.level:
        folder = ("tinygrad_llm", *file.relative_to(PACKAGE).parts[: -node.level])
        module = ".".join([*folder, module]).rstrip(".")
    if module == "tinygrad_llm":
        return [f"tinygrad_llm.{alias.name}" for alias in node.names]
    return [module]


class Import(NamedTuple):
    where: str  # file:line
    room: str
    name: str
    in_function: bool
    for_types: bool

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


@functools.cache
def imports() -> list[Import]:
    return [
        Import(place(one), room_of(one.file), name, one.in_function, one.for_types)
        for one in found()
        for name in names_of(one.node, one.file)
    ]


def place(one: Found) -> str:
    return f"{one.file.relative_to(PACKAGE)}:{one.node.lineno}"


@functools.cache
def offers_names_lazily(file: str) -> bool:
    """Whether its imports for type checkers name what `lazy_imports` imports on first use."""
    return "= lazy_imports(" in (PACKAGE / file).read_text("utf-8")


def test_the_package_is_found() -> None:
    assert len(FILES) > 50
    assert len(imports()) > 200


def test_every_room_is_in_the_table_of_imports() -> None:
    assert {room_of(file) for file in FILES} - {"__init__"} <= set(BELOW)


def test_no_room_imports_a_room_above_it() -> None:
    back = [
        f"{one.where}: {one.room} must not import {one.name}"
        for one in imports()
        if one.package == "tinygrad_llm"
        and one.room != "__init__"
        and not (one.for_types and one.name in NAMED_FOR_TYPES and one.room in ("graph", "primitives"))
        and not (one.for_types and (offers_names_lazily(one.where.split(":")[0]) or "__init__.py:" in one.where))
        and (target := [*one.name.split("."), "__init__"][1]) != one.room
        and target not in BELOW[one.room]
    ]
    assert back == []


def test_no_files_import_each_other_in_a_circle() -> None:
    """When they are loaded. A package's `__init__` does not count: it only offers names of the files below it."""
    names = {file: ".".join(["tinygrad_llm", *file.relative_to(PACKAGE).with_suffix("").parts]) for file in FILES}
    graph: dict[str, set[str]] = {name: set() for name in names.values()}
    for file, node, in_function, for_types in found():
        if isinstance(node, ast.ImportFrom) and not in_function and not for_types:
            graph[names[file]] |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    for name, read in graph.items():
        graph[name] = (read & graph.keys()) - {name}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_import_hides_inside_a_function() -> None:
    hidden = [
        f"{one.where}: {one.name}"
        for one in imports()
        if one.in_function
        and one.room not in ("cli", "__main__")  # commands are imported when they are called
        and one.package not in LOADED_WHEN_NEEDED | sys.stdlib_module_names
        and not one.name.startswith(f"tinygrad_llm.{one.room}.")  # within a room no arrow is dodged
    ]
    assert hidden == []


def test_third_party_packages() -> None:
    foreign = [
        f"{one.where}: {one.name}"
        for one in imports()
        if one.package not in LOADED_AT_ONCE
        and not (one.package == "hypothesis" and one.where.startswith(MADE_OF_HYPOTHESIS))
        and not (one.package in LOADED_WHEN_NEEDED and (one.in_function or one.for_types))
    ]
    assert foreign == []


def test_one_random_stream() -> None:
    others = [
        place(one)
        for one in found()
        if isinstance(one.node, ast.Attribute)
        and ast.unparse(one.node.value) in ("np", "numpy")
        and one.file != PACKAGE / "random.py"
    ]
    others += [one.where for one in imports() if one.name.startswith("numpy.random") and one.room != "random"]
    others += [one.where for one in imports() if one.name == "random"]
    assert others == []


def test_errors_are_raised_not_asserted() -> None:
    """`python -O` drops assert statements."""
    assert [place(one) for one in found() if isinstance(one.node, ast.Assert)] == []


def test_the_core_stays_small() -> None:
    for file, most in (("graph.py", 275), ("tensor.py", 185)):
        assert len((PACKAGE / file).read_text("utf-8").splitlines()) <= most, file


def run(program: str) -> str:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip()


def test_importing_the_package_loads_no_optional_module() -> None:
    late = LOADED_WHEN_NEEDED | {"urllib.request", "http.client"}
    program = f"import sys, tinygrad_llm; print(sorted({late} & set(sys.modules)))"
    assert run(program) == "[]"


def test_importing_the_package_imports_no_room_before_its_use() -> None:
    late = {f"tinygrad_llm.{room}" for room in map(room_of, FILES) if room not in ("lazy", "__init__")} | {"numpy"}
    assert len(late) > 12
    assert run(f"import sys, tinygrad_llm; print(sorted({late} & set(sys.modules)))") == "[]"


def test_the_command_line_starts_without_numpy() -> None:
    pages = [["--help"], ["generate", "--help"], ["no-such-command"]]
    program = f"""
import contextlib, sys, tinygrad_llm.cli as cli
cli.build_parser(None)
print("numpy" in sys.modules)
for words in {pages}:
    with contextlib.suppress(SystemExit):
        cli.main(words)
    print()
    print("numpy" in sys.modules)
"""
    answers = [line for line in run(program).splitlines() if line in ("True", "False")]
    assert answers == ["False"] * (1 + len(pages))


def test_lazily_imported_names_are_available() -> None:
    assert (
        run(
            "import tinygrad_llm; assert set(tinygrad_llm.__all__) <= set(dir(tinygrad_llm)); "
            "print(tinygrad_llm.load.__module__, tinygrad_llm.models.GPT.__name__, hasattr(tinygrad_llm, 'nothing'))"
        )
        == "tinygrad_llm.runs.open_model GPT False"
    )
    names = "Tensor, no_grad, manual_seed, gradcheck, nn, optim, composed_ops, detect_anomaly"
    assert run(f"from tinygrad_llm import {names}; import tinygrad_llm.study; print(callable(gradcheck))") == "True"
    assert run("from tinygrad_llm import *; print(nn.Linear.__name__, load.__name__)") == "Linear load"


def loaded_by(module: str) -> set[str]:
    """The modules of the package that importing `module` loads beyond those of the package itself."""
    program = f"import sys, tinygrad_llm; before = set(sys.modules); import {module}; print(*set(sys.modules) - before)"
    return {name for name in run(program).split() if name.startswith("tinygrad_llm.")}


def test_the_tokenizers_interface_and_the_window_loader_load_nothing_else() -> None:
    text, data = "tinygrad_llm.text", "tinygrad_llm.data"
    floor = {f"tinygrad_llm.{name}" for name in ("arrays", "errors", "lazy", "random")}
    assert loaded_by(f"{text}.tokenizer") - floor == {text, f"{text}.tokenizer", f"{text}.special_tokens"}
    own = {f"{data}.{name}" for name in ("window_loader", "windows", "mapped")}
    assert loaded_by(f"{data}.window_loader") - floor == {data, *own, "tinygrad_llm.checks"}
