"""The demos of chapter 6 and appendix E print the book's own figures, and train a small model honestly.

Figures are what the book or its public repository prints, or, marked TORCH, what PyTorch 2.13 gives for the same steps
where the book shows no numbers. Figures that need GPT-2's weights cannot come out here. The accuracies of the small
models are the demos' own: of them, only what must hold on any machine is tested.
"""

import re
from pathlib import Path

import pytest
from demo_figures import BANNER, TORCH, Figure, check, run, section

CHAPTER_6 = [
    Figure("6.5", "the book's model: 163,037,184 parameters, with the new head", "124441346"),
    Figure("6.6", "probabilities: [[0.0005 0.9995]], class", "1"),
    Figure("6.6", "without softmax", "1"),
]
CHAPTER_6_ON_THE_MESSAGES = [
    Figure("6.2", "messages:", "5572"),
    Figure("6.2", "\nham:", "4825"),
    Figure("6.2", "\nham: 4825, spam:", "747"),
    Figure("6.2", "balanced:", "1494 747 747"),
    Figure("6.2", "ids of the labels: {'ham':", "0 1"),
    Figure("6.2", "training", "1045"),
    Figure("6.2", "training 1045, validation", "149 300"),
    Figure("6.3", "<|endoftext|>:", "50256"),
    Figure("6.3", "longest training message:", "120"),
    Figure("6.3", "classes of the first batch:", "0 0 1 0 0 0 1 0", TORCH),
    Figure("6.3", "last batch: inputs", "8 120 8"),
    Figure("6.3", "batches:", "130 19 38"),
    Figure("6.5", "in GPT-2's vocabulary:", "5211 345 423 640"),
]
APPENDIX_E = [
    Figure("E.1", "shape of A B:", "768 768"),
    Figure("E.4", "the book's model, trainable parameters:", "124441346"),
    Figure("E.4", "frozen:", "0"),
    Figure("E.4", "with LoRA of rank 16:", "2666528"),
    Figure("E.4", "with LoRA of rank 8:", "1333264"),
]
APPENDIX_E_ON_THE_MESSAGES = [
    Figure("E.2", "last batch: inputs", "8 120 8"),
    Figure("E.2", "batches:", "130 19 38"),
]
FIGURES = {"ch06_classification": CHAPTER_6, "appendix_e_lora": APPENDIX_E}
ON_THE_MESSAGES = {"ch06_classification": CHAPTER_6_ON_THE_MESSAGES, "appendix_e_lora": APPENDIX_E_ON_THE_MESSAGES}
TITLES = {
    "ch06_classification": [
        "6.1 Different categories of finetuning",
        "6.2 Preparing the dataset",
        "6.3 Creating data loaders",
        "6.4 Initializing a model with pretrained weights",
        "6.5 Adding a classification head",
        "6.6 Calculating the classification loss and accuracy",
        "6.7 Finetuning the model on supervised data",
        "6.8 Using the LLM as a spam classifier",
        "The same with the package's Classifier",
        "Beside it: logistic regression on bags of words",
    ],
    "appendix_e_lora": [
        "E.1 Introduction to LoRA",
        "E.2 Preparing the dataset",
        "E.3 Initializing the model",
        "E.4 Parameter-efficient finetuning with LoRA",
    ],
}
ROWS = [  # as the book shows them
    "0 ham: Go until jurong point, crazy.. Available only",
    "1 ham: Ok lar... Joking wif u oni...",
    "2 spam: Free entry in 2 a wkly comp to win FA Cup fina",
    "3 ham: U dun say so early hor... U c already then say",
    "4 ham: Nah I don't think he goes to usf, he lives aro",
    "5567 spam: This is the 2nd time we have tried 2 contact u",
    "5568 ham: Will ü b going to esplanade fr home?",
    "5569 ham: Pity, * was in mood for that. So...any other s",
    "5570 ham: The guy did some bitching but I acted like i'd",
    "5571 ham: Rofl. Its true to its name",
]
both_demos = pytest.mark.parametrize("demo", FIGURES)


def percentages(text: str, label: str) -> list[float]:
    """The percentages on the line that begins with the label."""
    line = next(line for line in text.splitlines() if line.startswith(label))
    return [float(number) for number in re.findall(r"(\d+\.\d+)%", line)]


@pytest.mark.slow
@both_demos
def test_prints_the_figures_of_the_book_that_need_no_text(demo: str, printed) -> None:
    for figure in FIGURES[demo]:
        check(printed(demo), figure)


@pytest.mark.slow
@both_demos
def test_prints_the_figures_of_the_book_from_the_messages(demo: str, data_folder: Path, printed) -> None:
    for figure in ON_THE_MESSAGES[demo]:
        check(printed(demo), figure)
    assert "NOTE" not in printed(demo)


@pytest.mark.slow
def test_shows_the_rows_of_the_book(data_folder: Path, printed) -> None:
    lines = section(printed("ch06_classification"), "6.2").splitlines()
    assert [line.rstrip() for line in lines if re.match(r"\d+ (ham|spam): ", line)] == ROWS


@pytest.mark.slow
@both_demos
def test_follows_the_sections_of_the_book(demo: str, printed) -> None:
    assert BANNER.findall(printed(demo)) == TITLES[demo]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("demo", "comparisons", "equalities"),
    [
        ("ch06_classification", 2, 7),
        ("appendix_e_lora", 3, 7),
    ],
)
def test_the_written_out_steps_and_the_package_agree(
    demo: str, comparisons: int, equalities: int, data_folder: Path, printed
) -> None:
    differences = [float(number) for number in re.findall(r"largest difference (\S+)", printed(demo))]
    assert len(differences) == comparisons
    assert max(differences) < 1e-5
    same = re.findall(r"\bsame\b.*: (True|False)$", printed(demo), re.MULTILINE)
    assert same == ["True"] * equalities


@pytest.mark.slow
def test_a_small_model_learns_to_tell_spam(data_folder: Path, printed) -> None:
    output = printed("ch06_classification")
    (untrained,) = percentages(section(output, "6.6"), "untrained, test accuracy")
    (trained,) = percentages(section(output, "6.7"), "trained, test accuracy")
    assert untrained < 75 < 85 < trained
    shares = {name: percentages(output, f"exercise {name}")[0] for name in ("6.1", "6.2", "6.3")}
    assert shares["6.3"] < min(trained, shares["6.1"], shares["6.2"])
    assert shares["6.2"] > trained
    for method, least in (("last token", 94), ("mean, not causal", 94), ("bags of words", 94)):
        splits = percentages(output, f"{method}, five splits")
        mean, half = percentages(output, f"{method}, mean")
        assert len(splits) == 5
        assert mean == pytest.approx(sum(splits) / 5, abs=0.02)
        assert least < mean < 100
        assert 0 < half < 4


@pytest.mark.slow
def test_lora_learns_while_the_base_stays(data_folder: Path, printed) -> None:
    output = section(printed("appendix_e_lora"), "E.4")
    before = percentages(section(printed("appendix_e_lora"), "E.3"), "untrained, accuracy")
    assert percentages(output, "untrained, accuracy with LoRA") == before
    assert "largest gradient of any A: 0.0, of any B above 0: True" in output
    losses = [float(loss) for loss in re.findall(r"^step \d+: training loss ([\d.]+)$", output, re.MULTILINE)]
    assert losses[-1] < 0.7 * losses[0]
    assert percentages(output, "trained, test accuracy")[0] > max(80, before[2] + 15)


@pytest.mark.slow
@both_demos
def test_says_so_where_no_text_is_at_hand_and_stays_small(demo: str, empty_cache: dict[str, str]) -> None:
    output = run(demo, "--full", **{**empty_cache, "TINYGRAD_LLM_DATA": ""})
    assert re.search(r"^NOTE: the text '[a-z0-9-]+' is not at hand .*corpora\.download", output, re.MULTILINE)
    assert "not the book's" in output
    assert "NOTE: --full needs the messages" in output
    assert BANNER.findall(output) == TITLES[demo]
    for figure in FIGURES[demo]:
        check(output, figure)
    for of_the_messages in ("messages: 5572", "spam: 747", "balanced: 1494", "training 1045", "batches: 130, 19, 38"):
        assert of_the_messages not in output
    assert re.findall(r"\bsame\b.*: False$", output, re.MULTILINE) == []
