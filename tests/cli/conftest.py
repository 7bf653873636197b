"""Shared by the tests of the commands: small samples and measurements."""

from collections.abc import Iterator

import pytest

from tinygrad_llm.measure import products_alone
from tinygrad_llm.runs import pretraining_report


@pytest.fixture(scope="module", autouse=True)
def little_work() -> Iterator[None]:
    """Write 10 tokens after each training, not 100; measure the peak speed with small products."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining_report, "SAMPLE_TOKENS", 10)
        patch.setattr(products_alone, "PEAK_SIZE", 128)
        yield
