"""Control characters in a text reach files unchanged and never a terminal."""

import io

import pytest

from tinygrad_llm.runs import StatusLine
from tinygrad_llm.terminal import escape_controls, fit_line, for_terminal, is_terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\rb", r"a\rb"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("\u202egnp", r"\u202egnp"),
        ("a\tb\nc\r\nd", "a\tb\nc\nd"),
        ("naïve 日本語 👩\u200d👧", "naïve 日本語 👩\u200d👧"),
    ],
)
def test_controls_are_shown_on_a_terminal(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
    assert for_terminal(text, Terminal()) == shown
    assert for_terminal(text, io.StringIO()) == text


def test_what_is_closed_or_missing_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = Terminal()
    assert is_terminal(stream)
    monkeypatch.setattr("sys.stdout", None)
    assert not is_terminal()
    closed = io.StringIO()
    closed.close()
    assert not is_terminal(closed)


def test_a_status_line_never_wraps_and_obeys_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert len(fit_line("x" * 200, Terminal())) == 79
    assert fit_line("one\ntwo", Terminal()) == "one"
    screen = Terminal()
    status = StatusLine(screen)
    status._shown = -100.0
    status.renew(lambda: "step 1 " + "x" * 200)
    status.say("sample: \x1b[2J")
    assert screen.getvalue().startswith("\r" + "step 1 ".ljust(79, "x"))
    assert r"\rsample: \x1b[2J".replace(r"\r", "\r") in screen.getvalue()
    assert "\x1b" not in screen.getvalue()
