"""The demos of the book's chapters print the book's own figures, text by text and section by section.

Each demo runs once, as a reader would run it, with warnings as errors. `figures/` has one file of figures per demo.
Figures that need GPT-2's weights cannot come out here. Losses and accuracies of the small models are the demos' own:
the tests named after a demo check what must hold of them on any machine.
"""

import re
from collections.abc import Callable, Iterable

import pytest
from _pytest.mark import ParameterSet
from demo_figures import BANNER, FIGURES, Figure, check

Printed = Callable[[str], str]


def demos(names: Iterable[str]) -> list[str | ParameterSet]:
    return [pytest.param(name, marks=pytest.mark.slow) if FIGURES[name].slow else name for name in names]


@pytest.mark.parametrize("demo", demos(name for name, of in FIGURES.items() if of.figures))
def test_prints_the_figures_that_need_no_text(demo: str, printed: Printed) -> None:
    for figure in FIGURES[demo].figures:
        check(printed(demo), figure)


@pytest.mark.usefixtures("data_folder")
@pytest.mark.parametrize("demo", demos(name for name, of in FIGURES.items() if of.figures_of_the_texts))
def test_prints_the_figures_of_the_book_s_texts(demo: str, printed: Printed) -> None:
    for figure in FIGURES[demo].figures_of_the_texts:
        check(printed(demo), figure)
    assert "NOTE" not in printed(demo)


@pytest.mark.usefixtures("data_folder")
@pytest.mark.parametrize("demo", demos(name for name, of in FIGURES.items() if of.lines_of_the_texts))
def test_prints_the_lines_of_the_book(demo: str, printed: Printed) -> None:
    for line in FIGURES[demo].lines_of_the_texts:
        assert line in printed(demo)
    assert "NOTE" not in printed(demo)


@pytest.mark.parametrize("demo", demos(name for name, of in FIGURES.items() if of.titles))
def test_follows_the_sections_of_the_book(demo: str, printed: Printed) -> None:
    assert BANNER.findall(printed(demo)) == FIGURES[demo].titles


@pytest.mark.parametrize("demo", demos(name for name, of in FIGURES.items() if of.comparisons))
def test_the_written_out_steps_and_the_package_agree(
    demo: str, printed: Printed, request: pytest.FixtureRequest
) -> None:
    if FIGURES[demo].agreement_needs_texts:
        request.getfixturevalue("data_folder")
    differences = [float(number) for number in re.findall(r"largest difference (\S+)", printed(demo))]
    assert len(differences) == FIGURES[demo].comparisons
    assert max(differences) < 1e-5
    same = re.findall(r"\bsame\b.*: (True|False)$", printed(demo), re.MULTILINE)
    assert same == ["True"] * FIGURES[demo].equalities


@pytest.mark.parametrize("demo", demos(name for name, of in FIGURES.items() if of.without_texts))
def test_says_so_where_no_text_is_at_hand(demo: str, printed_without_texts: Callable) -> None:
    output, _ = printed_without_texts(demo)
    assert re.search(r"^NOTE: the text '[a-z0-9-]+' was not found .*corpora\.download", output, re.MULTILINE)
    assert BANNER.findall(output) == FIGURES[demo].titles
    for figure in FIGURES[demo].figures:
        check(output, figure)
    for words in FIGURES[demo].without_texts["says"]:
        assert words in output
    for words in FIGURES[demo].without_texts["never_says"]:
        assert words not in output
    assert re.findall(r"\bsame\b.*: False$", output, re.MULTILINE) == []


def test_a_wrong_figure_fails() -> None:
    output = "== 9.1 A title ==\nloss: 0.0852, ids [1, 56, 7, 7, 7]\n== 9.2 Another ==\nloss: 0.5\n"
    check(output, Figure("9.1", "loss:", "0.0852 1 56 7*3"))
    check(output, Figure("9.1", "loss:", "0.0853"))
    for wrong in (
        Figure("9.1", "loss:", "0.0854"),
        Figure("9.1", "ids", "1 57"),
        Figure("9.1", "ids", "1 56 7*4"),
        Figure("9.1", "absent", "1"),
        Figure("9.3", "loss:", "0.5"),
    ):
        with pytest.raises(AssertionError):
            check(output, wrong)
