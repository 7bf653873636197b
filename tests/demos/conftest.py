"""What the demos print, each run once for all tests."""

import pytest
from demo_figures import run


@pytest.fixture(scope="session")
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A cache folder without any text."""
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache"))}


@pytest.fixture(scope="session")
def printed(empty_cache: dict[str, str]):
    """What each demo printed, run once, with the real texts where TINYGRAD_LLM_DATA has them."""
    outputs: dict[str, str] = {}

    def of(demo: str) -> str:
        if demo not in outputs:
            outputs[demo] = run(demo, **empty_cache)
        return outputs[demo]

    return of
