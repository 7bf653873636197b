"""Shared by the tests of the commands: trainings end with a short sample."""

from collections.abc import Iterator

import pytest

from tinygrad_llm.runs import pretraining


@pytest.fixture(scope="module", autouse=True)
def short_samples() -> Iterator[None]:
    """Let each of the many trainings write 10 tokens at its end instead of 100."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretraining, "SAMPLE_TOKENS", 10)
        yield
