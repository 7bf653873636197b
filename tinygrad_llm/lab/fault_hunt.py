"""The fault lab in the page: single checks with a fault switched on, and the hunt for a hidden one."""

from __future__ import annotations

import secrets
from typing import Any

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.training_session import NotPossible
from tinygrad_llm.lab.twin import Twin
from tinygrad_llm.random import Generator
from tinygrad_llm.verify.checks import CHECKS, claim, run_check
from tinygrad_llm.verify.fault import Fault
from tinygrad_llm.verify.faults import FAULTS
from tinygrad_llm.web.body import Body

Head = dict[str, Any]
SEEDS = 10_000


def list_checks(session: Session, body: Body) -> Head:
    return {"checks": [{"name": name, "claim": claim(name)} for name in CHECKS]}


def check(session: Session, body: Body) -> Head:
    """One check, run without the fault and with it."""
    name = body.text("check")
    if name not in CHECKS:
        raise ConfigError(f"check: the checks are {', '.join(CHECKS)}; got {name[:100]!r}")
    if body.flag("hidden"):
        fault: Fault | None = _hunted(session).fault
    else:
        fault = fault_named(body.text("fault")) if body.has("fault") else None
    if fault is None:
        finding = run_check(name)
    else:
        with fault.on():
            finding = run_check(name)
    return {"check": name, "ok": finding.ok, "observed": finding.observed, "claim": claim(name)}


def begin_hunt(session: Session, body: Body) -> Head:
    """A twin with a fault that the seed chooses, as `faults --blind --seed` does."""
    seed = body.integer("seed") if body.has("seed") else secrets.randbelow(SEEDS)
    names = list(FAULTS)
    fault = FAULTS[names[int(Generator(seed).randint(0, len(names)))]]
    session.begin_twin(fault, is_hidden=True)
    return {"seed": seed, "twin": True}


def hint(session: Session, body: Body) -> Head:
    hints = _hunted(session).fault.hints
    number = body.integer("number")
    return {"number": number, "hint": hints[number] if number < len(hints) else None}


def guess(session: Session, body: Body) -> Head:
    """Whether the hidden fault is this one. A right guess, or none, reveals it."""
    twin = _hunted(session)
    fault = fault_named(body.text("fault")) if body.has("fault") else None
    right = fault is twin.fault
    if fault is None or right:
        twin.is_hidden = False
        session.publish()
    return {"right": right, "reveal": None if twin.is_hidden else twin.fault.name}


def fault_named(name: str) -> Fault:
    """Raises: ConfigError for a name that the catalogue does not have"""
    if name not in FAULTS:
        raise ConfigError(f"the faults are {', '.join(FAULTS)}; got {name[:100]!r}")
    return FAULTS[name]


def _hunted(session: Session) -> Twin:
    if session.twin is None or not session.twin.is_hidden:
        raise NotPossible("no fault is hidden: begin a hunt first")
    return session.twin
