"""What is seen, as one static page."""

import json
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from tiny_lab import PROMPT, asking, send, served, tiny_beginning

from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.requests import answer
from tinygrad_llm.lab.saved_page import MAX_BYTES, saved_page
from tinygrad_llm.lab.saving import Seen, save_page
from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.training_session import NotPossible
from tinygrad_llm.random import Generator
from tinygrad_llm.web.body import Body

LOOK = json.dumps({"prompt": PROMPT, "at": "main@0"}, separators=(",", ":"))


def held(page: bytes) -> dict:
    return json.loads(re.search(rb'<script type="application/json" id="saved">(.*?)</script>', page, re.S).group(1))


def test_the_page_holds_what_was_seen(tmp_path: Path) -> None:
    with asking() as ask:
        with pytest.raises(NotPossible, match="without --save"):
            ask.save(fragment="", requests=[])
        ask.session.save_to = tmp_path / "page.html"
        requests = [["status", "{}"], ["look", LOOK], ["measure", "{}"]]
        found = ask.save(fragment="view=heads&layer=1", requests=requests)
    page = (tmp_path / "page.html").read_bytes()
    assert found == {"file": str(tmp_path / "page.html"), "bytes": len(page), "leftOut": ["measure {}"]}
    assert held(page)["fragment"] == "view=heads&layer=1"
    assert held(page)["answers"].keys() == {"status {}", f"look {LOOK}"}


def test_a_page_that_nobody_opened_shows_the_training(tmp_path: Path) -> None:
    with asking() as ask:
        ask.step(count=2)
        save_page(ask.session, answer, tmp_path / "page.html", 20.0)
    names = {key.partition(" ")[0] for key in held((tmp_path / "page.html").read_bytes())["answers"]}
    assert names == {"status", "history", "batch", "look", "lens", "backward", "vocabulary", "merges"}


def test_what_is_not_answered_in_time_is_taken_from_before(tmp_path: Path) -> None:
    session = Session(tiny_beginning())
    with served(session) as server:
        assert send(server, "api/look", LOOK.encode())[0] == 200
        assert send(server, "api/seen", {"fragment": "a", "requests": [["look", LOOK], ["lens", LOOK]]})[0] == 200
        busy, free = threading.Event(), threading.Event()
        blocked = threading.Thread(target=lambda: session.ask(lambda: (busy.set(), free.wait(60))))
        blocked.start()
        busy.wait(60)
        found = save_page(session, answer, tmp_path / "page.html", 0.05)
        free.set()
        blocked.join(60)
    assert found["leftOut"] == [f"lens {LOOK}"]
    assert held((tmp_path / "page.html").read_bytes())["answers"].keys() == {f"look {LOOK}"}


def test_only_requests_that_read_are_saved() -> None:
    with asking() as ask:
        for entry in (["play", "{}"], ["seen", "{}"], ["look"], "look", ["look", 3], [1, "{}"]):
            with pytest.raises(ConfigError, match="seen:"):
                ask.seen(fragment="", requests=[entry])
        assert ask.seen(fragment="", requests=[["look", LOOK]]) == {}


def test_the_oldest_answers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_llm.lab.saving.MOST_REMEMBERED", 10)
    seen = Seen()
    for body in ("a", "b", "c"):
        seen.remember("look", body, b"12345")
    seen.remember("play", "", b"1")
    assert [seen.last_answer("look", body) for body in ("a", "b", "c")] == [None, b"12345", b"12345"]
    assert seen.last_answer("play", "") is None
    with pytest.raises(ConfigError):
        seen.note(Body("seen", ("requests",), {"requests": "all"}))


def test_a_page_is_at_most_five_megabytes() -> None:
    noise = Generator(0).randint(0, 256, (12, 20_000)).astype(np.uint8)
    answers = [("look", f'{{"n":{i}}}', one.tobytes()) for i, one in enumerate(noise)]
    page, left_out = saved_page("view=train", answers * 3, "a lab", limit=500_000)
    assert len(page) <= 500_000
    assert left_out != []
    kept = held(page)["answers"].keys()
    assert 'look {"n":0}' in kept
    assert len(kept) + len(set(left_out)) == len(answers)
    assert MAX_BYTES == 5_000_000
    with pytest.raises(ConfigError, match="needs at least"):
        saved_page("", [], "a lab", limit=1_000)
