"""A browser for the tests of the chat page."""

from pages import chromium, page

__all__ = ["chromium", "page"]
