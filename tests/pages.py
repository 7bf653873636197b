"""What the tests of all pages in Chromium share: the browser as fixtures, and the check that nothing is cut off."""

from collections.abc import Iterator

import pytest
from browser import Page, browser

WIDTHS = (390, 800, 1280, 1920)

# Elements that reach beyond the window, or beyond a part of the page that does not scroll.
CUT_OFF = """[...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect();
  if (!box.width || !one.checkVisibility() || one.closest(".scroll, .tree, .code, pre, .top-labels, .skip, svg *"))
    return false;
  return box.right > document.documentElement.clientWidth + 1 || box.left < -1;
}).map((one) => `${one.tagName}.${one.className} ${one.textContent.slice(0, 30)}`)"""


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


def expect_nothing_cut_off(page: Page) -> None:
    """At four widths, no element reaches beyond the window."""
    for width in WIDTHS:
        page.resize(width)
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.wait_for("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(CUT_OFF) == [], width
