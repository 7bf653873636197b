"""`plot`: the loss curves of several runs, in the terminal and as an SVG file."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tiny_base import call, make_base


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, slope in (("a", 0.1), ("b", 0.2)):
        log = make_base(Path("runs") / name) / "metrics.jsonl"
        records = [{"step": step, "train_loss": 5 - slope * step} for step in range(1, 11)]
        for record in records[4::5]:
            record["val_loss"] = 5.5 - slope * record["step"]
        log.write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path


def test_the_validation_loss_of_all_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, errors = call(capsys, "plot", "runs/a", "runs/b", "--svg", "chart.svg")
    assert (code, errors) == (0, [])
    assert printed.startswith("validation loss (nats per target)\n")
    assert "o runs/a: 5.000 to 4.500 at step 10; lowest 4.500 at 10" in printed
    assert "x runs/b: 4.500 to 3.500 at step 10; lowest 3.500 at 10" in printed
    assert len(list(ET.parse("chart.svg").getroot())) > 10 and printed.endswith("the chart is in chart.svg\n")


def test_the_training_loss_where_asked_for_or_where_nothing_was_evaluated(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "training loss" in call(capsys, "plot", "--loss", "training")[1]
    (runs / "runs/a/metrics.jsonl").write_text('{"step": 1, "train_loss": 3.0}\n')
    assert "training loss" in call(capsys, "plot")[1]


def test_refusals(runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    silent = make_base(Path("runs/silent"))
    for argv, said in (
        (["nowhere"], "nowhere"),
        ([silent], "a log must have a training loss"),
        (["runs/a", "--svg", "no/such/folder/x.svg"], "--svg"),
    ):
        code, _, errors = call(capsys, "plot", *argv)
        assert code in (1, 2) and said in errors[-1], (said, errors)
    (runs / "empty").mkdir()
    monkeypatch.chdir(runs / "empty")
    code, _, errors = call(capsys, "plot")
    assert code in (1, 2) and "RUN must name at least one run folder" in errors[-1]
