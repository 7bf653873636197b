"""Tests mirror the package: tests/<room>/test_<name>.py tests tinygrad_llm/<room>/<name>.py."""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PACKAGE = TESTS.parent / "tinygrad_llm"
DEMOS = TESTS.parent / "demos"

# Test files, and a folder of them, about more than one file of the package, and what they are about. Tests are on the
# import path, where a folder named torch would hide PyTorch.
ABOUT_MORE_THAN_ONE_FILE = {
    "test_conftest.py": "the CPU limit and the order of tests",
    "test_core.py": "the line between the core and its wings",
    "test_extending.py": "what adding an op, a layer, an optimizer, a tokenizer or a command takes",
    "test_imports.py": "the direction of imports",
    "test_layout.py": "the layout of the tests",
    "test_readme.py": "the READMEs",
    "test_special_values.py": "infinity and NaN in all operations",
    "cli/test_cli.py": "the program",
    "cli/test_damaged_runs.py": "damaged run folders, through the commands",
    "cli/test_help.py": "the help of all commands",
    "cli/test_hostile_arguments.py": "any argument of any command",
    "cli/test_import_export.py": "import and export",
    "cli/test_other_models.py": "commands on Hugging Face folders",
    "cli/test_train_llama.py": "training another architecture",
    "demos/test_every_demo.py": "all demos",
    "demos/test_figures.py": "the book's figures in all demos",
    "evaluation/test_against_lm_eval.py": "metrics compared with lm-evaluation-harness",
    "finetune/test_finetuning_against_torch.py": "DPO and LoRA compared with PyTorch",
    "functions/test_refusals.py": "errors of all functions",
    "functions/test_table.py": "value, gradient, dtype and error of all functions",
    "fuzz": "damaged files, through every reader",
    "interop/test_damaged_folders.py": "damaged folders of every architecture",
    "interop/test_real_models.py": "real models and their figures",
    "lab/test_inspection_in_browser.py": "the page of inspect in Chromium",
    "lab/test_page_in_browser.py": "the lab's page in Chromium",
    "mutation": "mutants of the core, and the tests that notice them",
    "nn/test_book_figures.py": "figures of the book's chapters 3 and 4",
    "nn/test_layers.py": "the small layers",
    "ops/test_op_contract.py": "the contract of every op",
    "ops/test_rounding.py": "rounding of all ops in float32",
    "runs/test_killed_processes.py": "training processes that are killed",
    "serve/test_page_in_browser.py": "the chat page in Chromium",
    "soak": "training runs under kills, full disks, wrong clocks",
    "torch_words": "code in PyTorch's words",
    "train/test_learning_rates.py": "the schedules of a run",
    "train/test_several_processes.py": "data-parallel training",
}


def names_of(test: Path) -> set[str]:
    """The names that a test file may be about: test_gpt_against_torch.py is about gpt.py."""
    name = test.stem.removeprefix("test_")
    return {name, name.partition("_against_")[0]}


def test_every_test_file_is_named_after_the_file_that_it_tests() -> None:
    strays = []
    for test in sorted(TESTS.rglob("test_*.py")):
        where = test.relative_to(TESTS)
        room = DEMOS if where.parts[0] == "demos" else PACKAGE / where.parent
        files = room.rglob("*.py") if room != PACKAGE else room.glob("*.py")
        tested = {file.stem.strip("_") for file in files} | {
            folder.name for folder in room.glob("*") if folder.is_dir()
        }
        if not names_of(test) & tested and not {str(where), str(where.parent)} & ABOUT_MORE_THAN_ONE_FILE.keys():
            strays.append(str(where))
    assert strays == []


def test_the_list_of_other_test_files_is_true() -> None:
    assert [name for name in ABOUT_MORE_THAN_ONE_FILE if not (TESTS / name).exists()] == []


@pytest.mark.slow
def test_every_function_of_the_tests_is_annotated() -> None:
    """But for the book's code and other snippets in `torch_words`, which are quoted as they are."""
    bare = []
    for file in sorted(TESTS.rglob("*.py")):
        if file.parent.name == "torch_words" and not file.name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.FunctionDef):
                arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
                names = [one.arg for one in arguments if one.annotation is None and one.arg not in ("self", "cls")]
                names += ["its result"] * (node.returns is None)
                bare += [f"{file.relative_to(TESTS)}:{node.lineno} {node.name}: {name}" for name in names]
    assert bare == []
