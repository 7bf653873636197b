"""What the demos print, each run once for all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest
from demo_figures import FIGURES, run


@pytest.fixture(scope="session")
def without_texts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which no text is at hand."""
    return {"XDG_CACHE_HOME": str(tmp_path_factory.mktemp("cache")), "TINYGRAD_LLM_DATA": ""}


@pytest.fixture(scope="session")
def printed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """What a demo printed, run once, with the real texts where TINYGRAD_LLM_DATA has them."""
    empty_cache = str(tmp_path_factory.mktemp("cache"))
    outputs: dict[str, str] = {}

    def output_of(demo: str) -> str:
        if demo not in outputs:
            outputs[demo] = run(demo, XDG_CACHE_HOME=empty_cache)
        return outputs[demo]

    return output_of


@pytest.fixture(scope="session")
def printed_without_texts(
    tmp_path_factory: pytest.TempPathFactory, without_texts: dict[str, str]
) -> Callable[[str], tuple[str, Path]]:
    """What a demo printed where no text is at hand, and the folder into which it drew its picture; run once."""
    results: dict[str, tuple[str, Path]] = {}

    def result_of(demo: str) -> tuple[str, Path]:
        if demo not in results:
            folder = tmp_path_factory.mktemp(demo)
            arguments = FIGURES[demo].without_texts["arguments"]
            arguments = [str(folder / word) if word.endswith(".png") else word for word in arguments]
            results[demo] = run(demo, *arguments, **without_texts), folder
        return results[demo]

    return result_of
