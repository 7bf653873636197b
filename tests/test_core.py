"""The core is what one training step of a GPT needs: which files, that they import no wing, and how long they are."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import tinygrad_llm

PACKAGE = Path(tinygrad_llm.__file__).parent

# Folders whose every file is core, and single files.
CORE_FOLDERS = ("primitives", "ops", "nn")
CORE_FILES = (
    *("__init__.py", "errors.py", "lazy.py", "arrays.py", "checks.py", "settings.py", "random.py"),
    *("buffers.py", "versions.py", "graph.py", "variable.py", "tensor.py"),
    *("models/__init__.py", "models/pretrained.py", "models/language_model.py", "models/gpt.py"),
    *("optim/__init__.py", "optim/blocks.py", "optim/optimizer.py", "optim/adamw.py", "optim/clipping.py"),
    "optim/schedules.py",
    *("data/__init__.py", "data/mapped.py", "data/random_order.py", "data/windows.py"),
    "data/window_loader.py",
    *("train/__init__.py", "train/settings.py", "train/evaluation.py", "train/trainer.py"),
)
MOST_LINES = 7_130  # with docstrings; it only ever falls

TRAINING_STEP = """
import sys
import numpy as np
from tinygrad_llm.data import WindowLoader
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.train import Trainer, TrainingSettings

model = GPT(GPTConfig(vocab_size=11, context_length=4, embedding_dim=8, num_heads=2, num_layers=1))
loader = WindowLoader(np.arange(60) % 11, 4, batch_size=2)
Trainer(model, loader, settings=TrainingSettings(steps=1)).train()
print(*(m.__file__ for n, m in sys.modules.items() if n.partition(".")[0] == "tinygrad_llm"), sep="\\n")
"""


def core_files() -> set[Path]:
    in_folders = {file for folder in CORE_FOLDERS for file in (PACKAGE / folder).rglob("*.py")}
    return in_folders | {PACKAGE / name for name in CORE_FILES}


def imported_files(file: Path) -> set[Path]:
    """The package's files that `file` imports when it runs: not those that it names for type checkers alone."""
    tree = ast.parse(file.read_text("utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if node in for_types or not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{name}" for name in names] + [str(node.module)]
        for name in names:
            path = PACKAGE.parent.joinpath(*name.split("."))
            found |= {one for one in (path.with_suffix(".py"), path / "__init__.py") if one.is_file()}
    return {one for one in found if one.is_relative_to(PACKAGE)}


def test_every_file_of_the_core_exists() -> None:
    assert [file for file in core_files() if not file.is_file()] == []


def test_a_training_step_loads_the_core_alone() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING_STEP], capture_output=True, text=True, env=environment, check=True
    )
    loaded = {Path(line) for line in done.stdout.splitlines() if line.endswith(".py")}
    assert len(loaded) > 40
    assert {str(file.relative_to(PACKAGE)) for file in loaded - core_files()} == set()


def test_no_file_of_the_core_imports_a_wing() -> None:
    core = core_files()
    wings = {
        f"{file.relative_to(PACKAGE)}: {wing.relative_to(PACKAGE)}"
        for file in core
        for wing in imported_files(file) - core
    }
    assert wings == set()


def test_one_head_can_hold_it() -> None:
    lines = {file: len(file.read_text("utf-8").splitlines()) for file in core_files()}
    longest = sorted(((count, str(file.relative_to(PACKAGE))) for file, count in lines.items()), reverse=True)[:12]
    assert sum(lines.values()) <= MOST_LINES, f"{sum(lines.values())} lines; the longest files: {longest}"
