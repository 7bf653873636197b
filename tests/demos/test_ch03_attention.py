"""The demo of chapter 3 at the size of GPT-2."""

import re

import pytest
from demo_figures import run


@pytest.mark.slow
def test_full_size_attention_agrees_at_the_whole_context() -> None:
    output = run("ch03_attention", "--full")
    assert "12 heads, 1024 tokens, package's" in output
    assert max(float(number) for number in re.findall(r"largest difference (\S+)", output)) < 1e-5
