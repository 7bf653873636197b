"""The lab's page in Chromium: every view at four widths in light and dark, the keyboard, and pairs of controls."""

import itertools
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, Page
from lab_page import part, settle, state_of
from pages import expect_nothing_cut_off

from tinygrad_llm.lab.events import events
from tinygrad_llm.lab.opening import open_lab
from tinygrad_llm.lab.server import LabServer, serving
from tinygrad_llm.lab.session import Session
from tinygrad_llm.web.handler import Handler

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

VIEWS = ("train", "prompt", "heads", "backward", "weight", "merges", "compare", "tour")
STEP = 40
PROMPT = "the function"


@pytest.fixture(scope="module")
def lab() -> Iterator[LabServer]:
    server = LabServer(open_lab())
    with serving(server):
        yield server


def show(page: Page, lab: LabServer, **state: Any) -> None:
    """Open the page at step STEP with this state, and wait until it has drawn."""
    state = {"prompt": PROMPT, "at": f"main@{STEP}", **state}
    page.open(f"{lab.address}#{'&'.join(f'{key}={value}' for key, value in state.items())}")
    settle(page)


# -- layout


@pytest.mark.parametrize("view", VIEWS)
def test_nothing_is_cut_off(page: Page, lab: LabServer, view: str) -> None:
    backgrounds = set()
    for scheme in ("light", "dark"):
        page.prefer(prefers_color_scheme=scheme)
        show(page, lab, view=view)
        expect_nothing_cut_off(page)
        backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2
    assert page.evaluate("document.title").endswith("python-docs")


@pytest.mark.parametrize("view", VIEWS)
def test_every_picture_has_legend_readout_and_a_table_in_its_place(page: Page, lab: LabServer, view: str) -> None:
    show(page, lab, view=view)
    figures = page.evaluate(
        "[...document.querySelectorAll('#view figure')].filter((one) => one.checkVisibility()).map((one) => ({"
        " title: one.getAttribute('aria-label'), readout: one.querySelector('.readout').textContent,"
        " legend: one.querySelector('.legend').textContent}))"
    )
    for number, figure in enumerate(figures):
        assert figure["title"] and figure["readout"], figure
        drawn = page.evaluate(f"document.querySelectorAll('#view figure')[{number}].innerText")
        page.evaluate(f"document.querySelectorAll('#view figure')[{number}].querySelector('[data-key^=table]').click()")
        rows = page.evaluate(f"document.querySelectorAll('#view figure')[{number}].querySelectorAll('tbody tr').length")
        assert rows > 0 or "no value" in figure["readout"], figure
        page.evaluate(f"document.querySelectorAll('#view figure')[{number}].querySelector('[data-key^=table]').click()")
        assert page.evaluate(f"document.querySelectorAll('#view figure')[{number}].innerText") == drawn


def test_a_view_is_busy_until_its_curves_are_drawn(page: Page, lab: LabServer, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = Handler.begin_events

    def late(handler: Handler) -> None:
        time.sleep(0.5)
        begin(handler)

    monkeypatch.setattr(Handler, "begin_events", late)
    show(page, lab, view="train")
    readouts = page.evaluate("[...document.querySelectorAll('#view figure .readout')].map((one) => one.textContent)")
    assert readouts and not any("no value" in one for one in readouts)


def test_an_event_that_comes_late_takes_nobody_back(
    page: Page, lab: LabServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(page, lab, view="train", at="main@10")
    earlier, is_time, is_seen = json.dumps(lab.session.published), threading.Event(), threading.Event()

    def late(session: Session, ending: threading.Event) -> Iterator[bytes]:
        is_time.wait(30)
        yield f"event: status\ndata: {earlier}\n\n".encode()
        is_seen.wait(30)
        yield from events(session, ending)

    monkeypatch.setattr("tinygrad_llm.lab.server.events", late)
    show(page, lab, view="train")
    is_time.set()
    page.evaluate("new Promise((done) => setTimeout(done, 500))")
    assert state_of(page)["at"] == f"main@{STEP}"
    is_seen.set()


def test_nothing_moves_by_itself(page: Page, lab: LabServer) -> None:
    page.prefer(prefers_reduced_motion="reduce")
    for view in VIEWS:
        show(page, lab, view=view)
        assert page.evaluate("document.getAnimations().length") == 0


# -- the keyboard


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_is_one_tab_stop_and_the_arrows_reach_the_rest(page: Page, lab: LabServer, view: str) -> None:
    show(page, lab, view=view)
    visited = []
    for _ in range(5):
        page.press("Tab")
        visited.append(page.evaluate('document.activeElement.closest("nav, [role=toolbar], main, .top")?.id ?? ""'))
    assert visited == ["", "views", "transport", "view", ""], visited
    page.evaluate("document.querySelector('#view [tabindex=\"0\"]').focus()")
    parts = page.evaluate(
        "[...document.querySelectorAll('#view [data-part]')].filter((one) => "
        "[...one.querySelectorAll('button, input, textarea, select, summary, [data-stop]')]"
        ".some((x) => x.checkVisibility() && !x.disabled)).length"
    )
    seen = set()
    for _ in range(parts + 1):
        seen.add(
            page.evaluate(
                "[...document.querySelectorAll('[data-part]')].indexOf(document.activeElement.closest('[data-part]'))"
            )
        )
        page.press("PageDown")
    assert len(seen) >= parts
    before = page.evaluate("document.activeElement.dataset.key")
    page.press("PageUp")
    page.press("ArrowDown")
    assert page.evaluate('document.getElementById("view").contains(document.activeElement)'), before


def test_space_plays_and_comma_and_full_stop_step(page: Page, lab: LabServer) -> None:
    show(page, lab, view="train")
    page.press(".")
    page.wait_for(f"location.hash.includes('main%40{STEP + 1}')")
    page.press(",")
    page.wait_for(f"location.hash.includes('main%40{STEP}')")
    page.press(" ")
    page.wait_for("document.querySelector('[data-key=play]').textContent === 'Pause'")
    page.press(" ")
    page.wait_for("document.querySelector('[data-key=play]').textContent === 'Play'")
    settle(page)
    reached = int(state_of(page)["at"].removeprefix("main@"))
    assert reached > STEP
    page.click("[data-key=rewind]")
    page.wait_for("location.hash.includes('main%400')")


def test_the_keys_play_what_a_view_has_to_play(page: Page, lab: LabServer) -> None:
    show(page, lab, view="merges", rank=300)
    page.press(",")
    page.wait_for("!location.hash.includes('rank=300')")
    show(page, lab, view="backward")
    first = state_of(page).get("op")
    page.press(".")
    page.wait_for("location.hash.includes('op=')")
    settle(page)
    assert state_of(page)["op"] != first and state_of(page)["at"] == f"main@{STEP}"


def test_letters_in_a_text_are_letters(page: Page, lab: LabServer) -> None:
    show(page, lab, view="prompt")
    page.click("textarea[data-key=prompt]")
    page.press("End")
    for key in " ,.t":
        page.press(key)
    page.wait_for(f"new URLSearchParams(location.hash.slice(1)).get('prompt') === '{PROMPT} ,.t'")
    settle(page)
    assert state_of(page)["at"] == f"main@{STEP}"


def test_arrows_move_in_a_picture_and_then_out_of_it(page: Page, lab: LabServer) -> None:
    show(page, lab, view="heads", token=2, key=0)
    page.evaluate("document.querySelector('.map canvas').focus()")
    page.press("ArrowDown")
    page.press("ArrowRight")
    settle(page)
    assert (state_of(page)["token"], state_of(page)["key"]) == ("3", "1")
    assert part(page, "Layer 0, head 0").count("3 “␣” looks at 1 “h”") == 1
    page.press("ArrowLeft", times=2)
    assert page.evaluate("document.activeElement.tagName") != "CANVAS"


# -- pairs of controls: whatever came first, both have had their effect

Control = tuple[Callable[[Page], None], Callable[[Page], bool]]


def press_cell(page: Page) -> None:
    page.click(".map canvas", at=(2.5 / len(PROMPT), 7.5 / len(PROMPT)))


def write_prompt(page: Page) -> None:
    page.evaluate("document.querySelector('textarea[data-key=prompt]').select()")
    page.click("textarea[data-key=prompt]")
    page.evaluate("document.querySelector('textarea[data-key=prompt]').select()")
    page.write("another text")
    page.wait_for("location.hash.includes('another')")


def press_step(page: Page) -> None:
    page.click("[data-key=forward]")
    page.wait_for(f"location.hash.includes('main%40{STEP + 1}')")


HEADS: dict[str, Control] = {
    "head": (lambda page: page.click("[data-key='head:1.2']"), lambda page: bool(part(page, "Layer 1, head 2"))),
    "gradients": (
        lambda page: page.click("[data-key='What is shown:gradients']"),
        lambda page: "nats per unit of weight" in part(page, "All heads"),
    ),
    "cell": (press_cell, lambda page: (state_of(page)["token"], state_of(page)["key"]) == ("7", "2")),
    "prompt": (write_prompt, lambda page: state_of(page)["prompt"] == "another text"),
    "off": (
        lambda page: page.evaluate(
            "document.querySelector('[data-key=\"head:0.1\"]').dispatchEvent("
            "new KeyboardEvent('keydown', {key: 'x', bubbles: true}))"
        ),
        lambda page: (
            "layer 0, head 1" in part(page, "Switch heads off") and "measured" in part(page, "Switch heads off")
        ),
    ),
    "step": (press_step, lambda page: state_of(page)["at"] == f"main@{STEP + 1}"),
}
PROMPTS: dict[str, Control] = {
    "temperature": (
        lambda page: slide(page, "temperature", 0.5),
        lambda page: state_of(page)["temperature"] == "0.5",
    ),
    "top-k": (lambda page: slide(page, "k", 3), lambda page: "3 of" in page.text()),
    "min-p": (lambda page: slide(page, "minp", 0.01), lambda page: state_of(page)["minp"] == "0.01"),
    "token": (lambda page: page.click("[data-key='token:4']"), lambda page: "After 4 “f”" in part(page, "Predictions")),
    "step": (press_step, lambda page: state_of(page)["at"] == f"main@{STEP + 1}"),
}


def slide(page: Page, key: str, value: float) -> None:
    """Move a slider, as a hand does."""
    page.evaluate(
        f"(one => {{ one.value = {value}; one.dispatchEvent(new Event('input', {{bubbles: true}})); }})"
        f"(document.querySelector('[data-key={key}]'))"
    )


@pytest.mark.parametrize("view", ["heads", "prompt"])
def test_pairs_of_controls(page: Page, lab: LabServer, view: str) -> None:
    controls = HEADS if view == "heads" else PROMPTS
    # A head that is chosen by switching it off is not the one that was chosen before.
    for first, second in itertools.permutations(controls, 2):
        if {first, second} == {"head", "off"} and first == "head":
            continue
        show(page, lab, view=view)
        for name in (first, second):
            controls[name][0](page)
            settle(page)
        for name in (first, second):
            assert controls[name][1](page), (first, second, name, state_of(page))


# -- what the views say


def test_a_click_measures_an_element_and_backward_agrees(page: Page, lab: LabServer) -> None:
    show(page, lab, view="backward", op=30, element="weight:3,4")
    page.click("[data-key=measure]")
    settle(page)
    said = part(page, "Is the gradient right?")
    measured, backward = (
        float(re.search(rf"{word}\s+([−\d.e]+)", said)[1].replace("−", "-")) for word in ("measured", "backward says")
    )
    assert measured == pytest.approx(backward, rel=1e-6) and measured != 0
    assert page.evaluate("document.querySelectorAll('.code .marked').length") >= 2


def test_another_weight_begins_a_branch(page: Page, lab: LabServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinygrad_llm.lab.events.SECONDS_BETWEEN_EVENTS", 1.0)  # the answer draws the view, no event
    show(page, lab, view="weight", weight="final_norm.weight:5")
    page.evaluate("document.querySelector('[data-key=new-value]').value = '3'")
    page.click("[data-key=set-value]")
    page.wait_for("location.hash.includes('weight-at-')")
    settle(page)
    assert "nats. Branch “weight-at-40” goes on from here." in part(page, "final_norm.weight[5]")
    assert state_of(page)["edits"] == f"{STEP}:weight=final_norm.weight[5]=3.0"
    assert "value\n3" in part(page, "final_norm.weight[5]")
    address = page.evaluate("location.hash")
    show(page, lab, view="weight", weight="final_norm.weight:5")
    assert "value\n3" not in part(page, "final_norm.weight[5]")
    page.open(f"{lab.address}{address}")
    settle(page)
    assert "value\n3" in part(page, "final_norm.weight[5]")


@pytest.mark.parametrize("what", ["prompt", "heads", "backward", "weight"])
def test_two_steps_are_compared(page: Page, lab: LabServer, what: str) -> None:
    show(page, lab, view="compare", what=what, **{"with": "main@0"})
    assert "A − B" in page.text() or what == "backward"
    unlike = page.evaluate("document.getElementById('view').innerText")
    show(page, lab, view="compare", what=what, **{"with": f"main@{STEP}"})
    assert page.evaluate("document.getElementById('view').innerText") != unlike


def test_the_tour_asks_before_it_answers_and_the_hunt_ends(page: Page, lab: LabServer) -> None:
    show(page, lab, view="tour")
    for screen in range(1, 10):
        assert f"screen={screen}" in page.evaluate("location.hash") or screen == 1
        assert page.evaluate("document.querySelector('.answer')") is None
        page.click("[data-key='option:1']")
        page.wait_for("!!document.querySelector('[data-key=onward]')")
        assert re.search("As you said|You said", page.text())
        page.click("[data-key=onward]")
        settle(page)
    page.evaluate("Math.random = () => 0.5")  # which chooses the fault
    page.click("[data-key='hunt:begin']")
    page.wait_for("!!document.querySelector('[data-key=\"hunt:sure\"]')")
    page.click("[data-key='hunt:hint']")
    page.wait_for("document.querySelector('.tour li')?.textContent.startsWith('Hint')")
    page.click("[data-key^='check:']")
    page.wait_for("document.querySelectorAll('.tour li').length === 2")
    assert lab.session.twin is not None
    hidden = lab.session.twin.fault.name
    page.evaluate(f"document.querySelector('[data-key=\"hunt:guess\"]').value = {json.dumps(hidden)}")
    page.click("[data-key='hunt:sure']")
    page.wait_for("document.querySelector('.tour li')?.textContent.startsWith('Found after 3 questions')")
    page.evaluate("(play => play.textContent === 'Pause' && play.click())(document.querySelector('[data-key=play]'))")
    settle(page)


def test_the_same_fragment_shows_the_same_in_a_restarted_lab(page: Page, lab: LabServer) -> None:
    show(page, lab, view="heads", layer=1, head=3, off="0.2", show="gradients", token=5, key=2)
    fragment, seen = page.evaluate("location.hash"), page.evaluate("document.getElementById('view').innerText")
    assert "measured" in seen
    restarted = LabServer(open_lab())
    with serving(restarted):
        page.open(f"{restarted.address}{fragment}")
        settle(page)
        assert page.evaluate("document.getElementById('view').innerText") == seen
        page.leave()


def test_a_saved_page_shows_what_was_seen(page: Page, lab: LabServer, tmp_path: Path) -> None:
    lab.session.save_to = file = tmp_path / "page.html"
    show(page, lab, view="heads", layer=1, head=3)
    seen = part(page, "Layer 1, head 3")
    page.click("#save")
    page.wait_for("document.getElementById('save').textContent.startsWith('Saved')")
    lab.session.save_to = None
    page.open(file.as_uri())
    settle(page)
    assert part(page, "Layer 1, head 3") == seen
    for view in ("train", "prompt"):
        page.evaluate(f"document.querySelector('[data-key={view}]').click()")
        page.wait_for("!document.querySelector('#view[aria-busy]')")
    assert page.evaluate("document.getElementById('transport').hidden")
