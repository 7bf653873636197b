"""Each fault is caught by the check that is meant for it, which a sound model passes; and nothing of it stays."""

import pytest

from tinygrad_llm.study.checks import CHECKS, run_check
from tinygrad_llm.study.faults import FAULTS


@pytest.mark.parametrize("name", CHECKS)
def test_sound_code_passes_every_check(name: str) -> None:
    finding = run_check(name)
    assert finding.well, finding.what


@pytest.mark.parametrize("name", FAULTS)
def test_its_check_fails_with_it_and_passes_without(name: str) -> None:
    fault = FAULTS[name]
    with fault.on():
        assert not run_check(fault.caught_by).well
    assert run_check(fault.caught_by).well


@pytest.mark.parametrize("name", FAULTS)
def test_everything_is_restored_also_after_an_error(name: str) -> None:
    fault = FAULTS[name]
    before = [(owner, attribute, vars(owner)[attribute]) for owner, attribute, _ in fault.replaces()]
    with pytest.raises(ZeroDivisionError), fault.on():
        assert all(vars(owner)[attribute] is not value for owner, attribute, value in before)
        raise ZeroDivisionError
    assert all(vars(owner)[attribute] is value for owner, attribute, value in before)


def test_the_catalogue() -> None:
    assert len(FAULTS) >= 15
    assert {fault.caught_by for fault in FAULTS.values()} <= set(CHECKS)
    assert all(len(fault.hints) == 3 for fault in FAULTS.values())
