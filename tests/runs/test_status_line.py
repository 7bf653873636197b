"""The status line on a terminal of 80 columns and elsewhere: it never wraps, shows a share, and leaves nothing."""

import io
import re
import time
import warnings

import pytest

from tinygrad_llm.runs.progress import ProgressLog
from tinygrad_llm.runs.status_line import StatusLine
from tinygrad_llm.train import TrainingSettings, language_model_loss


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")


def test_a_sentence_is_wrapped_and_a_command_is_not() -> None:
    screen = Terminal()
    status = StatusLine(screen)
    status.say("word " * 40)
    assert max(map(len, screen.getvalue().splitlines())) < 80
    status.hint("continue", "tinygrad-llm train " + "--long-flag 3 " * 10)
    assert screen.getvalue().splitlines()[-1] == "continue: tinygrad-llm train " + "--long-flag 3 " * 10
    pipe = io.StringIO()
    StatusLine(pipe).say("word " * 40)
    assert pipe.getvalue() == "word " * 40 + "\n"


def test_colours_are_for_terminals_without_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    def printed(stream: io.StringIO) -> str:
        StatusLine(stream).say("good", "green")
        return stream.getvalue()

    assert printed(Terminal()) == printed(io.StringIO()) == "good\n"
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    assert printed(Terminal()) == "\x1b[32mgood\x1b[0m\n" and printed(io.StringIO()) == "good\n"


def test_items_are_counted_while_they_are_used() -> None:
    screen = Terminal()
    status = StatusLine(screen)
    for item in status.track([1, 2, 3, 4], "evaluating"):
        status._shown = -100.0
        assert item
    assert "evaluating █████░░░░░ 2/4" in screen.getvalue()
    assert screen.getvalue().endswith(" \r")  # nothing of it is left


def test_long_work_is_named_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_llm.runs.status_line.SECONDS_OF_SILENCE", 0.01)
    screen = Terminal()
    status = StatusLine(screen)
    status._shown -= 1
    with status.working("loading runs/gpt"):
        deadline = time.monotonic() + 60
        while not screen.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert re.search(r"loading runs/gpt \.\.\. \d+s", screen.getvalue()) and screen.getvalue().endswith(" \r")
    pipe = io.StringIO()
    with StatusLine(pipe).working("loading"):
        assert pipe.getvalue() == ""


class FakeTrainer:
    settings = TrainingSettings(steps=20_000)
    step = 0
    loss = staticmethod(language_model_loss)


def test_the_line_of_a_training_fits_and_has_a_bar_and_a_curve() -> None:
    screen = Terminal()
    log = ProgressLog(StatusLine(screen))
    log.started(FakeTrainer())
    record = {"learning_rate": 5e-4, "grad_norm": 0.25, "tokens_per_second": 123456.0}
    for step in range(1, 41):
        log.status._shown = -100.0
        log.step_finished(FakeTrainer(), {"step": step, "train_loss": 8 - step / 10, **record})
    lines = screen.getvalue().split("\r")[1:]
    assert max(map(len, lines)) < 80
    assert lines[-1].startswith("step    40/20000 ░░░░░░░░░░ | loss 5.200 (25 steps) | █") and "left" in lines[-1]
    log.step_finished(FakeTrainer(), {"step": 41, "train_loss": 4.0, "val_loss": 4.0, **record})
    assert len(screen.getvalue().splitlines()[-1].split("\r")[-1].rstrip()) < 80
    log.finished(FakeTrainer())
    assert screen.getvalue().splitlines()[-1].startswith("loss of this training: 7.900 █")


def test_a_warning_is_one_line() -> None:
    screen = io.StringIO()
    with StatusLine(screen).saying_warnings():
        warnings.warn("this process works alone", stacklevel=1)
    assert screen.getvalue() == "warning: this process works alone\n"


def test_a_warning_for_developers_is_not_said() -> None:
    """Such as that of Python 3.12 where a process with threads forks."""
    screen = io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        with StatusLine(screen).saying_warnings():
            warnings.warn("use of fork() may lead to deadlocks", DeprecationWarning, stacklevel=1)
    assert screen.getvalue() == ""
