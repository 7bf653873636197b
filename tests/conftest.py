"""What all tests share: one deterministic Hypothesis profile, the folder of real texts, memory without a collector."""

import gc
import os
from collections.abc import Iterator
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


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Only reference counts free memory: what lies in a cycle stays, and is caught."""
    gc.disable()
    yield
    gc.enable()
