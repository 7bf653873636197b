"""A run that is trained further in the lab."""

from pathlib import Path

import numpy as np
import pytest
from tiny_base import call, make_base
from tiny_lab import TEXT, asking

from tinygrad_llm.errors import DataError
from tinygrad_llm.formats import read_safetensors
from tinygrad_llm.lab.kept_state import bring_back, keep_state
from tinygrad_llm.lab.opening import open_lab
from tinygrad_llm.lab.run_beginning import checkpoint_of

FLAGS = ["--tokenizer", "char", "--num-layers", 2, "--num-heads", 2, "--embedding-dim", 8, "--context-length", 16]
FLAGS += ["--batch-size", 2, "--warmup-steps", 2, "--eval-interval", 4, "--eval-batches", 1, "--dropout", 0.1]


def train(folder: Path, capsys: pytest.CaptureFixture[str], *flags: object) -> Path:
    text = folder / "text.txt"
    text.write_text(TEXT)
    assert call(capsys, "train", text, *FLAGS, "--out", folder / "run", *flags)[0] == 0
    return folder / "run"


def weights_at(folder: Path) -> dict[str, np.ndarray]:
    return dict(read_safetensors(folder / "model.safetensors"))


def test_the_lab_takes_the_steps_that_the_run_would_take(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From an interrupted run, to the bit; and the run's files stay as they are."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    whole = train(tmp_path / "a", capsys, "--steps", 9)
    stopped = train(tmp_path / "b", capsys, "--steps", 9, "--stop-at", 5)
    before = {file: file.read_bytes() for file in stopped.rglob("*") if file.is_file()}
    with asking(session=open_lab(stopped)) as ask:
        assert ask.status()["at"] == "live"
        assert ask.step(count=4)["at"] == "main@9"
        assert ask.session.training().trainer.workers == 1
        found = ask.session.ask(lambda: ask.session.training().trainer.model.state_dict())
        assert all(np.array_equal(found[name], x) for name, x in weights_at(whole).items())
        with pytest.raises(Exception, match="steps begin at 5"):
            ask.goto(at="main@4")
        assert ask.goto(at="main@5")["firstStep"] == 5
    assert {file: file.read_bytes() for file in stopped.rglob("*") if file.is_file()} == before


def test_a_lab_goes_on_where_the_last_one_ended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path, capsys, "--steps", 4, "--keep-every", 2)
    with asking(session=open_lab(run)) as ask:
        place = ask.session.keep_in
        assert keep_state(ask.session, *place, 1.0) is None  # nothing was trained
        ask.step(count=3)
        ask.rate(rate=0.25, name="fast")
        ask.step(count=2)
        ask.seen(fragment="view=train&at=fast@9", requests=[])
        expected = {name: np.array(x) for name, x in ask.session.main.trainer.model.state_dict().items()}
        history = ask.history(branch="fast")["trainLoss"]
        kept = keep_state(ask.session, *place, 1.0)
        assert kept is not None and kept.parent.parent == run / "lab"
    again = open_lab(run)
    assert "step 9 of branch fast" in bring_back(again, *again.keep_in)
    assert again.seen.fragment == "view=train&at=fast@9"
    with asking(session=again) as ask:
        assert ask.status()["at"] == "fast@9"
        assert all(np.array_equal(x, expected[name]) for name, x in again.main.trainer.model.state_dict().items())
        assert np.array_equal(ask.history(branch="fast")["trainLoss"], history)
        ask.goto(at="main@7")
        ask.goto(at="fast@9")
        assert all(np.array_equal(x, expected[name]) for name, x in again.main.trainer.model.state_dict().items())
    other = open_lab(run / "checkpoints" / "step-00000002")
    assert bring_back(other, *other.keep_in) == ""


def test_checkpoints_and_neighbours_can_be_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path, capsys, "--steps", 4, "--keep-every", 2)
    make_base(tmp_path / "neighbour")
    with asking(session=open_lab(run)) as ask:
        names = [one["name"] for one in ask.status()["models"]]
        assert names == ["step 0", "step 2", "step 4", "neighbour"]
        first, last = (ask.look(prompt="the", at=f"model:step {step}")["loss"] for step in (0, 4))
        assert first != last == ask.look(prompt="the")["loss"]
        assert ask.look(prompt="the", at="model:neighbour")["at"] == "model:neighbour"


def test_a_run_without_its_text_says_so_when_it_is_trained(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(tmp_path, capsys, "--steps", 2)
    (tmp_path / "text.txt").unlink()
    with asking(session=open_lab(run)) as ask:
        assert ask.step()["step"] == 3  # its ids are in the folder
    for file in (run / "ids").iterdir():
        file.unlink()
    with asking(session=open_lab(run)) as ask:
        assert ask.look(prompt="the")["at"] == "live"
        with pytest.raises(DataError, match=r"text\.txt"):
            ask.step()


def test_a_model_of_another_kind_gets_new_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A run without an optimizer's state, or another text."""
    base = make_base(tmp_path / "base", context_length=16)
    (tmp_path / "other.txt").write_text(TEXT)
    with asking(session=open_lab(base, str(tmp_path / "other.txt"))) as ask:
        assert ask.session.keep_in is None
        assert ask.step(count=2)["at"] == "main@2"
    (tmp_path / "short.txt").write_text("too short")
    with pytest.raises(DataError, match="more than 16"):
        open_lab(base, str(tmp_path / "short.txt"))
    assert checkpoint_of(tmp_path) is None
