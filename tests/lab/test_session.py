"""A session: playing, pausing, going back, failing and going on."""

import threading
from concurrent.futures import Future

import numpy as np
import pytest
from tiny_lab import PROMPT, asking, tiny_beginning

from tinygrad_llm.errors import AnomalyError, ConfigError
from tinygrad_llm.lab.beginnings import Beginning
from tinygrad_llm.lab.owner import Ended, Owner
from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.training_session import NotPossible
from tinygrad_llm.verify.faults import FAULTS


def wait_for(session: Session, step: int) -> None:
    with session.news:
        assert session.news.wait_for(lambda: session.published["step"] == step and not session.published["playing"], 60)


def test_playing_ends_where_it_was_asked_to() -> None:
    with asking() as ask:
        assert ask.play(until=12)["playing"]
        wait_for(ask.session, 12)
        assert ask.status()["at"] == "main@12"
        with pytest.raises(ConfigError, match="a step after 12"):
            ask.play(until=12)


def test_pausing_stops_between_two_steps() -> None:
    with asking() as ask:
        ask.play()
        ask.look(prompt=PROMPT)
        step = ask.pause()["step"]
        assert ask.status()["step"] == step
        assert not ask.status()["playing"]


def test_a_rate_without_sense_ends_in_a_sentence_and_the_lab_goes_on() -> None:
    with asking() as ask:
        ask.step(count=8)
        ask.rate(rate=1e30, name="far-too-high")
        status = ask.step(count=30)
        assert "must be finite" in status["problem"]
        stuck = status["step"]
        assert 8 <= stuck < 38
        assert not status["playing"]
        status = ask.goto(at="main@8")
        assert (status["at"], status["problem"]) == ("main@8", "")
        assert np.isfinite(ask.look(prompt=PROMPT)["loss"])
        assert ask.step(count=2)["at"] == "main@10"


def test_a_validation_loss_that_is_not_finite_ends_in_a_sentence_too() -> None:
    with asking() as ask:
        ask.step(count=7)
        evaluate, trainer = ask.session.main.trainer.evaluate, ask.session.main.trainer
        trainer.evaluate = lambda: float("nan") if trainer.step == 10 else evaluate()
        status = ask.step(count=6)
        assert "validation loss must be finite" in status["problem"]
        assert status["at"] == "main@9"
        trainer.evaluate = evaluate
        assert ask.step(count=6)["at"] == "main@15"


def test_a_sample_that_fails_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConfigError("no token has a probability")

    monkeypatch.setattr("tinygrad_llm.lab.training_session.generate", fail)
    with asking() as ask:
        ask.sample_every(steps=2)
        assert ask.step(count=3)["step"] == 3
        assert ask.history()["samples"] == [{"step": 2, "text": "(no sample: no token has a probability)"}]


def test_playing_ends_before_the_figures_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_llm.lab.training_session.MOST_STEPS", 6)
    with asking() as ask:
        ask.play()
        wait_for(ask.session, 6)
        assert "the figures of 6 steps" in ask.status()["problem"]
        assert ask.step(count=2)["step"] == 8


def test_another_twin_is_another_model() -> None:
    with asking() as ask:
        ask.step(count=2)
        losses = []
        for fault in ("mask-forgotten", "scale-forgotten"):
            ask.twin(fault=fault)
            losses.append(ask.backward(prompt=PROMPT, at="twin@2")["loss"])
        assert losses[0] != losses[1]


def test_a_twin_is_a_training_with_the_fault_to_the_bit() -> None:
    fault = FAULTS["scale-forgotten"]
    with fault.on():
        trainer = tiny_beginning().start()
        trainer.train(9)
        expected = {name: np.array(x) for name, x in trainer.model.state_dict().items()}
    with asking() as ask:
        ask.step(count=9)
        ask.twin(fault=fault.name)
        while ask.status()["twin"]["step"] < 9:
            threading.Event().wait(0.01)
        records = ask.history(branch="twin")
        main = ask.history(branch="main")
        found = ask.session.ask(lambda: ask.session.twin.timeline.trainer.model.state_dict())
        assert all(np.array_equal(found[name], x) for name, x in expected.items())
        assert records["steps"].tolist() == main["steps"].tolist()
        assert not np.array_equal(records["trainLoss"], main["trainLoss"])
        assert ask.look(prompt=PROMPT, at="twin@3")["at"] == "twin@3"
        assert ask.twin()["twin"] is None
        with pytest.raises(NotPossible, match="there is no twin"):
            ask.history(branch="twin")


def test_a_twin_that_cannot_go_on_says_why() -> None:
    with asking() as ask:
        ask.twin(fault="loss-summed")
        twin = ask.session.twin

        def fail(step: int) -> None:
            raise AnomalyError("step 1: loss and gradients must be finite; got loss nan. The weights are those ...")

        twin.timeline.train_to = fail
        ask.step(count=2)
        while not ask.status()["twin"]["ended"]:
            threading.Event().wait(0.01)
        assert ask.status()["twin"]["ended"] == "step 1: loss and gradients must be finite; got loss nan"
        assert ask.step(count=1)["step"] == 3


def test_a_model_without_training_is_shown_all_the_same() -> None:
    beginning = tiny_beginning()
    with asking(Beginning("a model", beginning.model, beginning.tokenizer)) as ask:
        status = ask.status()
        assert (status["canTrain"], status["at"], status["step"]) == (False, "live", None)
        assert ask.look(prompt=PROMPT)["at"] == "live"
        assert ask.array(name="final_norm.weight")["gradient"] is None
        for name, fields in (("play", {}), ("step", {}), ("history", {}), ("weight", {"name": "a", "index": [0]})):
            with pytest.raises(NotPossible, match="does not train it"):
                getattr(ask, name)(**fields)


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("nothing@3", "the branches are main"),
        ("main@x", "a step is a number"),
        ("main@-1", "a step is a number"),
        ("model:x", "the models to compare with are none"),
        ("main@9999", "steps from the nearest snapshot"),
        ("twin@1", "there is no twin"),
    ],
)
def test_places_that_there_are_not(at: str, message: str) -> None:
    with asking() as ask, pytest.raises((ConfigError, NotPossible), match=message):
        ask.look(prompt=PROMPT, at=at)


def test_other_models_are_opened_by_name_when_they_are_needed() -> None:
    beginning = tiny_beginning()
    opened = []

    def other() -> tuple[object, object]:
        opened.append(1)
        return tiny_beginning(num_layers=1).model, beginning.tokenizer

    with asking() as ask:
        ask.session.models["shallow"] = other
        assert [one["name"] for one in ask.status()["models"]] == ["shallow"]
        assert ask.look(prompt=PROMPT, at="model:shallow")["heads"]["counts"] == [2]
        assert ask.look(prompt=PROMPT, at="model:shallow")["at"] == "model:shallow"
        assert ask.look(prompt=PROMPT)["heads"]["counts"] == [2, 2]
    assert opened == [1]


def test_samples_come_at_their_steps_and_change_no_training() -> None:
    with asking() as ask:
        ask.sample_every(steps=4)
        ask.step(count=9)
        samples = ask.history()["samples"]
        assert [one["step"] for one in samples] == [4, 8]
        assert all(one["text"] for one in samples)
        with_samples = ask.history()["trainLoss"]
    with asking() as ask:
        ask.step(count=9)
        assert np.array_equal(ask.history()["trainLoss"], with_samples)


def test_the_batch_is_the_one_that_was_trained_on() -> None:
    with asking() as ask:
        ask.step(count=3)
        found = ask.batch()
        inputs, targets = ask.session.training().batch.batch
        assert np.array_equal(found["inputs"], inputs)
        assert np.array_equal(found["targets"], targets)
        first, second = ask.batch(at="main@0"), ask.batch(at="main@1")
        assert first["first"] and not second["first"]
        assert np.array_equal(first["inputs"], second["inputs"])
        assert second["losses"].mean() < first["losses"].mean()


def test_who_waits_for_a_step_is_told_of_the_end() -> None:
    failures: list[BaseException] = []
    with asking() as ask:

        def wait() -> None:
            try:
                while True:
                    ask.step(count=10_000)
            except Ended as error:
                failures.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        while ask.status()["step"] < 2:
            pass
    thread.join(60)
    assert len(failures) == 1


def test_who_asks_while_the_lab_ends_is_told_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """The owner's thread ends after the question has begun, and before it is in the queue."""
    owner = Owner()

    def ends() -> Future[None]:
        owner.end()
        owner.refuse_pending()
        return Future()

    monkeypatch.setattr("tinygrad_llm.lab.owner.Future", ends)
    with pytest.raises(Ended):
        owner.ask(lambda: None, timeout=0.1)


def test_a_hunt_hides_the_fault_until_it_is_guessed() -> None:
    with asking() as ask:
        assert ask.hunt(seed=3)["seed"] == 3
        assert ask.status()["twin"]["fault"] is None
        assert ask.hint(number=0)["hint"]
        assert ask.hint(number=9)["hint"] is None
        name = ask.session.twin.fault.name
        wrong = next(other for other in FAULTS if other != name)
        assert ask.guess(fault=wrong) == {"right": False, "reveal": None}
        found = [
            check["name"] for check in ask.checks()["checks"] if not ask.check(check=check["name"], hidden=True)["ok"]
        ]
        assert FAULTS[name].caught_by in found
        assert ask.guess(fault=name) == {"right": True, "reveal": name}
        assert ask.status()["twin"]["fault"] == name
        with pytest.raises(NotPossible, match="no fault is hidden"):
            ask.hint(number=0)
        assert ask.check(check="causality")["ok"]
        assert not ask.check(check="causality", fault="mask-forgotten")["ok"]
