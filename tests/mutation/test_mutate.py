"""The mutation tester finds the mutants of a file, kills those that tests notice, and reports those that survive."""

from pathlib import Path

import pytest
from mutation import mutate

SOURCE = '''
"""A docstring with 1 + 1."""
def area(width: int = 1, *, height=2):
    if width < 0 or not height:
        raise ValueError(f"must not be {width - 1}")
    rows = [width, height][1:]
    return width * rows[0] if rows else area(width, height=-height)
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tinygrad_llm" / "shapes" / "area.py"
    path.parent.mkdir(parents=True)
    path.write_text(SOURCE)
    return path


def test_mutants_of_a_file(file: Path, tmp_path: Path) -> None:
    mutants = list(mutate.mutants_of(file, tmp_path))
    changes = {(mutant.before, mutant.after) for mutant in mutants}
    assert ("width < 0", "(width <= 0)") in changes and ("not height", "(height)") in changes
    assert ("width < 0 or not height", "(not height)") in changes
    assert ("width * rows[0]", "(width / rows[0])") in changes and ("-height", "(height)") in changes
    assert ("area(width, height=-height)", "(area(width))") in changes
    assert sum(before == "1" for before, _ in changes) == 1  # the default and the slice; no docstring, no message
    assert [mutant.line for mutant in mutants if mutant.before == "1"] == [3, 6]
    assert {mutant.code for mutant in mutants if mutant.before == "not height"} == {"if width < 0 or not height:"}
    for mutant in mutants:
        compile(mutant.source, "mutant", "exec")
        assert mutant.source != SOURCE


def test_no_mutant_is_made_where_the_kind_of_expression_computes_the_same(tmp_path: Path) -> None:
    path = tmp_path / "blocks.py"
    path.write_text(
        "BLOCK = 1 << 16\n\ndef f(x):\n    exp(x, out=empty(7))\n"
        "    while len(x) < BLOCK:\n        zip(x.reshape(-1), x, strict=True)\n"
    )
    changes = {(mutant.before, mutant.after) for mutant in mutate.mutants_of(path, tmp_path)}
    assert changes == {("7", "(8)"), ("-1", "(1)")}


def test_tests_of_a_file() -> None:
    assert mutate.tests_of("tinygrad_llm/ops/linear.py") == [
        ["tests/ops/test_linear.py", "tinygrad_llm/ops/linear.py"],
        ["tests/ops", "tests/test_special_values.py"],
    ]
    own, others = mutate.tests_of("tinygrad_llm/graph.py")
    assert own[0] == "tests/test_graph.py" and "tests/primitives" in others and own[0] not in others


@pytest.mark.slow
def test_a_mutant_that_a_test_notices_is_killed_and_another_survives(file: Path, tmp_path: Path) -> None:
    tests = tmp_path / "tests" / "shapes"
    tests.mkdir(parents=True)
    (tests / "test_area.py").write_text(
        "from tinygrad_llm.shapes.area import area\n\ndef test_area():\n    assert area(3, height=2) == 6\n"
    )
    mutants = list(mutate.mutants_of(file, tmp_path))
    noticed = next(mutant for mutant in mutants if mutant.before == "width * rows[0]")
    unnoticed = next(mutant for mutant in mutants if mutant.before == "width < 0")
    assert not mutate.survives(noticed, tmp_path)
    assert mutate.survives(unnoticed, tmp_path)
    assert file.read_text() == SOURCE


def test_a_sample_is_the_same_for_the_same_seed() -> None:
    first, total = mutate.sample(20, 3, ["ops", "graph.py"])
    assert first == mutate.sample(20, 3, ["ops", "graph.py"])[0] and total > 200
    assert first != mutate.sample(20, 4, ["ops", "graph.py"])[0]


def test_explained_survivors_have_reasons_and_are_left_out() -> None:
    explained = mutate.explained()
    assert all(len(reason.split()) >= 4 for reason in explained.values())
    assert len(mutate.stale()) < len(explained)
    assert not explained.keys() & {mutant.key for mutant in mutate.sample(10**9, 0, list(mutate.TARGETS))[0]}
