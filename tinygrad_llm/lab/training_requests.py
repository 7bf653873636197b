"""Requests that move the training, edit it, or read its history."""

from __future__ import annotations

import math
import re
from concurrent.futures import Future
from typing import Any

import numpy as np

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.graph import no_grad
from tinygrad_llm.lab.edits import RateEdit, WeightEdit, edits_of, expect_finite, expect_rate
from tinygrad_llm.lab.fault_hunt import fault_named
from tinygrad_llm.lab.session import TWIN, Session
from tinygrad_llm.lab.status import status
from tinygrad_llm.lab.timeline import MAIN, Timeline
from tinygrad_llm.lab.training_session import LIVE, NotPossible
from tinygrad_llm.ops.cross_entropy import cross_entropy
from tinygrad_llm.train.evaluation import evaluating
from tinygrad_llm.web.body import Body

Head = dict[str, Any]
BRANCH_NAME = re.compile(r"[a-z0-9-]{1,40}")
MOST_STEPS = 10_000  # that one request may ask for


def read_status(session: Session, body: Body) -> Head:
    return status(session)


def play(session: Session, body: Body) -> None:
    session.play(body.integer("until", low=1) if body.has("until") else None)


def pause(session: Session, body: Body) -> None:
    session.training()
    session.stand_still()


def step(session: Session, body: Body) -> Future[None] | None:
    return session.step(body.integer("count", 1, low=1, high=MOST_STEPS))


def go_to(session: Session, body: Body) -> Future[None] | None:
    name, _, number = body.text("at", longest=60).partition("@")
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise ConfigError(f"goto: at must be BRANCH@STEP, such as {MAIN}@50; got {name}@{number}")
    edits = edits_of(body.text("edits", ""))
    branch = session.branch_with(branch_name(name), edits) if edits else session.branch(name)
    far = int(number) - session.training().nearest_step(branch, int(number))
    if far > MOST_STEPS:
        raise ConfigError(
            f"goto: at most {MOST_STEPS:,} steps are taken at once; {name}@{number} is {far:,} steps away"
        )
    return session.go_to(branch, int(number))


def go_on_with_branch(session: Session, body: Body) -> Future[None] | None:
    branch = session.branch(body.text("name"))
    return session.go_to(branch, session.training().last_step(branch))


def change_rate(session: Session, body: Body) -> None:
    rate = expect_rate(body.number("rate"))
    timeline = session.training()
    session.edit(RateEdit(timeline.step, rate), new_name(timeline, body, f"rate-{rate:g}-at-{timeline.step}"))


def set_weight(session: Session, body: Body) -> Head:
    timeline = session.training()
    edit = WeightEdit(timeline.step, body.text("name"), body.index("index"), expect_finite(body.number("value")))
    name = new_name(timeline, body, f"weight-at-{timeline.step}", "branch")
    before = last_batch_loss(timeline)
    session.edit(edit, name)
    return {**status(session), "lossBefore": before, "lossAfter": last_batch_loss(timeline)}


def sample_every(session: Session, body: Body) -> None:
    session.training()
    session.sample_every = body.integer("steps")


def begin_twin(session: Session, body: Body) -> None:
    fault = fault_named(body.text("fault")) if body.has("fault") else None
    session.begin_twin(fault)


def history(session: Session, body: Body) -> Head:
    name = body.text("branch", MAIN)
    timeline = session.training()
    if name == TWIN:
        if session.twin is None:
            raise NotPossible("there is no twin: begin one first")
        timeline = session.twin.timeline
        branch = timeline.branch
    else:
        branch = session.branch(name)
    records = branch.records
    evaluated = [record for record in records if "valLoss" in record]

    def column(key: str, dtype: type[Any] = np.float64) -> Any:
        return np.array([math.nan if record[key] is None else record[key] for record in records], dtype)

    layers = len(timeline.optimizer.measured)
    return {
        "branch": name,
        "steps": column("step", np.int32),
        "trainLoss": column("trainLoss"),
        "learningRate": column("learningRate"),
        "gradNorm": column("gradNorm"),
        "seconds": column("seconds", np.float32),
        "updates": column("updates", np.float32).reshape(len(records), layers),
        "weights": column("weights", np.float32).reshape(len(records), layers),
        "valSteps": np.array([record["step"] for record in evaluated], np.int32),
        "valLoss": np.array([record["valLoss"] for record in evaluated], np.float64),
        "samples": [{"step": record["step"], "text": record["sample"]} for record in records if "sample" in record],
    }


def batch(session: Session, body: Body) -> Head:
    """The batch of the step that led to this moment; at the first step, that of the next one."""
    timeline = session.training()
    at = body.text("at", LIVE)
    view = session.view(at, take_the_step=True)
    inputs, targets = view.batch
    with view.looking(), no_grad():
        losses = cross_entropy(view.model(inputs), targets, reduction="none").data
    return {
        **view.describe(),
        "first": view.step == timeline.first_step,
        "inputs": inputs.astype(np.int32),
        "targets": targets.astype(np.int32),
        "losses": losses.reshape(inputs.shape).astype(np.float32),
    }


def last_batch_loss(timeline: Timeline) -> float | None:
    """The loss of the last batch that was trained on, with the weights of now. Units: nats per token"""
    model: Any = timeline.trainer.model
    if timeline.batch.batch is None:
        return None
    with timeline.mistaken(), evaluating(model):
        return float(model.loss(*timeline.batch.batch).item())


def branch_name(name: str) -> str:
    """Raises: ConfigError for a name that no branch may have"""
    if not BRANCH_NAME.fullmatch(name) or name == TWIN:
        raise ConfigError(f"a branch's name is 1 to 40 of a-z, 0-9 and -, and not {TWIN}; got {name[:100]!r}")
    return name


def new_name(timeline: Timeline, body: Body, default: str, field: str = "name") -> str:
    """The name that the body gives a new branch, or one that is free."""
    if body.has(field):
        return branch_name(body.text(field))
    stem = re.sub(r"[^a-z0-9-]", "-", default)[:36].strip("-")
    free = (
        name
        for number in range(1, 1000)
        if (name := stem if number == 1 else f"{stem}-{number}") not in timeline.branches
    )
    return next(free)
