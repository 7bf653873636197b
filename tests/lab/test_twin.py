"""The second training, with one fault."""

import pytest
from tiny_lab import tiny_beginning

from tinygrad_llm.lab.timeline import Timeline
from tinygrad_llm.lab.twin import Twin
from tinygrad_llm.verify.faults import FAULTS


@pytest.fixture(scope="module")
def main() -> Timeline:
    timeline = Timeline(tiny_beginning().start)
    timeline.train_to(3)
    return timeline


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_trains_on(name: str, main: Timeline) -> None:
    """A mistake that crashes at once would teach nobody."""
    twin = Twin(tiny_beginning().start, FAULTS[name])
    while twin.follow(main, steps=2):
        assert twin.ended == ""
    assert twin.describe() == {"fault": name, "hidden": False, "step": 3, "ended": ""}


def test_a_fault_that_crashes_ends_the_twin_alone(main: Timeline, monkeypatch: pytest.MonkeyPatch) -> None:
    twin = Twin(tiny_beginning().start, FAULTS["mask-forgotten"], is_hidden=True)

    def crash(step: int) -> None:
        raise TypeError("takes 4 positional arguments but 5 were given")

    monkeypatch.setattr(twin.timeline, "train_to", crash)
    assert twin.follow(main, steps=1)
    assert twin.ended == "TypeError: takes 4 positional arguments but 5 were given"
    assert not twin.follow(main, steps=1)
    assert twin.describe()["fault"] is None
