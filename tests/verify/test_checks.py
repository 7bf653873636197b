"""Correct code passes every check."""

import pytest

from tinygrad_llm.verify.checks import CHECKS, run_check


@pytest.mark.parametrize("name", CHECKS)
def test_correct_code_passes_every_check(name: str) -> None:
    finding = run_check(name)
    assert finding.ok, finding.observed
