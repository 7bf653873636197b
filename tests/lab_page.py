"""What the tests of the lab's page in Chromium share."""

import json

from browser import Page


def settle(page: Page) -> None:
    """Wait until nothing is under way: no request, no drawing, no change of the address."""
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
