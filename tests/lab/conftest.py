"""A browser for the tests of the lab's page."""

from pages import chromium, page

__all__ = ["chromium", "page"]
