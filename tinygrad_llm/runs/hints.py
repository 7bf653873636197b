"""Commands that a message suggests, written so that they work when pasted into the same terminal."""

from __future__ import annotations

import os
import shlex
import shutil
import sys


def program() -> str:
    """The program as it was started: `tinygrad-llm`, the path of that script, or `python -m tinygrad_llm`."""
    started = sys.argv[0] if sys.argv else ""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name == "tinygrad_llm.__main__":
        python = "python" if shutil.which("python") == sys.executable else shlex.quote(sys.executable)
        return f"{python} -m tinygrad_llm"
    on_path = shutil.which("tinygrad-llm")
    if os.path.basename(started) == "tinygrad-llm" and (on_path is None or on_path != shutil.which(started)):
        return shlex.quote(started)
    return "tinygrad-llm"


def command(*words: object, processes: int = 1) -> str:
    """The command line of these words, quoted for a shell."""
    launcher = f"mpiexec -n {processes} " if processes > 1 else ""
    return f"{launcher}{program()} {shlex.join(map(str, words))}"
