"""Starting and ending the program: Ctrl-C before and after a command runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinygrad_llm

INTERRUPTED_WHILE_IMPORTING = """
import builtins, os, signal, sys
from tinygrad_llm.__main__ import main

real, module = builtins.__import__, sys.argv[1]

def interrupting(name, *more, **named):
    if name == module:
        os.kill(os.getpid(), signal.SIGINT)
    return real(name, *more, **named)

builtins.__import__ = interrupting
sys.argv[1:] = ["generate", "--model", "no-such-run"]
sys.exit(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
@pytest.mark.parametrize("module", ["numpy", "argparse", "tinygrad_llm.runs.open_model"])
def test_ctrl_c_while_modules_are_imported_prints_no_traceback(module: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(tinygrad_llm.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_IMPORTING, module], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


INTERRUPTED_AT_THE_END = """
import atexit, os, signal, sys
from tinygrad_llm import cli
from tinygrad_llm.__main__ import main

atexit.register(os.kill, os.getpid(), signal.SIGINT)
real = cli._end

def interrupted_again(code, message):
    real(code, message)
    raise KeyboardInterrupt

class Command:
    add_arguments = staticmethod(lambda parser: None)

    def run(arguments):
        raise KeyboardInterrupt

cli._end, cli.command_module = interrupted_again, lambda name: Command
sys.argv[1:] = ["list"]
sys.exit(main())
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_more_ctrl_c_while_the_program_ends_prints_no_traceback() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(tinygrad_llm.__file__).parents[1])}
    command = [sys.executable, "-c", INTERRUPTED_AT_THE_END]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 130
    assert done.stderr.strip() == "interrupted"


def test_a_closed_standard_output_is_one_line_of_error() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(tinygrad_llm.__file__).parents[1])}
    command = f"{sys.executable} -m tinygrad_llm generate --model no-such-run >&-"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.endswith("generate: standard output is closed; send it to a file, a pipe or /dev/null")
