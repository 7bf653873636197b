"""What a run says while it works, on a terminal and elsewhere, and the picture of its losses."""

import io
import math
from pathlib import Path

import pytest

from tinygrad_llm.runs.loss_picture import can_draw, draw_losses
from tinygrad_llm.train import (
    ProgressLog,
    StatusLine,
    TrainingSettings,
    bits_per_byte,
    duration,
    language_model_loss,
    perplexity,
)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class FakeTrainer:
    settings = TrainingSettings(steps=10)
    step = 0
    loss = staticmethod(language_model_loss)


class ClassTrainer(FakeTrainer):
    loss = staticmethod(lambda model, batch: model.loss(*batch))


RECORD = {"step": 4, "train_loss": 2.0, "learning_rate": 5e-4, "grad_norm": 0.25, "tokens_per_second": 1234.0}


def test_durations_are_read_at_a_glance() -> None:
    shown = [duration(seconds) for seconds in (0, 59.6, 61, 3599, 3661)]
    assert shown == ["0s", "1m 00s", "1m 01s", "59m 59s", "1h 01m"]


def test_units_of_loss() -> None:
    assert perplexity(math.log(50.0)) == pytest.approx(50.0)
    assert perplexity(1e9) < math.inf
    assert bits_per_byte(math.log(2), tokens=10, text_bytes=40) == pytest.approx(0.25)


def test_a_log_line_shows_every_figure() -> None:
    stream = io.StringIO()
    log = ProgressLog(StatusLine(stream))
    log.started(FakeTrainer())
    log.step_finished(FakeTrainer(), RECORD)
    assert stream.getvalue() == ""  # nothing to renew where there is no terminal, and no interval is over
    log.step_finished(FakeTrainer(), {**RECORD, "step": 5, "train_loss": 4.0, "val_loss": math.log(20.0)})
    line = stream.getvalue()
    for figure in (
        "step  5/10",
        "loss 3.000 (2 steps)",
        "validation 2.996 (perplexity 20.0)",
        "lr 5.0e-04",
        "grad norm 0.25",
    ):
        assert figure in line
    assert "1,234 tok/s" in line and "left" in line


def test_a_loss_that_is_not_of_tokens_has_no_perplexity() -> None:
    stream = io.StringIO()
    log = ProgressLog(StatusLine(stream))
    log.started(ClassTrainer())
    log.step_finished(ClassTrainer(), {**RECORD, "val_loss": 0.6})
    assert "validation 0.600 | lr" in stream.getvalue() and "1,234 examples/s" in stream.getvalue()


def test_a_terminal_line_renews_itself_and_leaves_nothing_of_the_longer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_llm.runs.status_line.SECONDS_BETWEEN_RENEWALS", 600.0)
    stream = Terminal()
    status = StatusLine(stream)
    status._shown -= 601
    status.renew(lambda: "a long status line")
    status.renew(lambda: "too soon")
    assert stream.getvalue() == "\ra long status line"
    status.say("done")
    assert stream.getvalue() == "\ra long status line\rdone" + " " * 14 + "\n"


@pytest.mark.skipif(not can_draw(), reason="matplotlib is not installed")
def test_the_picture_is_a_png(tmp_path: Path) -> None:
    records = [{"step": step, "train_loss": 3.0 / step} for step in range(1, 9)] + [
        {"step": 9, "train_loss": 0.3, "val_loss": 1.0}
    ]
    pictures = []
    for of_tokens in (True, False):
        draw_losses(records, tmp_path / "loss.png", of_tokens)
        pictures.append((tmp_path / "loss.png").read_bytes())
        assert pictures[-1].startswith(b"\x89PNG")
    assert pictures[0] != pictures[1]
