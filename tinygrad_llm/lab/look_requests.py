"""Requests that look at a model with a prompt: tokens, heads, one head."""

from __future__ import annotations

from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab import heads, weights
from tinygrad_llm.lab.backward import Recording
from tinygrad_llm.lab.measuring import measure
from tinygrad_llm.lab.session import OTHER_MODEL, Session
from tinygrad_llm.lab.training_session import LIVE
from tinygrad_llm.lab.views import View
from tinygrad_llm.study.lens import look as gather
from tinygrad_llm.web.body import Body

Head = dict[str, Any]
DENSE_STEPS, MOST_DENSE_STEPS = 40, 500  # of one weight, taken again
MOST_OFF = 2_000  # heads that one look may switch off


def look(session: Session, body: Body) -> Head:
    return heads.look(view_of(session, body), body.text("prompt"), heads_off(body))


def one_head(session: Session, body: Body) -> Head:
    layer, head = body.integer("layer"), body.integer("head")
    return heads.look_at_head(view_of(session, body), body.text("prompt"), layer, head, heads_off(body))


def lens(session: Session, body: Body) -> Head:
    view = view_of(session, body)
    with view.looking():
        gathered = gather(view.model, view.tokenizer, body.text("prompt"))
    return {**view.describe(), **gathered}


def ablate(session: Session, body: Body) -> Head:
    return heads.ablate(view_of(session, body), body.text("prompt"))


def vocabulary(session: Session, body: Body) -> Head:
    tokenizer = view_of(session, body).tokenizer
    every = [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)]
    return {
        "texts": [raw.decode("utf-8", errors="replace") for raw in every],
        "bytes": "|".join(raw.hex(" ") for raw in every),
    }


def backward(session: Session, body: Body) -> Head:
    return recording_of(session, body).describe()


def operation(session: Session, body: Body) -> Head:
    return recording_of(session, body).describe_operation(body.integer("index"), body.mapping("corners"))


def measure_element(session: Session, body: Body) -> Head:
    name, element = body.text("name"), body.index("element")
    return measure(recording_of(session, body), body.integer("index"), name, element)


def array(session: Session, body: Body) -> Head:
    """A window of a parameter; in a training also its gradient in the step that led to this moment."""
    at = body.text("at", LIVE)
    in_training = session.main is not None and not at.startswith(OTHER_MODEL)
    corner = body.list("corner") if body.has("corner") else None
    return weights.parameter_window(session.view(at, take_the_step=in_training), body.text("name"), corner)


def weight(session: Session, body: Body) -> Head:
    timeline, branch, step = session.place(body.text("at", LIVE))
    count = body.integer("steps", DENSE_STEPS, low=1, high=MOST_DENSE_STEPS)
    return weights.one_weight(timeline, branch, step, body.text("name"), body.index("index"), count)


def merges(session: Session, body: Body) -> Head:
    return session.merging().describe(body.text("text"))


def recording_of(session: Session, body: Body) -> Recording:
    return session.recording(body.text("at", LIVE), body.text("prompt"))


def view_of(session: Session, body: Body) -> View:
    return session.view(body.text("at", LIVE, longest=200))


def heads_off(body: Body) -> list[tuple[int, int]]:
    """The heads of the field `off`: texts such as "0.1", layer and head. Raises: ConfigError"""
    heads_named = []
    for entry in body.list("off", [], longest=MOST_OFF):
        layer, _, head = entry.partition(".") if isinstance(entry, str) else ("", "", "")
        if not (layer.isascii() and layer.isdigit() and head.isascii() and head.isdigit() and len(entry) < 12):
            raise ConfigError(f'off: a head is LAYER.HEAD, such as "0.1"; got {ascii(entry)[:50]}')
        heads_named.append((int(layer), int(head)))
    return heads_named
