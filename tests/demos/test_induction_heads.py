"""The demo of induction heads: one forms, is found, and is needed."""

import re
from collections.abc import Callable

import pytest


@pytest.mark.slow
def test_an_induction_head_forms_and_is_needed(printed: Callable[[str], str]) -> None:
    output = printed("induction_heads")
    shares = {head: float(x) for head, x in re.findall(r"^   (\d\.\d) +\S+ +\S+ +(\S+)$", output, re.MULTILINE)}
    losses = {head: float(x) for head, x in re.findall(r"^   (\d\.\d|none) +(\S+)$", output, re.MULTILINE)}
    patched = [float(x) for x in re.findall(r"(\S+)$", output.split("4. ")[1], re.MULTILINE)[1:]]
    found = re.search(r"the pattern of (\S+),", output)[1]
    assert len(shares) == 4 and shares[found] == max(shares.values()) > 0.5
    assert losses["none"] < 0.2 < losses[found] and max(losses["0.0"], losses["0.1"]) > 1
    assert patched[0] > patched[2] + 1 and patched[1] > patched[2]
