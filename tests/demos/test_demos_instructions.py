"""The demos of chapter 7 and of DPO print the book's own figures, and their small models learn what is claimed.

Figures are what the book or its public repository prints. Accuracies, losses and margins of the small models are the
demos' own: of them, only what they show is tested.
"""

import re
from pathlib import Path

import pytest
from demo_figures import BANNER, Figure, check, run, section

CHAPTER_7_WIDTHS = """
61 76 73 68 65 72 80 67 62 75 62 68 67 77 69 79 71 66 83 68 80 71 69 65 68 60 59 69 63 65 76 66 71 91 65 64 67 66 64 65
75 89 59 88 83 83 70 65 74 76 67 75 83 69 67 60 60 66 80 71 61 58 71 67 68 63 87 68 64 68 71 68 71 61 65 67 65 64 60 72
64 70 57 72 64 68 62 74 80 68 70 91 61 66 80 81 74 82 63 83 68 67 77 91 64 61 75 64 66 78 66 64 83 66 74 69
"""
CHAPTER_7_ROW = """
318 281 12064 326 8477 257 4876 13 19430 257 2882 326 20431 32543 262 2581 13 198 198 21017 46486 25 198 30003 6525 262
6827 1262 257 985 576 13 198 198 21017 23412 25 198 464 5156 318 845 13779 13 198 198 21017 18261 25 198 464 5156 318
355 13779 355 257 4936 13 50256
"""
EXERCISE_7_2_QUESTION = """
21106 318 281 12064 326 8477 257 4876 13 19430 257 2882 326 20431 32543 262 2581 13 198 198 21017 46486 25 198 42758 262
1708 1351 287 24830 605 1502 13 198 198 21017 23412 25 198 57 37052 11 42651 11 9325 19815 576
"""
EXERCISE_7_2_ANSWER = "198 198 21017 18261 25 198 34 12204 375 576 11 42651 11 1168 37052 50256"
DPO_WIDTHS = """
77 81 94 75 75 76 99 71 67 88 65 79 80 97 71 89 75 69 84 79 101 87 73 69 80 68 73 71 91 78 78 71 84 92 71 66 73 73 78 66
76 100 77 92 93 115 81 95 81 94 70 89 90 70 85 65 76 72 84 84 65 63 74 79 93 71 99 81 77 74 75 73 87 80 75 81 86 71 63
82 68 76 68 97 72 85 67 85 87 76 74 92 85 72 93 82 76 93 80 87 69 90 99 104 101 98 79 71 76 79 79 67 84 78 85 70
"""
DPO_QUESTION = """
21106 318 281 12064 326 8477 257 4876 13 19430 257 2882 326 20431 32543 262 2581 13 198 198 21017 46486 25 198 36 2100
4985 262 1708 9546 416 25449 340 656 262 24993 1813 13 198 198 21017 23412 25 198 19503 521 14610 1545
"""
DPO_ANSWER = """
198 198 21017 18261 25 198 464 24993 286 262 1813 9546 366 19503 521 1 318 11491 11 262 3376 24993 318 366 6726 1911
"""


def times(number: int, count: int) -> str:
    return " ".join([str(number)] * count)


CHAPTER_7 = [
    Figure("7.3", "stage 1, inputs:", f"0 1 2 3 4 5 6 {times(50256, 3)} 7 8 9 {times(50256, 2)}"),
    Figure("7.3", "stage 2, targets:", f"1 2 3 4 50256 6 {times(50256, 4)} 8 9 {times(50256, 3)}"),
    Figure("7.3", "stage 3, inputs:", f"0 1 2 3 4 5 6 {times(50256, 3)} 7 8 9 {times(50256, 2)}"),
    Figure("7.3", "stage 3, targets:", f"1 2 3 4 50256 6 50256 {times(-100, 3)} 8 9 50256 {times(-100, 2)}"),
    Figure("7.3", "two examples:", "1.1269"),
    Figure("7.3", "three examples:", "0.7936"),
    Figure("7.3", "the third one ignored:", "1.1269"),
]
CHAPTER_7_FROM_ITS_RECORDS = [
    Figure("7.2", "number of entries:", "1100"),
    Figure("7.2", "training", "935 55 110"),
    Figure("7.3", "<|endoftext|>:", "50256"),
    Figure("7.3", "exercise 7.2, shape", "3 64"),
    Figure("7.3", "inputs of the second sample:", f"{EXERCISE_7_2_QUESTION} {EXERCISE_7_2_ANSWER} 50256"),
    Figure("7.3", "its targets:", f"{times(-100, 46)} {EXERCISE_7_2_ANSWER} {times(-100, 2)}"),
    Figure("7.4", "batches of 8, their widths:", CHAPTER_7_WIDTHS),
    Figure("7.4", "first row of the last batch, inputs:", f"21106 {CHAPTER_7_ROW} {times(50256, 8)}"),
    Figure("7.4", "first row of the last batch, targets:", f"{CHAPTER_7_ROW} {times(-100, 9)}"),
]
PREFERENCES = [
    Figure("4)", "picked by hand:", "1.4185"),
    Figure("4)", "F.cross_entropy:", "1.4185"),
    Figure("4)", "picked from a table:", "2 2 3 4"),
    Figure("4)", "before training: loss", "0.693147"),
    Figure("4)", "rewards", "0.0000"),
    Figure("5)", "before training, validation: loss", "0.693147"),
    Figure("5)", "reward margin", "0.000"),
]
PREFERENCES_FROM_ITS_PAIRS = [
    Figure("2.1)", "number of entries:", "1100"),
    Figure("2.2)", "training", "935 55 110"),
    Figure("2.3)", "chosen:\n", f"{DPO_QUESTION} {DPO_ANSWER} {times(50256, 7)}"),
    Figure("2.3)", "chosen inputs:", "81"),
    Figure("2.3)", "chosen mask:", "81"),
    Figure("2.3)", "mask of the first:", f"{times(0, 50)} {times(1, 24)} {times(0, 7)}"),
    Figure("2.4)", "batches of 8, their widths:", DPO_WIDTHS),
]
FIGURES = {"ch07_instructions": CHAPTER_7, "dpo": PREFERENCES}
FROM_THE_BOOKS_RECORDS = {"ch07_instructions": CHAPTER_7_FROM_ITS_RECORDS, "dpo": PREFERENCES_FROM_ITS_PAIRS}
TEXT = {
    "ch07_instructions": [
        "{'instruction': 'Identify the correct spelling of the following word.', 'input': 'Ocassion', "
        "'output': \"The correct spelling is 'Occasion.'\"}",
        "{'instruction': \"What is an antonym of 'complicated'?\", 'input': '', "
        "'output': \"An antonym of 'complicated' is 'simple'.\"}",
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nIdentify the correct spelling of the following word.\n\n### Input:\nOcassion\n\n"
        "### Response:\nThe correct spelling is 'Occasion.'\n",
        "### Instruction:\nWhat is an antonym of 'complicated'?\n\n### Response:\n"
        "An antonym of 'complicated' is 'simple'.\n",
        "the first and the last loss are the same: True",
        r"'\n\n### Response:\nCrocodile, Elephant, Zebra<|endoftext|>'",
        "<|user|>\nIdentify the correct spelling of the following word.\nOcassion\n",
        "<|user|>\nWhat is an antonym of 'complicated'?\n",
        "### Instruction:\nConvert the active sentence to passive: 'The chef cooks the meal every day.'\n",
    ],
    "dpo": [
        "'rejected': \"The correct spelling is obviously 'Occasion.'\"",
        "'chosen': \"A suitable antonym for 'complicated' would be 'simple'.\"",
        "### Response:\nThe correct spelling is obviously 'Occasion.'\n",
        '### Response:\nThe spelling of the given phrase "freind" is incorrect, the correct spelling is "friend".\n',
        '### Response:\nThe spelling of the given phrase "freind" is flat out wrong, get it together, the correct '
        'spelling is "friend".\n',
    ],
}
TITLES = {
    "ch07_instructions": [
        "7.1 Introduction to instruction finetuning",
        "7.2 Preparing a dataset for supervised instruction finetuning",
        "7.3 Organizing data into training batches",
        "7.4 Creating data loaders for an instruction dataset",
        "7.5 Loading a pretrained LLM",
        "7.6 Finetuning the LLM on instruction data",
        "7.7 Extracting and saving responses",
        "7.8 Evaluating the finetuned LLM",
    ],
    "dpo": [
        "1) A brief introduction to DPO",
        "2) Preparing a preference dataset for DPO",
        "2.1) Loading a preference dataset",
        "2.2) Creating training, validation, and test splits",
        "2.3) Developing a `PreferenceDataset` class and batch processing function",
        "2.4) Creating training, validation, and test set data loaders",
        "3) Loading a finetuned LLM for DPO alignment",
        "4) Coding the DPO Loss Function",
        "5) Training the model",
    ],
}
both_demos = pytest.mark.parametrize("demo", FIGURES)
slow = pytest.mark.slow  # for whatever runs a demo: training its small model takes most of a minute


@both_demos
@slow
def test_prints_the_figures_of_the_book_that_need_no_records(demo: str, printed) -> None:
    for figure in FIGURES[demo]:
        check(printed(demo), figure)


@both_demos
@slow
def test_prints_the_figures_and_the_text_of_the_book_from_its_records(demo: str, data_folder: Path, printed) -> None:
    for figure in FROM_THE_BOOKS_RECORDS[demo]:
        check(printed(demo), figure)
    for text in TEXT[demo]:
        assert text in printed(demo)
    assert "NOTE" not in printed(demo)


@both_demos
@slow
def test_follows_the_sections_of_the_book(demo: str, printed) -> None:
    assert BANNER.findall(printed(demo)) == TITLES[demo]


@pytest.mark.parametrize(
    ("demo", "comparisons", "equalities"),
    [
        ("ch07_instructions", 1, 10),
        ("dpo", 2, 2),
    ],
)
@slow
def test_the_written_out_steps_and_the_package_agree(demo: str, comparisons: int, equalities: int, printed) -> None:
    differences = [float(number) for number in re.findall(r"largest difference (\S+)", printed(demo))]
    assert len(differences) == comparisons
    assert max(differences) < 1e-5
    same = re.findall(r"\bsame\b.*: (True|False)$", printed(demo), re.MULTILINE)
    assert same == ["True"] * equalities


@slow
def test_says_that_what_needs_the_weights_of_gpt2_is_out_of_reach(printed) -> None:
    assert "GPT-2's weights are out of reach" in section(printed("ch07_instructions"), "7.5")
    assert "GPT-2's weights are out of reach" in section(printed("dpo"), "3)")


@slow
def test_the_small_model_learns_to_follow_wordings_that_it_never_saw(printed) -> None:
    marks = re.findall(
        r"^  (\w+): before ([\d.]+)%, after ([\d.]+)%$", section(printed("ch07_instructions"), "7.8"), re.MULTILINE
    )
    before, after = ({kind: float(row[place]) for kind, *row in marks} for place in (0, 1))
    assert len(marks) == 6
    assert max(before.values()) <= 5
    assert after["all"] >= 50
    assert after["longest_word"] >= 70
    assert after["extract_number"] >= 70


@slow
def test_the_margins_widen_on_pairs_that_are_not_trained_on(printed) -> None:
    output = section(printed("dpo"), "5)")
    for part in ("validation", "test"):
        found = re.findall(rf"{part}: loss ([\d.]+), reward margin (-?[\d.]+) ", output)
        losses, margins = ([float(number) for number in column] for column in zip(*found, strict=True))
        assert len(found) == 5
        assert margins[0] == 0 < margins[1] < margins[-1]
        assert losses[-1] < losses[1] < losses[0] < 0.69315
    ahead = re.findall(r"test: .* in ([\d.]+)% of 110 pairs", output)
    assert float(ahead[-1]) > 60


@both_demos
@slow
def test_says_so_where_no_records_are_at_hand(demo: str, empty_cache: dict[str, str]) -> None:
    output = run(demo, **{**empty_cache, "TINYGRAD_LLM_DATA": ""})
    assert re.search(r"^NOTE: the text '[a-z0-9-]+' is not at hand .*corpora\.download", output, re.MULTILINE)
    assert "not the book's" in output
    assert BANNER.findall(output) == TITLES[demo]
    for figure in FIGURES[demo]:
        check(output, figure)
    for of_the_book in ("Ocassion", "21106", "12064", "[61, 76, 73", "[77, 81, 94"):
        assert of_the_book not in output
