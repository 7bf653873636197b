"""The rule of the house, read from the source: imports run one way, and nothing heavy is loaded unasked."""

import ast
import functools
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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

THIRD_PARTY = {"numpy", "regex", "tiktoken", "matplotlib", "mpi4py", "jinja2", "threadpoolctl"}
LOADED_WHEN_NEEDED = {"regex", "tiktoken", "matplotlib", "mpi4py", "jinja2", "threadpoolctl"}
MADE_OF_HYPOTHESIS = "testing/strategies.py"  # the one file that loads it; the room offers its names lazily


def room_of(file: Path) -> str:
    first = file.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


@functools.cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text("utf-8"))


def imported(node: ast.AST, file: Path) -> list[str]:
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


def imports(file: Path) -> Iterator[tuple[str, bool, int]]:
    """Every name imported, whether inside a function, and the line."""

    def visit(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool, int]]:
        for name in imported(node, file):
            yield name, inside, node.lineno  # type: ignore[attr-defined]
        inside |= isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            yield from visit(child, inside)

    yield from visit(parsed(file), False)


def each_import() -> Iterator[tuple[str, str, str, bool, str]]:
    """Where, from which room, what, whether inside a function, and which top-level package."""
    for file in FILES:
        for name, inside, line in imports(file):
            yield f"{file.relative_to(PACKAGE)}:{line}", room_of(file), name, inside, name.partition(".")[0]


def test_the_package_is_found() -> None:
    assert len(FILES) > 50
    assert len(list(each_import())) > 200


def test_every_room_is_in_the_table_of_imports() -> None:
    assert {room_of(file) for file in FILES} - {"__init__"} <= set(BELOW)


def test_no_room_imports_a_room_above_it() -> None:
    back = [
        f"{where}: {room} must not import {name}"
        for where, room, name, _, top in each_import()
        if top == "tinygrad_llm"
        and room != "__init__"
        and not (
            name in ("tinygrad_llm.tensor", "tinygrad_llm.variable")
            and room in ("graph", "primitives")
            and only_for_types(where)
        )
        and not offered_lazily(where)
        and (target := [*name.split("."), "__init__"][1]) != room
        and target not in BELOW[room]
        and not ("__init__.py:" in where and only_for_types(where))  # what a package offers lazily
    ]
    assert back == []


def test_no_files_import_each_other_in_a_circle() -> None:
    """When they are loaded. A package's `__init__` does not count: it only offers names of the files below it."""
    names = {".".join(["tinygrad_llm", *file.relative_to(PACKAGE).with_suffix("").parts]): file for file in FILES}
    graph = {}
    for name, file in names.items():
        statements = [node for node in parsed(file).body if isinstance(node, ast.ImportFrom)]
        read = {f"{node.module}.{alias.name}" for node in statements for alias in node.names}
        read |= {str(node.module) for node in statements}
        graph[name] = (read & names.keys()) - {name}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_no_import_hides_inside_a_function() -> None:
    hidden = [
        f"{where}: {name}"
        for where, room, name, inside, top in each_import()
        if inside
        and room not in ("cli", "__main__")  # commands are imported when they are called
        and top not in LOADED_WHEN_NEEDED | sys.stdlib_module_names
        and not name.startswith(f"tinygrad_llm.{room}.")  # within a room no arrow is dodged
    ]
    assert hidden == []


def test_third_party_packages() -> None:
    foreign = [
        f"{where}: {name}"
        for where, _, name, inside, top in each_import()
        if top not in sys.stdlib_module_names | {"tinygrad_llm"}
        and not (top == "hypothesis" and where.startswith(MADE_OF_HYPOTHESIS))
        and (top not in THIRD_PARTY or (top in LOADED_WHEN_NEEDED and not inside and not only_for_types(where)))
    ]
    assert foreign == []


def only_for_types(where: str) -> bool:
    """Whether the import stands under `if TYPE_CHECKING:`."""
    name, line = where.rsplit(":", 1)
    tree = parsed(PACKAGE / name)
    return any(
        isinstance(node, ast.If)
        and "TYPE_CHECKING" in ast.unparse(node.test)
        and node.lineno < int(line) <= (node.end_lineno or 0)
        for node in ast.walk(tree)
    )


def offered_lazily(where: str) -> bool:
    """Whether the import tells type checkers about names that `lazy_imports` imports on first use."""
    return "= lazy_imports(" in (PACKAGE / where.rsplit(":", 1)[0]).read_text("utf-8") and only_for_types(where)


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    for file in FILES:
        for node in ast.walk(parsed(file)):
            yield file, node


def test_one_random_stream() -> None:
    others = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file, node in nodes()
        if isinstance(node, ast.Attribute)
        and node.attr == "random"
        and ast.unparse(node.value) in ("np", "numpy")
        and file != PACKAGE / "random.py"
    ]
    others += [where for where, room, name, *_ in each_import() if name.startswith("numpy.random") and room != "random"]
    others += [where for where, _, name, *_ in each_import() if name == "random"]
    assert others == []


def test_errors_are_raised_not_asserted() -> None:
    """`python -O` drops assert statements."""
    asserted = [f"{file.relative_to(PACKAGE)}:{node.lineno}" for file, node in nodes() if isinstance(node, ast.Assert)]
    assert asserted == []


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
    program = "import sys, tinygrad_llm.cli; tinygrad_llm.cli.build_parser(None); print('numpy' in sys.modules)"
    assert run(program) == "False"
    page = (
        "import contextlib, sys, tinygrad_llm.cli as cli\nwith contextlib.suppress(SystemExit): cli.main(sys.argv[1:])"
    )
    for words in (["--help"], ["generate", "--help"], ["no-such-command"]):
        program = f"import sys; sys.argv[1:] = {words}\n{page}\nprint('numpy' in sys.modules)"
        assert run(program).splitlines()[-1] == "False", words


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
