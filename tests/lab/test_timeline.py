"""A training that goes back: the same bits, whatever was looked at and wherever it was rewound."""

import itertools
from typing import Any

import numpy as np
import pytest
from tiny_lab import PROMPT, Asking, asking, tiny_beginning

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.edits import RateEdit, WeightEdit, edits_of
from tinygrad_llm.lab.snapshots import Ring
from tinygrad_llm.lab.timeline import Branch, Timeline
from tinygrad_llm.lab.watching import layers_of
from tinygrad_llm.train import Trainer
from tinygrad_llm.verify.faults import FAULTS

NAME = "blocks.0.attention.query.weight"


def state_of(trainer: Trainer) -> dict[str, Any]:
    moments = trainer.optimizer.state_dict()["state"]
    return {
        **{name: np.array(x) for name, x in trainer.model.state_dict().items()},
        **{f"{at} {key}": np.array(x) for at, entry in moments.items() for key, x in entry.items()},
        "position": str(trainer.state() | {"val_loss": None}),
    }


def expect_equal(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    assert [name for name, x in expected.items() if not np.array_equal(found[name], x)] == []


def undisturbed(steps: int) -> dict[str, Any]:
    trainer = tiny_beginning().start()
    trainer.train(steps)
    return state_of(trainer)


def disturb(ask: Asking) -> None:
    """Everything that a page may do to a training that should be as if nothing had been."""
    ask.step(count=13)
    ask.look(prompt=PROMPT, off=["0.1", "1.0"])
    ask.backward(prompt=PROMPT)
    ask.measure(prompt=PROMPT, index=4, name="weight", element=[1, 2])
    ask.goto(at="main@4")
    ask.weight(name=NAME, index=[1, 2], steps=3)
    ask.step(count=3)
    ask.rate(rate=0.5, name="wild")
    ask.step(count=2)
    ask.set_weight(name=NAME, index=[0, 0], value=3.0)
    ask.twin(fault="mask-forgotten")
    ask.look(prompt=PROMPT, at="main@11")
    ask.array(name=NAME, at="main@12")
    ask.batch(at="main@2")
    ask.ablate(prompt=PROMPT)
    ask.sample_every(steps=2)
    ask.goto(at="main@9")
    ask.goto(at="main@17")


def test_paused_rewound_and_replayed_equals_undisturbed_to_the_bit() -> None:
    with asking() as ask:
        disturb(ask)
        found = ask.session.ask(lambda: state_of(ask.session.training().trainer))
        records = ask.session.training().branches["main"].records
    expect_equal(found, undisturbed(17))
    assert [record["step"] for record in records] == list(range(1, 18))


def test_a_moment_elsewhere_has_the_same_bits() -> None:
    timeline = Timeline(tiny_beginning().start)
    timeline.train_to(23)
    for step in (0, 7, 10, 22, 3):
        found = state_of(timeline.moment(timeline.branch, step).trainer)
        expect_equal(found, undisturbed(step))
    assert timeline.step == 23
    expect_equal(state_of(timeline.trainer), undisturbed(23))


def test_a_branch_is_its_edits() -> None:
    """The text of the edits brings the branch back, in another timeline too."""
    first = Timeline(tiny_beginning().start)
    first.train_to(5)
    first.edit(RateEdit(5, 0.01), "fast")
    first.train_to(8)
    first.edit(WeightEdit(8, NAME, (1, 2), 0.75), "fast-and-edited")
    assert first.trainer.model.state_dict()[NAME][1, 2] == np.float32(0.75)
    first.train_to(14)
    other = Timeline(tiny_beginning().start)
    edits = edits_of("5:rate=0.01;8:weight=blocks.0.attention.query.weight[1,2]=0.75")
    branch = other.add_branch("again", edits)
    other.rewind(branch, 14)
    other.train_to(14)
    expect_equal(state_of(other.trainer), state_of(first.trainer))
    other.rewind(branch, 6)
    other.train_to(14)
    expect_equal(state_of(other.trainer), state_of(first.trainer))
    other.rewind(other.branches["main"], 14)
    other.train_to(14)
    expect_equal(state_of(other.trainer), undisturbed(14))


@pytest.mark.parametrize("fault", ["gradients-not-zeroed", "bias-correction-forgotten", "tying-by-copy"])
def test_a_training_with_a_fault_is_replayed_too(fault: str) -> None:
    timeline = Timeline(tiny_beginning().start, FAULTS[fault])
    timeline.train_to(10)
    timeline.keep_snapshot()
    timeline.train_to(16)
    expected = state_of(timeline.trainer)
    timeline.rewind(timeline.branch, 12)
    assert timeline.step == 10
    timeline.train_to(16)
    expect_equal(state_of(timeline.trainer), expected)


def test_a_branch_shares_the_steps_before_its_first_edit() -> None:
    with asking() as ask:
        ask.step(count=6)
        ask.goto(at="main@4")
        ask.rate(rate=0.0, name="still")
        status = ask.step(count=1)
        assert status["at"] == "still@5"
        main, still = ask.history(branch="main"), ask.history(branch="still")
    assert np.array_equal(main["trainLoss"][:4], still["trainLoss"][:4])
    assert still["learningRate"][4] == 0.0 != main["learningRate"][4]
    assert still["updates"][4].max() == 0.0 < main["updates"][4].min()


def test_a_rewind_that_no_snapshot_allows_says_why() -> None:
    timeline = Timeline(tiny_beginning().start, ring=Ring(budget=100))
    timeline.train_to(3)
    with pytest.raises(ConfigError, match=r"one takes \d.*all together may take 100"):
        timeline.rewind(timeline.branch, 1)
    with pytest.raises(ConfigError, match="steps begin at 0; got -1"):
        timeline.rewind(timeline.branch, -1)


def test_a_branch_name_belongs_to_its_edits() -> None:
    timeline = Timeline(tiny_beginning().start)
    timeline.edit(RateEdit(0, 0.1), "one")
    assert timeline.add_branch("one", (RateEdit(0, 0.1),)).name == "one"
    with pytest.raises(ConfigError, match="a branch one exists already"):
        timeline.add_branch("one", (RateEdit(0, 0.2),))
    with pytest.raises(ConfigError, match="must name a parameter"):
        timeline.edit(WeightEdit(0, "nothing", (0,), 1.0), "two")
    assert "two" not in timeline.branches


def test_the_last_weight_of_the_trace_is_the_weight() -> None:
    timeline = Timeline(tiny_beginning().start)
    timeline.train_to(12)
    rows = timeline.follow_weight(Branch("main"), 12, NAME, (1, 2), 5)
    state = timeline.optimizer.state[dict(timeline.trainer.model.named_parameters())[NAME]]
    assert rows[-1]["value"] == timeline.trainer.model.state_dict()[NAME][1, 2]
    assert (rows[-1]["m"], rows[-1]["v"]) == (state["exp_avg"][1, 2], state["exp_avg_sq"][1, 2])
    beta1 = timeline.optimizer.param_groups[0]["betas"][0]
    for before, row in itertools.pairwise(rows):
        assert row["m"] == pytest.approx(beta1 * before["m"] + (1 - beta1) * row["gradient"], rel=1e-5, abs=1e-12)
        assert row["value"] == pytest.approx(before["value"] + row["update"], rel=1e-6)


def test_layers_hold_each_parameter_once() -> None:
    model = tiny_beginning().model
    layers = layers_of(model)
    assert sorted(name for names in layers.values() for name in names) == sorted(
        name for name, _ in model.named_parameters()
    )
    assert {"token_embedding", "blocks.1.attention", "final_norm"} <= layers.keys()
