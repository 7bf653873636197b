"""The environment that a checkpoint records, and the notice where it has changed."""

import pytest

from tinygrad_llm.runs import environment
from tinygrad_llm.runs.environment import arithmetic_environment, differences
from tinygrad_llm.train.parallel.blas_threads import VARIABLES


def test_the_same_environment_has_no_difference() -> None:
    assert differences(arithmetic_environment(2), 2) == []


def test_a_notice_names_what_has_changed() -> None:
    now = arithmetic_environment()
    saved = {**now, "numpy": "1.0", "threads": "default of 9 cores"}
    del saved["blas"], saved["number of processes"]  # one process, before their number was recorded
    assert differences(saved) == [
        f"the run is resumed with another {name} ({was} before, {now[key]} now), so it may differ in last bits"
        for name, was, key in (
            ("NumPy", "1.0", "numpy"),
            ("BLAS", "unknown", "blas"),
            ("number of BLAS threads", "default of 9 cores", "threads"),
        )
    ]


@pytest.mark.parametrize(("cores", "words"), [(1, "default of 1 core"), (3, "default of 3 cores")])
def test_threads_that_nobody_chose_are_those_of_the_cores(
    monkeypatch: pytest.MonkeyPatch, cores: int, words: str
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(environment, "available_cores", lambda: set(range(cores)))
    assert arithmetic_environment()["threads"] == words
