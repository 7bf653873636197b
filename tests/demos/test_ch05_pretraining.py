"""The small models of chapter 5 and appendix D learn the story by heart, with the book's curve of losses."""

import importlib.util
import re
from collections.abc import Callable

import pytest
from demo_figures import section

pytestmark = pytest.mark.slow
Printed = Callable[[str], str]
LOSSES = re.compile(r"^epoch \d+ \(step (\d+)\): training loss ([\d.]+), validation loss ([\d.]+)$", re.MULTILINE)


@pytest.mark.usefixtures("data_folder")
def test_the_untrained_model_writes_what_the_book_shows(printed: Printed) -> None:
    output = printed("ch05_pretraining")
    assert "Every effort moves you rentingetic wasnم refres RexMeCHicular stren\n" in section(output, "5.1.1")
    assert "wanted ' effort moves you', likeliest ' Armed heNetflix'" in section(output, "5.1.2")
    assert "likeliest: forward\ndrawn: forward\n" in section(output, "5.3.1")


@pytest.mark.parametrize(("demo", "title"), [("appendix_d_training_loop", "D.4"), ("ch05_pretraining", "5.2")])
def test_the_validation_loss_falls_and_rises_while_the_training_loss_nears_zero(
    demo: str, title: str, printed: Printed
) -> None:
    records = LOSSES.findall(section(printed(demo), title))
    steps, training, validation = ([float(number) for number in column] for column in zip(*records, strict=True))
    assert steps == [5.0 * place for place in range(len(steps))]
    assert training[-1] < 1 < 5 < training[0]
    lowest = validation.index(min(validation))
    assert 0 < lowest < len(validation) - 10
    assert validation[-1] > validation[lowest] + 0.5
    assert validation[0] > validation[lowest] + 0.5


@pytest.mark.parametrize(("demo", "title"), [("appendix_d_training_loop", "D.4"), ("ch05_pretraining", "5.2")])
def test_the_full_size_needs_the_story(demo: str, title: str, printed_without_texts: Callable) -> None:
    output, _ = printed_without_texts(demo)
    assert "NOTE: --full needs the story" in section(output, title)


def test_draws_its_losses_where_matplotlib_is_installed(printed_without_texts: Callable) -> None:
    if not importlib.util.find_spec("matplotlib"):
        pytest.skip("matplotlib is not installed")
    output, folder = printed_without_texts("ch05_pretraining")
    assert f"drawn into {folder / 'losses.png'}\n" in output
    assert (folder / "losses.png").read_bytes().startswith(b"\x89PNG")
