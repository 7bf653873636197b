"""Shared by the tests of measurements: the peak speed is that of small products."""

from collections.abc import Iterator

import pytest

from tinygrad_llm.measure import products_alone


@pytest.fixture(scope="module", autouse=True)
def small_products() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(products_alone, "PEAK_SIZE", 128)
        yield
