"""The demos of chapter 5 and appendix D print the book's own figures and show its curve.

Figures are what the book or its public repository prints, or, marked PLOTTED, computes and shows as a picture. The
losses of the small model are the demo's own: of them, only the shape is tested.
"""

import importlib.util
import re
from pathlib import Path

import pytest
from demo_figures import BANNER, Figure, check, run, section

pytestmark = pytest.mark.slow

PLOTTED = "the book's plot, by its formula"
CHAPTER_5 = [
    Figure("5.1.2", "likeliest tokens:", "16657 339 42826 49906 29669 41751"),
    Figure("5.1.2", "text 1, probabilities of its targets:", "7.4541e-05 3.1061e-05 1.1563e-05"),
    Figure("5.1.2", "text 2, probabilities of its targets:", "1.0337e-05 5.6776e-05 4.7559e-06"),
    Figure("5.1.2", "their logarithms:", "-9.5042 -10.3796 -11.3677 -11.4798 -9.7764 -12.2561"),
    Figure("5.1.2", "mean:", "-10.7940"),
    Figure("5.1.2", "cross-entropy by hand:", "10.7940"),
    Figure("5.1.2", "F.cross_entropy:", "10.7940"),
    Figure("5.1.2", "perplexity:", "48725.8"),
    Figure("5.3.1", "temperature 1:", "73 0 0 582 2 0 0 343 0"),
    Figure("5.3.1", "temperature 0.1:", "0 0 0 985 0 0 0 15 0"),
    Figure("5.3.1", "temperature 5:", "165 75 42 239 71 46 32 227 103"),
    Figure("5.3.1", "exercise 5.1: at temperature 5, drawn", "3.2 0.0430"),
    Figure("5.3.2", "top logits:", "6.7500 6.2800 4.5100 3 7 0"),
    Figure("5.3.2", "probabilities:", "0.0615 0.0000 0.0000 0.5775 0.0000 0.0000 0.0000 0.3610 0.0000"),
]
CHAPTER_5_ON_THE_VERDICT = [
    Figure("5.1.3", "characters:", "20479 5145"),
    Figure("5.1.3", "training:", "4612 9 4608"),
    Figure("5.1.3", "validation:", "534 1 512"),
    Figure("5.1.3", "untrained, training loss:", "10.98758"),
    Figure("5.1.3", "untrained, validation loss:", "10.98111"),
]
APPENDIX_D = [
    Figure("D.3", "norm", "5.0 1 0.2 0.4 0.4 0.8"),
    Figure("D.3", "clip_grad_norm_ returns", "5.0"),
]
APPENDIX_D_ON_THE_VERDICT = [
    Figure("D.1", "for warm-up:", "27"),
    Figure("D.1", "step 0: learning rate", "0.000100"),
    Figure("D.1", "step 1: learning rate", "0.000467", PLOTTED),
    Figure("D.1", "step 26: learning rate", "0.009633", PLOTTED),
    Figure("D.1", "step 27: learning rate", "0.010000"),
    Figure("D.1", "step 134: learning rate", "0.010000", PLOTTED),
    Figure("D.2", "step 0: learning rate", "0.000100"),
    Figure("D.2", "step 13: learning rate", "0.004867", PLOTTED),
    Figure("D.2", "step 27: learning rate", "0.010000"),
    Figure("D.2", "step 81: learning rate", "0.005005", PLOTTED),
    Figure("D.2", "step 134: learning rate", "0.000012", PLOTTED),
    Figure("D.3", "largest gradient:", "0.0411"),
    Figure("D.3", "largest gradient, clipped:", "0.0185"),
    Figure("D.3", "norm, clipped:", "1.0000"),
]
TITLES = {
    "ch05_pretraining": [
        "5.1 Evaluating generative text models",
        "5.1.1 Using GPT to generate text",
        "5.1.2 Calculating the text generation loss",
        "5.1.3 Calculating the training and validation set losses",
        "5.2 Training an LLM",
        "5.3 Decoding strategies to control randomness",
        "5.3.1 Temperature scaling",
        "5.3.2 Top-k sampling",
        "5.3.3 Modifying the text generation function",
        "5.4 Loading and saving weights",
        "5.5 Loading pretrained weights",
        "The same with the package's Trainer",
    ],
    "appendix_d_training_loop": [
        "D.1 Learning rate warmup",
        "D.2 Cosine decay",
        "D.3 Gradient clipping",
        "D.4 The modified training function",
    ],
}
FIGURES = {"ch05_pretraining": CHAPTER_5, "appendix_d_training_loop": APPENDIX_D}
ON_THE_VERDICT = {"ch05_pretraining": CHAPTER_5_ON_THE_VERDICT, "appendix_d_training_loop": APPENDIX_D_ON_THE_VERDICT}
LOSSES = re.compile(r"^epoch \d+ \(step (\d+)\): training loss ([\d.]+), validation loss ([\d.]+)$", re.MULTILINE)
both_demos = pytest.mark.parametrize("demo", FIGURES)


@both_demos
def test_prints_the_figures_of_the_book_that_need_no_text(demo: str, printed) -> None:
    for figure in FIGURES[demo]:
        check(printed(demo), figure)


@both_demos
def test_prints_the_figures_of_the_book_from_the_verdict(demo: str, data_folder: Path, printed) -> None:
    for figure in ON_THE_VERDICT[demo]:
        check(printed(demo), figure)
    assert "NOTE" not in printed(demo)


def test_the_untrained_model_writes_what_the_book_shows(data_folder: Path, printed) -> None:
    output = printed("ch05_pretraining")
    assert "Every effort moves you rentingetic wasnم refres RexMeCHicular stren\n" in section(output, "5.1.1")
    assert "wanted ' effort moves you', likeliest ' Armed heNetflix'" in section(output, "5.1.2")
    assert "likeliest: forward\ndrawn: forward\n" in section(output, "5.3.1")


@both_demos
def test_follows_the_sections_of_the_book(demo: str, printed) -> None:
    assert BANNER.findall(printed(demo)) == TITLES[demo]


@pytest.mark.parametrize(
    ("demo", "comparisons", "equalities"),
    [
        ("appendix_d_training_loop", 2, 0),
        ("ch05_pretraining", 4, 3),
    ],
)
def test_the_written_out_steps_and_the_package_agree(demo: str, comparisons: int, equalities: int, printed) -> None:
    differences = [float(number) for number in re.findall(r"largest difference (\S+)", printed(demo))]
    assert len(differences) == comparisons
    assert max(differences) < 1e-5
    same = re.findall(r"\bsame\b.*: (True|False)$", printed(demo), re.MULTILINE)
    assert same == ["True"] * equalities


@pytest.mark.parametrize(
    ("demo", "title"),
    [
        ("appendix_d_training_loop", "D.4"),
        ("ch05_pretraining", "5.2"),
    ],
)
def test_the_small_model_learns_the_text_by_heart(demo: str, title: str, printed) -> None:
    records = LOSSES.findall(section(printed(demo), title))
    steps, training, validation = ([float(number) for number in column] for column in zip(*records, strict=True))
    assert steps == [5.0 * place for place in range(len(steps))]
    assert training[-1] < 1 < 5 < training[0]
    lowest = validation.index(min(validation))
    assert 0 < lowest < len(validation) - 10
    assert validation[-1] > validation[lowest] + 0.5
    assert validation[0] > validation[lowest] + 0.5


@pytest.mark.parametrize("demo", FIGURES)
def test_says_so_where_no_text_is_at_hand_and_stays_small(
    demo: str, tmp_path: Path, empty_cache: dict[str, str]
) -> None:
    picture = tmp_path / "losses.png"
    output = run(demo, "--full", "--picture", str(picture), **{**empty_cache, "TINYGRAD_LLM_DATA": ""})
    assert re.search(r"^NOTE: the text '[a-z0-9-]+' is not at hand .*corpora\.download", output, re.MULTILINE)
    assert "not the book's" in output
    assert "NOTE: --full needs the story" in section(output, "5.2" if demo == "ch05_pretraining" else "D.4")
    assert BANNER.findall(output) == TITLES[demo]
    for figure in FIGURES[demo]:
        check(output, figure)
    for of_the_story in ("20479", "5145", "10.98758", "10.98111", "rentingetic", "0.0411", "0.0185"):
        assert of_the_story not in output
    if demo == "ch05_pretraining" and importlib.util.find_spec("matplotlib"):
        assert f"drawn into {picture}\n" in output
        assert picture.read_bytes().startswith(b"\x89PNG")
