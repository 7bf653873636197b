"""The core is what one training step of a GPT loads: which files, that they import no wing, and how long they are.

Below the core lies the floor: services that know nothing of the engine and can be trusted like a library. An
`__init__.py` only lists names, which a test asserts, and counts in neither.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import tinygrad_llm

PACKAGE = Path(tinygrad_llm.__file__).parent

FLOOR = ("errors", "lazy", "arrays", "checks", "settings", "random", "buffers", "versions")
CORE = (
    *("graph", "variable", "tensor"),
    *("primitives/operands", "primitives/arithmetic", "primitives/comparison", "primitives/elementwise"),
    *("primitives/indexing", "primitives/joining", "primitives/matmul", "primitives/reduction", "primitives/shape"),
    *("ops/dispatch", "ops/row_blocks", "ops/linear", "ops/softmax", "ops/layer_norm", "ops/gelu", "ops/dropout"),
    *("ops/embedding", "ops/cross_entropy", "ops/attention", "ops/attention_tiles"),
    *("nn/module", "nn/init", "nn/linear", "nn/embedding", "nn/dropout", "nn/activation", "nn/normalization"),
    *("nn/feed_forward", "nn/attention", "nn/transformer_block"),
    *("models/pretrained", "models/language_model", "models/gpt"),
    *("optim/blocks", "optim/optimizer", "optim/adamw", "optim/clipping", "optim/schedules"),
    *("data/mapped", "data/windows", "data/window_loader"),
    *("train/batch_loss", "train/settings", "train/trainer"),
)
TOKENIZER = ("text/tokenizer", "text/special_tokens")  # the interface, which is read before a step and not loaded by it

# Lines with docstrings; these limits only ever fall.
MOST_LINES = {"floor": 1_250, "core": 5_000, "core and tokenizer": 5_295, "all": 6_545}

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


def files(names: tuple[str, ...]) -> set[Path]:
    return {PACKAGE / f"{name}.py" for name in names}


def lines_of(names: tuple[str, ...]) -> int:
    return sum(len(file.read_text("utf-8").splitlines()) for file in files(names))


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


def is_list_of_names(file: Path) -> bool:
    return file.name == "__init__.py"


def test_a_training_step_loads_the_core_and_the_floor_alone() -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", TRAINING_STEP], capture_output=True, text=True, env=environment, check=True
    )
    loaded = {Path(line) for line in done.stdout.splitlines() if line.endswith(".py")}
    assert {file for file in loaded if not is_list_of_names(file)} == files(CORE + FLOOR)


def test_no_file_of_the_core_imports_a_wing() -> None:
    core = files(FLOOR + CORE + TOKENIZER)
    wings = {
        f"{file.relative_to(PACKAGE)}: {wing.relative_to(PACKAGE)}"
        for file in core - files(("text/tokenizer",))  # it loads what long texts and files need when that is called
        for wing in imported_files(file) - core
        if not is_list_of_names(wing)
    }
    assert wings == set()


def test_the_floor_imports_nothing_above_it() -> None:
    floor = files(FLOOR)
    above = {
        f"{file.relative_to(PACKAGE)}: {other.relative_to(PACKAGE)}"
        for file in floor
        for other in imported_files(file) - floor
        if other != PACKAGE / "__init__.py"
    }
    assert above == set()


def test_an_init_file_only_lists_names() -> None:
    rooms = {file.parent for file in files(CORE + TOKENIZER)}
    definitions = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda | ast.For | ast.While | ast.With
    defined = [
        f"{room.name}/__init__.py:{node.lineno}"
        for room in rooms
        for node in ast.walk(ast.parse((room / "__init__.py").read_text("utf-8")))
        if isinstance(node, definitions)
    ]
    assert defined == []


def test_one_head_can_hold_it() -> None:
    counted = {"floor": FLOOR, "core": CORE, "core and tokenizer": CORE + TOKENIZER, "all": FLOOR + CORE + TOKENIZER}
    lines = {part: lines_of(names) for part, names in counted.items()}
    assert {part for part, count in lines.items() if count > MOST_LINES[part]} == set(), lines
