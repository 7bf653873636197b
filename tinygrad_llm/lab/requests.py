"""The requests that the page may make, by name, and how one is answered.

A function that answers one gets the session and the body, on the owner's thread. It returns the head of its answer,
None for the status of the lab, or a Future after which the status is the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab import fault_hunt, look_requests, training_requests
from tinygrad_llm.lab.packing import pack
from tinygrad_llm.lab.saving import save_page
from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.status import status
from tinygrad_llm.lab.training_session import NotPossible
from tinygrad_llm.web.body import Body

SECONDS_TO_SAVE = 60.0

Work: TypeAlias = "Callable[[Session, Body], Any]"


@dataclass(frozen=True)
class Request:
    """A request: the fields of its body, and the function that answers it, on the owner's thread unless it need not."""

    fields: tuple[str, ...]
    work: Work
    on_owner: bool = True


REQUESTS: dict[str, Request] = {
    "status": Request((), training_requests.read_status),
    # training
    "play": Request(("until",), training_requests.play),
    "pause": Request((), training_requests.pause),
    "step": Request(("count",), training_requests.step),
    "goto": Request(("at", "edits"), training_requests.go_to),
    "branch": Request(("name",), training_requests.go_on_with_branch),
    "rate": Request(("rate", "name"), training_requests.change_rate),
    "set_weight": Request(("name", "index", "value", "branch"), training_requests.set_weight),
    "sample_every": Request(("steps",), training_requests.sample_every),
    "twin": Request(("fault",), training_requests.begin_twin),
    "history": Request(("branch",), training_requests.history),
    "batch": Request(("at",), training_requests.batch),
    # the forward of a prompt
    "vocabulary": Request(("at",), look_requests.vocabulary),
    "look": Request(("prompt", "at", "off"), look_requests.look),
    "head": Request(("prompt", "at", "layer", "head", "off"), look_requests.one_head),
    "lens": Request(("prompt", "at"), look_requests.lens),
    "ablate": Request(("prompt", "at"), look_requests.ablate),
    "merges": Request(("text",), look_requests.merges),
    # its backward
    "backward": Request(("prompt", "at"), look_requests.backward),
    "operation": Request(("prompt", "at", "index", "corners"), look_requests.operation),
    "measure": Request(("prompt", "at", "index", "name", "element"), look_requests.measure_element),
    # weights
    "array": Request(("name", "at", "corner"), look_requests.array),
    "weight": Request(("name", "index", "at", "steps"), look_requests.weight),
    # faults
    "checks": Request((), fault_hunt.list_checks),
    "check": Request(("fault", "hidden", "check"), fault_hunt.check),
    "hunt": Request(("seed",), fault_hunt.begin_hunt),
    "hint": Request(("number",), fault_hunt.hint),
    "guess": Request(("fault",), fault_hunt.guess),
}


def answer(session: Session, name: str, fields: Any, timeout: float | None = None) -> bytes:
    """The packed answer to a request; called on any thread but the owner's.

    Raises: ConfigError for a request that there is not, or a field that is wrong; NotPossible; Ended; TimeoutError
    """
    if name not in REQUESTS:
        raise ConfigError(f"the requests are {', '.join(sorted(REQUESTS))}; got {name[:50]!r}")
    known = REQUESTS[name]
    body = Body(name, known.fields, fields)
    if not known.on_owner:
        return pack(known.work(session, body))
    head = session.ask(lambda: known.work(session, body), timeout)
    return pack(session.ask(lambda: status(session), timeout) if head is None else head)


def _note_seen(session: Session, body: Body) -> dict[str, Any]:
    session.seen.note(body)
    return {}


def _save(session: Session, body: Body) -> dict[str, Any]:
    if session.save_to is None:
        raise NotPossible("this lab was started without --save FILE")
    session.seen.note(body)
    return save_page(session, answer, session.save_to, SECONDS_TO_SAVE)


REQUESTS["seen"] = Request(("fragment", "requests"), _note_seen, on_owner=False)
REQUESTS["save"] = Request(("fragment", "requests"), _save, on_owner=False)
