"""Mutation testing of the core: break one expression, run the tests that mirror its file, see whether one fails.

    python tests/mutation/mutate.py --count 200 --seed 0

A mutant is one small change that a slip of the hand could make: another operator, a number that is one too large, a
condition negated, an argument left out. If the tests pass with the change, they do not test that expression.
The command copies the project, checks that the tests pass there unchanged, draws a sample of all mutants, and runs each
against the tests that mirror its file. It prints every survivor, and at the end the share of killed mutants with its
95% interval (Wilson 1927). The same seed draws the same sample as long as the files do not change.

Survivors that no test can kill, because the program still computes the same, are listed in explained.json: file, the
line, the expression before and after, and the reason. They are left out of the sample. Where that holds for a whole
kind of expression, no mutant of that kind is made: see SIZES_FOR_SPEED and `_same_if_changed`.
"""

from __future__ import annotations

import argparse
import ast
import concurrent.futures
import copy
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
EXPLAINED = Path(__file__).with_name("explained.json")
TARGETS = ("graph.py", "variable.py", "tensor.py", "buffers.py", "arrays.py", "checks.py", "primitives", "ops", "optim")
SECONDS = 240  # time limit for the tests of one mutant; a mutant that exceeds it counts as killed
TESTS_OF_THE_GRAPH = ["tests/test_graph.py", "tests/test_tensor.py", "tests/test_versions.py", "tests/primitives"]
OF_ALL_OPERATIONS = {room: ["tests/test_special_values.py"] for room in ("primitives", "ops")}
PASSED, FAILED, BROKEN = 0, 1, 2  # exit codes of pytest; BROKEN: the tests could not be imported
SWAPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Add: ast.Sub,
    ast.Mult: ast.Div,
    ast.BitAnd: ast.BitOr,
    ast.And: ast.Or,
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.Eq: ast.NotEq,
    ast.Is: ast.IsNot,
    ast.In: ast.NotIn,
}
SWAPS |= {swapped: original for original, swapped in SWAPS.items()}
SWAPS |= {ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.MatMult: ast.Mult}
# Constants that decide how fast the program is or how much memory it keeps. What it computes does not depend on them.
SIZES_FOR_SPEED = {
    *("BLOCK", "BLOCK_ELEMENTS", "QUERY_ROWS", "TILE_SCORES"),  # how much of an array is processed at once
    "KEPT_KEYS",  # what is saved for backward, or computed again
    *("SMALLEST", "STEPS", "LARGER_SIZES", "SLACK"),  # which arrays use the pool, and what it keeps
    "FEW_ROWS",  # which of two equal products is computed
}


class Mutant(NamedTuple):
    """One change of a file, and the whole source with that change."""

    file: str
    line: int
    code: str  # the line in which the change begins
    before: str
    after: str
    source: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.file, self.code, self.before, self.after


def mutants_of(path: Path, root: Path = ROOT) -> Iterator[Mutant]:
    """Every mutant of a file. Docstrings, annotations, decorators, imports and `raise` statements stay as they are."""
    source = path.read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    lines = source.decode().splitlines()
    tree = ast.parse(source)
    same = _same_if_changed(tree)
    for node in _changeable(tree):
        if node in same:
            continue
        start, stop = starts[node.lineno - 1] + node.col_offset, starts[node.end_lineno - 1] + node.end_col_offset
        before = source[start:stop].decode()
        for changed in _changes(node):
            after = ast.unparse(changed)
            if isinstance(changed, ast.expr):
                after = f"({after})"  # the precedence of its place does not matter then
            whole = source[:start] + after.encode() + source[stop:]
            file = path.relative_to(root).as_posix()
            yield Mutant(file, node.lineno, lines[node.lineno - 1].strip(), before, after, whole.decode())


def _changeable(tree: ast.AST) -> Iterator[Any]:
    """The expressions and assignments that may be changed, outermost first."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.Raise | ast.JoinedStr):
                continue
            if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
                continue
            if isinstance(child, ast.expr | ast.AugAssign):
                yield child
            yield from _changeable(child)


def _changes(node: Any) -> list[ast.AST]:
    """The nodes that may take the place of `node`."""
    changed: list[ast.AST] = []
    if isinstance(node, ast.BinOp | ast.AugAssign | ast.BoolOp) and type(node.op) in SWAPS:
        changed.append(_with(node, op=SWAPS[type(node.op)]()))
    if isinstance(node, ast.Compare) and type(node.ops[0]) in SWAPS:
        changed.append(_with(node, ops=[SWAPS[type(node.ops[0])](), *node.ops[1:]]))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not | ast.Invert):
        changed.append(node.operand)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float):
        changed.append(ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1))
    if isinstance(node, ast.IfExp):
        changed.append(_with(node, body=node.orelse, orelse=node.body))
    if isinstance(node, ast.BoolOp):
        changed += [_with(node, values=[value for value in node.values if value is not left]) for left in node.values]
    if isinstance(node, ast.Call) and node.keywords and node.keywords[-1].arg:
        changed.append(_with(node, keywords=node.keywords[:-1]))
    return changed


def _same_if_changed(tree: ast.AST) -> set[ast.AST]:
    """The expressions with which, whatever replaces them, the program computes the same.

    - The value of a constant in SIZES_FOR_SPEED, and whether a comparison with it includes that value.
    - `zip(x, y, strict=True)` states that two lists are equally long; without it the result is the same.
    - `np.add(x, y, out=buffers.empty_like(x))`: the numbers are the same in memory of NumPy's own.
    - The 1 of `x.reshape(-1)`: NumPy takes any negative number for the rest. (Its sign is changed.)
    """
    same: set[ast.AST] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)]) if name in SIZES_FOR_SPEED:
                same.update(ast.walk(node.value))
            case ast.Compare(comparators=[ast.Name(id=name)]) if name in SIZES_FOR_SPEED:
                same.add(node)
            case ast.Call(func=ast.Name(id="zip"), keywords=[ast.keyword(arg="strict", value=value)]):
                same |= {node, value}
            case ast.Call(keywords=[*_, ast.keyword(arg="out", value=ast.Call())]):
                same.add(node)
            case ast.Call(func=ast.Attribute(attr="reshape")):
                same |= {size.operand for size in node.args if isinstance(size, ast.UnaryOp)}
    return same


def _with(node: Any, **fields: Any) -> Any:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def tests_of(file: str, root: Path = ROOT) -> list[list[str]]:
    """The tests that mirror a file of the package, in groups: its own and its doctests, then those of its room."""
    _, *room, name = Path(file).parts
    own = Path("tests", *room, f"test_{name}")
    others = ["/".join(["tests", *room]), *OF_ALL_OPERATIONS.get(room[0], [])] if room else TESTS_OF_THE_GRAPH
    return [[str(own), file] if (root / own).exists() else [file], [test for test in others if test != str(own)]]


def passes(tests: list[str], checkout: Path) -> bool:
    """Whether these tests pass in the copy. Raises RuntimeError where pytest could not run them."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = os.environ | {
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(checkout),
    }
    with subprocess.Popen(
        command,
        cwd=checkout,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its own process group: tests may have started processes
            return False
    nothing_found = code == 5 and tests[-1].startswith("tinygrad_llm")  # a file without doctests and tests
    if code not in (PASSED, FAILED, BROKEN) and code > 0 and not nothing_found:
        raise RuntimeError(f"{' '.join(command)} ended with code {code} in {checkout}")
    return code == PASSED or nothing_found


def survives(mutant: Mutant, checkout: Path) -> bool:
    """Whether the tests pass with the mutant in place of its file."""
    target = checkout / mutant.file
    original = target.read_text("utf-8")
    target.write_text(mutant.source, "utf-8")
    try:
        return all(passes(tests, checkout) for tests in tests_of(mutant.file, checkout))
    finally:
        target.write_text(original, "utf-8")


def copy_project(checkout: Path) -> None:
    """Copy what the tests need."""
    for part in ("tinygrad_llm", "tests", "demos"):
        shutil.copytree(ROOT / part, checkout / part, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, checkout)


def wilson(killed: int, count: int) -> tuple[float, float]:
    """The 95% interval of a share.

    >>> [round(end, 3) for end in wilson(95, 100)]
    [0.888, 0.978]
    """
    z = 1.96
    share = killed / count
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return centre - half, centre + half


def explained() -> dict[tuple[str, str, str, str], str]:
    """The mutants that no test can kill, by `Mutant.key`, and why."""
    fields = ("file", "code", "before", "after")
    return {
        tuple(entry[field] for field in fields): entry["reason"] for entry in json.loads(EXPLAINED.read_text("utf-8"))
    }


def stale() -> list[tuple[str, str, str, str]]:
    """Explained mutants whose line has changed since."""
    every = {mutant.key for mutant in sample(10**9, 0, list(TARGETS), with_explained=True)[0]}
    return [key for key in explained() if key not in every]


def sample(count: int, seed: int, targets: list[str], with_explained: bool = False) -> tuple[list[Mutant], int]:
    """`count` mutants drawn from all, without those that are explained, and how many there are in all."""
    left_out = {} if with_explained else explained()
    places = [ROOT / "tinygrad_llm" / target for target in targets]
    files = [path for place in places for path in ([place] if place.is_file() else sorted(place.rglob("*.py")))]
    every = [mutant for path in files for mutant in mutants_of(path) if mutant.key not in left_out]
    return random.Random(seed).sample(every, min(count, len(every))), len(every)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a sample of mutants of the core against the tests.")
    parser.add_argument("--count", type=int, default=200, help="mutants in the sample (default: 200)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample (default: 0)")
    parser.add_argument("--workers", type=int, default=2, help="mutants that run at the same time (default: 2)")
    parser.add_argument("--target", action="append", help=f"file or folder of the package (default: {TARGETS})")
    parser.add_argument("--least", type=float, default=0.0, help="fail below this share of killed mutants (default: 0)")
    arguments = parser.parse_args()
    for file, code, before, _ in stale():
        print(f"explained.json: {file} has no such mutant any more: {before} in {code}", file=sys.stderr)
    chosen, total = sample(arguments.count, arguments.seed, arguments.target or list(TARGETS))
    killed = 0
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(arguments.workers) as pool:
        checkouts = [Path(folder, str(worker)) for worker in range(arguments.workers)]
        for checkout in checkouts:
            copy_project(checkout)
        groups = {tuple(tests) for mutant in chosen for tests in tests_of(mutant.file)}
        unchanged = sorted({test for tests in groups for test in tests})
        if not passes(unchanged, checkouts[0]):
            print("the tests fail without any change: mend that first", file=sys.stderr)
            return 2

        def run(mutant: Mutant) -> tuple[Mutant, bool]:
            checkout = checkouts.pop()
            try:
                return mutant, survives(mutant, checkout)
            finally:
                checkouts.append(checkout)

        for done, (mutant, survived) in enumerate(pool.map(run, chosen), 1):
            killed += not survived
            if survived:
                print(f"survived: {mutant.file}:{mutant.line}: {mutant.before}  ->  {mutant.after}", flush=True)
            if done % 20 == 0:
                print(f"{done} of {len(chosen)}: {killed} killed", flush=True)
    low, high = wilson(killed, len(chosen))
    print(
        f"{killed} of {len(chosen)} mutants killed, {killed / len(chosen):.1%} (95% interval {low:.1%} to {high:.1%})"
    )
    print(f"drawn with seed {arguments.seed} from {total:,}")
    return 0 if killed / len(chosen) >= arguments.least else 1


if __name__ == "__main__":
    raise SystemExit(main())
