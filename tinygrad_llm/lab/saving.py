"""What is seen in the browser, as one static page: the requests that the page made last, answered once more.

The page says what it shows (`seen`). At the end there is little time, and the model may be in the middle of a long
step: what is not answered in time is taken from the answers that were given before.
"""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import ConfigError, TinygradLLMError
from tinygrad_llm.formats.atomic import atomic_write
from tinygrad_llm.formats.strict_json import parse_json
from tinygrad_llm.lab.saved_page import Answer, saved_page
from tinygrad_llm.web.body import Body

READING = {"status", "vocabulary", "history", "batch", "look", "head", "ablate", "lens", "backward"}
READING |= {"operation", "measure", "array", "weight", "merges", "checks"}
MOST_REQUESTS = 500
MAX_FRAGMENT = 20_000  # characters
MOST_REMEMBERED = 8_000_000  # bytes of answers


class Seen:
    """The address fragment of the page that was seen last, its requests, and the latest answers that were given."""

    def __init__(self) -> None:
        self.fragment = ""
        self.requests: list[tuple[str, str]] = []
        self._answers: dict[tuple[str, str], bytes] = {}
        self._lock = threading.Lock()

    def note(self, body: Body) -> None:
        """What the page shows now. Raises: ConfigError"""
        fragment = body.text("fragment", "", longest=MAX_FRAGMENT)
        requests = [_reading(one) for one in body.list("requests", [], longest=MOST_REQUESTS)]
        self.fragment, self.requests = fragment, requests

    def remember(self, name: str, body: str, answer: bytes) -> None:
        """Keep the answer to a reading request, and forget the oldest ones."""
        if name not in READING:
            return
        with self._lock:
            self._answers.pop((name, body), None)
            self._answers[name, body] = answer
            size = sum(map(len, self._answers.values()))
            while size > MOST_REMEMBERED:
                size -= len(self._answers.pop(next(iter(self._answers))))

    def last_answer(self, name: str, body: str) -> bytes | None:
        with self._lock:
            return self._answers.get((name, body))


def save_page(session: Any, answer: Any, file: Path, seconds: float) -> dict[str, Any]:
    """Write the static page of what is seen, and return its size and what is left out of it.

    `answer(session, name, fields, timeout)` answers a request. Units: seconds to compute answers for

    Raises: CheckpointError for a file that cannot be written
    """
    seen, deadline = session.seen, time.monotonic() + seconds
    answers: list[Answer] = []
    missing: list[str] = []
    for name, body in seen.requests or default_requests(session):
        found = seen.last_answer(name, body)
        if (left := deadline - time.monotonic()) > 0:
            try:
                found = answer(session, name, json.loads(body), left)
            except TimeoutError:
                deadline = 0.0
            except TinygradLLMError:
                found = None  # a request that had been refused before
        if found is None:
            missing.append(f"{name} {body}")
        else:
            answers.append((name, body, found))
    page, left_out = saved_page(seen.fragment or "view=train", answers, session.beginning.title)
    with atomic_write(file) as opened:
        opened.write(page)
    return {"file": str(file), "bytes": len(page), "leftOut": [*left_out, *missing]}


def default_requests(session: Any) -> list[tuple[str, str]]:
    """What a page shows that nobody has opened: the training and its first prompt."""
    prompt, at = session.beginning.prompt, session.published.get("at", "live")
    training = []
    if session.main is not None:
        training = [("history", body_text(branch=session.main.branch.name)), ("batch", body_text(at=at))]
    return [*training, *prompt_requests(prompt, at), ("merges", body_text(text=prompt))]


def prompt_requests(prompt: str, at: str) -> list[tuple[str, str]]:
    """Name and body of the requests that the views of a prompt make, but for the arrays of single operations."""
    of_prompt = [(name, body_text(prompt=prompt, at=at)) for name in ("look", "lens", "backward")]
    return [("status", body_text()), *of_prompt, ("vocabulary", body_text())]


def body_text(**fields: Any) -> str:
    """The body as the page sends it: the text that JSON.stringify makes."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))


def _reading(entry: Any) -> tuple[str, str]:
    """A request that only reads, as its name and the text of its body. Raises: ConfigError"""
    if not (isinstance(entry, list) and len(entry) == 2 and all(isinstance(one, str) for one in entry)):
        raise ConfigError(f"seen: a request is a name and the text of its body; got {ascii(entry)[:100]}")
    name, body = entry
    if name not in READING:
        raise ConfigError(f"seen: a saved page can hold {', '.join(sorted(READING))}; got {ascii(name)[:50]}")
    parse_json(body.encode("utf-8", "surrogatepass"), name)
    return name, body
