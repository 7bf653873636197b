"""A browser for the tests of the lab's page."""

from collections.abc import Iterator

import pytest
from browser import Page, browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.fixture
def page(chromium: Page) -> Iterator[Page]:
    """The browser's page, at 1,280 pixels in light; whatever the test did, no error was logged."""
    chromium.errors.clear()
    chromium.resize(1280)
    chromium.prefer(prefers_color_scheme="light")
    yield chromium
    chromium.evaluate("true")  # reads what came in the meantime
    assert chromium.errors == []
