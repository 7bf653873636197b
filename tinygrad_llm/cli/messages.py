"""Errors as the command line prints them: one line, no control characters, no endless words."""

from __future__ import annotations

from tinygrad_llm.errors import TinygradLLMError

LONGEST_MESSAGE = 2000  # characters: a million spaces that were refused need not all be shown
LONGEST_WORD = 240  # characters of a path or a value in a message; the middle of a longer one is left out


def message_of(error: Exception) -> str:
    """An error in one line: settings by their flags, an error of the system without its number."""
    from tinygrad_llm.cli.flags import flag_of
    from tinygrad_llm.settings import SettingError

    words = str(error)
    if isinstance(error, SettingError):
        words = error.with_names(flag_of)
    elif isinstance(error, OSError) and error.strerror and not isinstance(error, TinygradLLMError):
        words = error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    message = one_line(words) or "out of memory"
    if isinstance(error, TinygradLLMError | MemoryError | OSError):
        return message
    return f"a fault of this program: {type(error).__name__}: {message}; --debug shows where"


def one_line(message: str) -> str:
    """`message` on one line, with control characters as escapes, and the middle of very long words left out."""
    words = " ".join(map(_shortened, message.split()))[:LONGEST_MESSAGE]
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in words)


def _shortened(word: str) -> str:
    return word if len(word) <= LONGEST_WORD else f"{word[: LONGEST_WORD // 2]}...{word[-LONGEST_WORD // 2 :]}"
