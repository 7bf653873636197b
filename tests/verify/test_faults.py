"""Each fault is found by the check that is meant for it, which correct code passes, and is undone after its block."""

import pytest

from tinygrad_llm.verify.checks import CHECKS, run_check
from tinygrad_llm.verify.faults import FAULTS


@pytest.mark.parametrize("name", FAULTS)
def test_the_check_of_a_fault_fails_with_it_and_passes_without(name: str) -> None:
    fault = FAULTS[name]
    with fault.on():
        assert not run_check(fault.caught_by).ok
    assert run_check(fault.caught_by).ok


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_undone_after_an_error_too(name: str) -> None:
    fault = FAULTS[name]
    before = [(owner, attribute, vars(owner)[attribute]) for owner, attribute, _ in fault.patches]
    assert bool(before) != bool(fault.ops)  # an op is intercepted, only what is no op is patched
    with pytest.raises(ZeroDivisionError), fault.on():
        assert all(vars(owner)[attribute] is not value for owner, attribute, value in before)
        raise ZeroDivisionError
    assert all(vars(owner)[attribute] is value for owner, attribute, value in before)


def test_every_fault_has_its_check_and_three_hints() -> None:
    assert len(FAULTS) >= 15
    assert {fault.caught_by for fault in FAULTS.values()} <= set(CHECKS)
    assert all(len(fault.hints) == 3 for fault in FAULTS.values())
