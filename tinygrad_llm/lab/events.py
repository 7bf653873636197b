"""Server-sent events: each client's thread looks at the session at most ten times a second, and sends what is new.

Nothing is queued for a client, so a slow one costs no memory: it gets fewer and larger events.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

from tinygrad_llm.lab.packing import finite
from tinygrad_llm.lab.session import TWIN, Session
from tinygrad_llm.lab.timeline import Branch

SECONDS_BETWEEN_EVENTS = 0.1
SECONDS_BETWEEN_PINGS = 15.0
MOST_RECORDS = 500  # in one event


def events(session: Session, ending: threading.Event) -> Iterator[bytes]:
    """The events for one client, until the lab ends: `status`, `records`, at last `bye`."""
    sent: dict[tuple[str, str], int] = {}  # records by series and branch that were sent, or were there before
    for series, branch in _series(session):
        sent[series, branch.name] = len(branch.records)
    published: dict[str, Any] | None = None
    last_sent = time.monotonic()
    while not (ending.is_set() or session.owner.ending):
        found = list(_new_records(session, sent))
        with session.news:
            latest = session.published
            if latest is published and not found:
                session.news.wait(SECONDS_BETWEEN_EVENTS)
        if latest is not published:
            published = latest
            yield _event("status", latest)
        for name, records in found:
            yield _event("records", {"branch": name, "records": records})
        now = time.monotonic()
        if found or now - last_sent > SECONDS_BETWEEN_PINGS:
            last_sent = now
            yield b": ping\n\n"
        ending.wait(SECONDS_BETWEEN_EVENTS)
    yield _event("bye", {"why": "the lab has ended"})


def _series(session: Session) -> list[tuple[str, Branch]]:
    main, twin = session.main, session.twin
    branches = [] if main is None else [("", branch) for branch in list(main.branches.values())]
    if twin is not None:
        branches += [(TWIN, branch) for branch in list(twin.timeline.branches.values())]
    return branches


def _new_records(session: Session, sent: dict[tuple[str, str], int]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for series, branch in _series(session):
        start = sent.get((series, branch.name), 0)
        records = branch.records[start : start + MOST_RECORDS]
        if records:
            sent[series, branch.name] = start + len(records)
            yield series or branch.name, records


def _event(name: str, data: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps(finite(data), separators=(',', ':'))}\n\n".encode()
