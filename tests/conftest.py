"""One deterministic Hypothesis profile for the whole suite, and the folder of real texts."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("deterministic", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("deterministic")


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real texts; tests that need one are skipped where it is not given."""
    folder = os.environ.get("TINYGRAD_LLM_DATA")
    if not folder:
        pytest.skip("TINYGRAD_LLM_DATA names no folder of real texts")
    return Path(folder)
