"""Every demo is a notebook or a script on the public package alone, and defines nothing that another demo defines."""

import ast
import signal
import subprocess
import sys

import pytest
from demo_figures import FIGURES, ROOT
from training_process import PATIENCE, held_script

DEMOS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "demos").glob("*.py"))}
OPTIONAL = {"hypothesis", "matplotlib", "torch", "transformers", "jax", "optax"}


def imports(tree: ast.AST) -> list[str]:
    return [
        node.module or "" if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]


@pytest.mark.parametrize("demo", DEMOS)
def test_begins_with_its_title(demo: str) -> None:
    lines = DEMOS[demo].splitlines()
    if lines[0].startswith('"""'):
        assert "# %%" not in lines  # a plain script
    else:
        assert lines[0] == "# %% [markdown]" and lines[1].startswith("# # ")
        assert lines.count("# %%") >= 4 and lines.count("# %% [markdown]") >= 2


@pytest.mark.parametrize("demo", DEMOS)
def test_needs_only_the_public_package(demo: str) -> None:
    tree = ast.parse(DEMOS[demo])
    modules = imports(tree)
    packages = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    assert packages <= {"numpy", "tinygrad_llm"} | OPTIONAL
    assert not any(part.startswith("_") for module in modules for part in module.split(".") if part != "__future__")
    at_the_top = {
        module.partition(".")[0]
        for node in tree.body
        for module in imports(ast.Module([node], []))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert not at_the_top & OPTIONAL  # what may be missing is looked for first


def test_every_demo_is_run_by_a_test() -> None:
    files = [path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "demos").glob("test_*.py")]
    untested = [demo for demo in DEMOS if demo not in FIGURES and not any(f'"{demo}"' in text for text in files)]
    assert untested == []


def test_no_demo_defines_what_another_defines() -> None:
    owners: dict[str, str] = {}
    for demo, source in DEMOS.items():
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.name not in owners, (node.name, demo, owners[node.name])
                owners[node.name] = demo


@pytest.mark.parametrize("demo", DEMOS)
def test_ends_quietly_when_its_reader_leaves_or_interrupts_it(demo: str) -> None:
    calls = [node.lineno for node in ast.parse(DEMOS[demo]).body if ast.unparse(node) == "end_quietly()"]
    assert len(calls) == 1
    assert "print(" not in "".join(DEMOS[demo].splitlines(keepends=True)[: calls[0]])


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_a_demo_in_training_ends_by_sigterm_without_a_traceback() -> None:
    command = held_script("demos/few_shot.py", 60)
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout and any(line.startswith("after 40 steps") for line in process.stdout)
        process.terminate()
        _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (-signal.SIGTERM, "")
