"""What the tests of the lab's page in Chromium share."""

import json

from browser import Page

WIDTHS = (390, 800, 1280, 1920)

# Elements that reach beyond the window, or beyond a part of the page that does not scroll.
CUT_OFF = """[...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect();
  if (!box.width || !one.checkVisibility() || one.closest(".scroll, .tree, .code, .top-labels, svg *")) return false;
  return box.right > document.documentElement.clientWidth + 1 || box.left < -1;
}).map((one) => `${one.tagName}.${one.className} ${one.textContent.slice(0, 30)}`)"""


def settle(page: Page) -> None:
    """Wait until no request is on its way, and the address stands still."""
    page.evaluate("new Promise((done) => setTimeout(done, 150))")
    page.wait_for('!document.querySelector("#view[aria-busy]")')
    assert page.evaluate('document.getElementById("notice").hidden'), page.evaluate(
        'document.getElementById("notice").textContent'
    )


def state_of(page: Page) -> dict[str, str]:
    return page.evaluate("Object.fromEntries(new URLSearchParams(location.hash.slice(1)))")


def part(page: Page, text: str) -> str:
    """The text of the part of the page whose heading begins with `text`."""
    return page.evaluate(
        f"[...document.querySelectorAll('[data-part]')].find((one) => one.querySelector('h3')?.textContent"
        f".startsWith({json.dumps(text)}))?.innerText"
    )


def expect_nothing_cut_off(page: Page) -> None:
    """At four widths, no element reaches beyond the window."""
    for width in WIDTHS:
        page.resize(width)
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        page.wait_for("document.documentElement.scrollWidth <= innerWidth", patience=3)
        assert page.evaluate(CUT_OFF) == [], width
