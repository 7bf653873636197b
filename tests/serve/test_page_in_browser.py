"""The chat page in Chromium, on a server of tiny models."""

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import CHROMIUM, PATIENCE, Page
from pages import expect_nothing_cut_off
from tiny_chat import save_chat_model
from tiny_server import ask, served

from tinygrad_llm.serve.served_model import ServedModel
from tinygrad_llm.serve.server import ModelServer

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]

HOSTILE = '<img src=x onerror="document.title=1"> </script>& "'
ANSWERED = "document.querySelector('[data-key=send]').textContent !== 'Stop'"
LETTER_A = 97  # the token of the letter: tokens are bytes


# One random answer in forty ends before its fourth token. The names of conversations, of two numbers, stay random.
SEEDS = (
    "const draw = crypto.getRandomValues.bind(crypto); let seed = 0;"
    "crypto.getRandomValues = (array) => (array.length === 1 ? array.fill(seed++) : draw(array))"
)


@pytest.fixture(scope="module", autouse=True)
def same_seeds(chromium: Page) -> None:
    """The answers after a page has been opened have the seeds 0, 1, 2, ... unless its settings name one."""
    chromium.command("Page.addScriptToEvaluateOnNewDocument", source=SEEDS)


def model_of(folder: Path, **settings: Any) -> ServedModel:
    return ServedModel.open(save_chat_model(folder / "tiny", **settings))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    with served(model_of(tmp_path_factory.mktemp("random"), context_length=2_000)) as server:
        yield server


@pytest.fixture(scope="module")
def small() -> Iterator[ModelServer]:
    """A server whose model has a context of 128 tokens."""
    with served() as server:
        yield server


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """A server whose model writes the letter a for minutes."""
    with served(model_of(tmp_path_factory.mktemp("endless"), always=LETTER_A, context_length=30_000)) as server:
        yield server


def begin(page: Page, server: ModelServer, scheme: str = "light", **settings: Any) -> None:
    """Open the page as for the first time, with these settings."""
    page.prefer(prefers_color_scheme=scheme)
    page.open(server.address)
    page.evaluate(
        "localStorage.clear(); sessionStorage.clear();"
        f"localStorage['tinygrad-llm.settings'] = JSON.stringify({json.dumps(settings)})"
    )
    page.open(server.address)


def say(page: Page, text: str, wait: bool = True) -> None:
    messages = "document.querySelectorAll('.message').length"
    before = page.evaluate(messages)
    page.click("[data-key=message]")
    page.write(text)
    page.press("Enter")
    if wait:
        page.wait_for(f"{messages} > {before} && {ANSWERED}")  # the page may not have heard of the key yet


def texts(page: Page) -> list[str]:
    """What the messages say."""
    return page.evaluate("[...document.querySelectorAll('.message .text')].map((one) => one.textContent)")


def press(page: Page, key: str, last: bool = True) -> None:
    """Click the last button of this name, or the first."""
    page.evaluate(f"[...document.querySelectorAll('[data-key=\"{key}\"]')].at({-1 if last else 0}).click()")
    page.wait_for(ANSWERED)


def kept(page: Page) -> list[Any]:
    """The conversations in the browser's storage."""
    return page.evaluate(
        "Object.keys(localStorage).filter((key) => key.startsWith('tinygrad-llm.chat.'))"
        ".map((key) => JSON.parse(localStorage[key]))"
    )


# -- layout and access


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off(page: Page, server: ModelServer, scheme: str) -> None:
    begin(page, server, scheme, maxTokens=30)
    expect_nothing_cut_off(page)
    say(page, f"{HOSTILE} {'very' * 80}\n```python\n{'x = 1; ' * 40}\n```\nend")
    press(page, "byToken")
    page.evaluate("document.querySelector('[data-token=\"3\"]').click()")
    page.evaluate("document.getElementById('settingsButton').click()")
    expect_nothing_cut_off(page)
    page.evaluate("document.getElementById('listButton').click()")
    press(page, "newText")
    page.click("[data-key=text]")
    page.write("long" * 100)
    press(page, "send")
    expect_nothing_cut_off(page)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(252, 251, 248)") == (scheme == "light")


def test_every_control_has_a_name_and_tab_reaches_it(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=5)
    say(page, "Hello")
    page.evaluate("document.getElementById('settingsButton').click()")
    nameless = (
        "[...document.querySelectorAll('button, input, textarea, [role=group], nav, aside')].filter((one) =>"
        " !(one.ariaLabel || one.textContent.trim() || one.closest('label')?.textContent.trim()))"
    )
    assert page.evaluate(f"{nameless}.map((one) => one.outerHTML)") == []
    page.evaluate("document.activeElement.blur()")
    reached = set()
    for _ in range(40):
        page.press("Tab")
        reached.add(page.evaluate("document.activeElement.dataset.key ?? document.activeElement.id"))
    wanted = {"newChat", "newText", "edit", "again", "byToken", "message", "send", "scheme", "system", "temperature"}
    assert wanted <= reached, wanted - reached
    assert page.evaluate("document.getElementById('said').textContent").startswith("The answer: ")


def test_light_and_dark_stay_chosen(page: Page, server: ModelServer) -> None:
    begin(page, server)
    page.click("#scheme")
    page.open(server.address)
    assert page.evaluate("document.documentElement.dataset.scheme") == "dark"


def test_a_conversation_that_is_not_shown_has_the_colours_of_the_new_scheme(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=5, seed=3)
    say(page, "Hello")
    press(page, "byToken")
    edges = "[...document.querySelectorAll('[data-token]')].map((one) => one.style.borderBottomColor)"
    light = page.evaluate(edges)
    page.evaluate("document.getElementById('listButton').click()")
    press(page, "newChat")
    page.click("#scheme")
    page.evaluate("document.querySelector('.entry .open:not([aria-current])').click()")
    dark = page.evaluate(edges)
    assert len(light) == len(dark) == 5 and all(one != other for one, other in zip(light, dark, strict=True))


# -- chats


def test_an_answer_is_the_servers_and_its_numbers_too(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=20, seed=5, temperature=1, topP=0.9)
    say(page, "Hello")
    answer = ask(
        server,
        messages=[{"role": "user", "content": "Hello"}],
        max_tokens=20,
        seed=5,
        temperature=1,
        top_p=0.9,
        logprobs=True,
        top_logprobs=8,
    )
    (conversation,) = kept(page)
    node, usage = conversation["nodes"][1], answer["usage"]
    assert node["content"] == answer["choices"][0]["message"]["content"]
    assert (node["numbers"]["prompt"], node["numbers"]["made"]) == (usage["prompt_tokens"], usage["completion_tokens"])
    assert f"20 tokens after {usage['prompt_tokens']}" in page.text() and "seed 5" in page.text()
    assert f"{usage['total_tokens']} of 2,000 tokens of the context" in page.text()
    press(page, "byToken")
    page.press("Tab")
    page.evaluate("document.querySelector('.by-token').focus()")
    for at in (1, 2):
        page.press("ArrowRight")
        token = answer["choices"][0]["logprobs"]["content"][at]
        loss = float(
            page.evaluate("document.querySelector('.token-panel .readout').textContent").split(" = ")[2].split()[0]
        )
        assert loss == pytest.approx(-token["logprob"], rel=5e-3)
        assert page.evaluate("document.querySelectorAll('.token-panel .bar').length") in (8, 9)


def test_shift_and_enter_begin_a_line_and_escape_stops(page: Page, endless: ModelServer) -> None:
    begin(page, endless)
    page.click("[data-key=message]")
    page.write("one")
    page.press("Enter", shift=True)
    page.write("two")
    page.press("Enter")
    page.wait_for("document.querySelector('.assistant .text')?.textContent.length > 10")
    page.press("Escape")
    page.wait_for(ANSWERED)
    asked, answer = texts(page)
    assert asked == "one\ntwo" and set(answer) == {"a"}
    assert "stopped" in page.text()
    page.wait_for("true")
    assert kept(page)[0]["nodes"][1]["end"] == "stopped"
    say(page, "again", wait=False)  # and the server has a place for the next one
    page.wait_for("document.querySelectorAll('.assistant .text')[1]?.textContent.length > 3")
    press(page, "send")


def test_versions_of_messages_are_kept_and_come_back(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=8)
    say(page, "first")
    first = texts(page)
    press(page, "again")
    assert "2 / 2" in page.text()
    page.click("[data-key=edit]")
    page.write(" and more")
    page.press("Enter")
    page.wait_for(f"document.querySelector('.message .text')?.textContent === 'first and more' && {ANSWERED}")
    page.open(page.evaluate("location.href"))
    assert texts(page)[0] == "first and more"
    press(page, "older", last=False)
    press(page, "older")
    assert texts(page) == first
    (conversation,) = kept(page)
    assert [node["role"] for node in conversation["nodes"]] == ["user", "assistant", "assistant", "user", "assistant"]


def test_a_reload_keeps_what_came_and_frees_the_row(page: Page, endless: ModelServer) -> None:
    begin(page, endless)
    say(page, "Hello", wait=False)
    page.wait_for("document.querySelector('.assistant .text')?.textContent.length > 20")
    page.open(page.evaluate("location.href"))
    asked, answer = texts(page)
    assert asked == "Hello" and len(answer) > 20 and set(answer) == {"a"}
    assert "This answer was not finished" in page.text()
    end = time.monotonic() + PATIENCE
    while endless.engine.num_rows:
        assert time.monotonic() < end
        page.evaluate("new Promise((done) => setTimeout(done, 10))")


def test_escape_ends_editing_and_changes_nothing(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=4)
    say(page, "first")
    page.click("[data-key=edit]")
    page.write("no")
    page.press("Escape")
    assert texts(page)[0] == "first"
    assert page.evaluate("document.activeElement.dataset.key") == "edit"


def test_conversations_answer_side_by_side(page: Page, endless: ModelServer) -> None:
    begin(page, endless)
    for text in ("one", "two"):
        press_new(page)
        say(page, text, wait=False)
        page.wait_for("document.querySelector('.assistant .text')?.textContent.length > 3")
    assert page.evaluate("[...document.querySelectorAll('.entry')].map((one) => one.innerText)") == [
        "two …\n×",
        "one …\n×",
    ]
    page.evaluate("document.querySelectorAll('.entry .open')[1].click()")
    before = len(texts(page)[1])
    page.wait_for(f"document.querySelector('.assistant .text').textContent.length > {before + 5}")
    press_delete_all(page)
    assert kept(page) == []


def press_new(page: Page) -> None:
    page.evaluate("document.querySelector('[data-key=newChat]').click()")


def press_delete_all(page: Page) -> None:
    page.evaluate("document.getElementById('settingsButton').click()")
    page.evaluate("document.querySelector('[data-key=forgetAll]').click()")


def test_texts_are_shown_as_texts(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=4)
    say(page, HOSTILE)
    assert texts(page)[0] == HOSTILE
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    assert page.evaluate("document.title").startswith("<img src=x")


def test_what_the_model_reads_of_a_conversation(page: Page, server: ModelServer) -> None:
    begin(page, server)
    read = page.evaluate(
        """import("/page/conversation.js").then(({ Conversation }) => {
          const chat = new Conversation("chat"), reads = (last, system = true) =>
            chat.messages(last, system).map(({ role, content }) => `${role[0]}${content}`).join(" ");
          chat.system = "be brief";
          const one = chat.add(null, "user", "1"), failed = chat.add(one, "assistant", "");
          const two = chat.add(failed, "user", "22"), answer = chat.add(two, "assistant", "yes");
          const three = chat.add(answer, "user", "3"), all = [reads(one), reads(three), reads(three, false)];
          const trim = (share) => [chat.trim(three, share), reads(three)];
          const trims = [...trim(0.5), ...trim(0.1), chat.trim(three, 0.5)];
          const other = chat.add(null, "user", "another");
          return [...all, ...trims, reads(other), Conversation.read(chat.saved()).path().length];
        })"""
    )
    assert read == [
        "sbe brief u1",
        "sbe brief u22 ayes u3",
        "u22 ayes u3",
        True,
        "sbe brief u3",
        False,
        "sbe brief u3",
        False,
        "sbe brief uanother",
        1,
    ]


def test_blocks_of_a_text_that_grows(page: Page, server: ModelServer) -> None:
    begin(page, server)
    text = "Look:\n```py\nif a < b:\n    <b>\n\n``\n```\nand `this`\n\n~~~\n```\n~~~\n````\nopen"
    shown = page.evaluate(
        f"""import("/page/text_blocks.js").then(({{ TextBlocks }}) => {{
          const text = {json.dumps(text)}, growing = new TextBlocks(), whole = new TextBlocks();
          for (let i = 0; i <= text.length; i++) growing.show(text.slice(0, i));
          whole.show(text);
          const at = (one, name) => one.querySelector(name).textContent;
          const of = (blocks) => [...blocks.element.children].map((one) =>
            one.matches("p") ? one.textContent : [at(one, "span"), at(one, "code")]);
          return [of(growing), of(whole)];
        }})"""
    )
    assert shown[0] == shown[1]
    assert shown[1] == ["Look:", ["py", "if a < b:\n    <b>\n\n``"], "and `this`\n", ["code", "```"], ["code", "open"]]


# -- what goes wrong


@contextlib.contextmanager
def expected_errors(page: Page, count: int = 1) -> Iterator[None]:
    """The browser logs refused requests as errors, `count` of them, and perhaps later than the page knows of them."""
    yield
    end = time.monotonic() + PATIENCE
    while len(page.errors) < count and time.monotonic() < end:
        page.evaluate("new Promise((done) => setTimeout(done, 20))")
    assert ["Failed to load resource" in error for error in page.errors] == [True] * count, page.errors
    page.errors.clear()


def test_a_full_context_is_told_and_can_be_trimmed(page: Page, small: ModelServer) -> None:
    begin(page, small, maxTokens=8)
    for text in ("1" * 20, "2" * 20):
        say(page, text)
    with expected_errors(page):
        say(page, "3" * 20)
        page.wait_for("document.body.innerText.includes('more than the context of 128 tokens')")
    press(page, "way:trim")
    page.wait_for("document.body.innerText.includes('does not read the 4 messages above')")
    assert "more than the context" not in page.text()
    assert len(texts(page)) == 6 and kept(page)[0]["nodes"][-1]["end"] in ("stop", "length")
    with expected_errors(page, 2):
        say(page, "4" * 300)
        press(page, "way:trim")
        press(page, "way:trim")
        page.wait_for("document.body.innerText.includes('This message alone is longer than the context')")


def test_an_answer_that_fills_the_context_says_so(page: Page, tmp_path: Path) -> None:
    with served(model_of(tmp_path, always=LETTER_A)) as server:
        begin(page, server)
        say(page, "Hello")
        page.wait_for("document.body.innerText.includes('because the context of 128 tokens is full')")
        assert "128 of 128 tokens" in page.text()


def test_a_busy_server_and_one_that_has_ended(page: Page, endless: ModelServer) -> None:
    with served(endless.served, 1, 0) as server:  # one text at once, and nobody waits
        begin(page, server)
        say(page, "one", wait=False)
        page.wait_for("document.querySelector('.assistant .text')?.textContent.length > 3")
        press_new(page)
        with expected_errors(page):
            say(page, "two")
            page.wait_for("document.body.innerText.includes('The server is busy')")
        page.evaluate("document.querySelectorAll('.entry .open')[1].click()")
    page.wait_for(ANSWERED)
    assert "The server says: the server is ending" in page.text()
    with expected_errors(page):
        press(page, "way:retry")
        page.wait_for("document.body.innerText.includes('The server does not answer')")
    with served(endless.served, port=server.server_address[1]):
        page.evaluate("document.querySelector('[data-key=\"way:retry\"]').click()")
        page.wait_for("[...document.querySelectorAll('.assistant .text')].at(-1).textContent.length > 3")
        press(page, "send")


def test_a_server_with_another_model(page: Page, tmp_path: Path) -> None:
    folder = save_chat_model(tmp_path / "tiny")
    with served(ServedModel.open(folder, "one")) as first:
        begin(page, first, maxTokens=3)
        port = first.server_address[1]
    with served(ServedModel.open(folder, "two"), port=port):
        with expected_errors(page):
            say(page, "Hello")
            page.wait_for("document.body.innerText.includes('The server has another model now')")
        page.click("[data-key='way:reload']")
        page.wait_for("document.getElementById('summary')?.textContent === 'two'")
        press(page, "way:retry")
        assert kept(page)[0]["nodes"][-1]["end"] in ("stop", "length")


def test_a_key_is_asked_for_and_taken_from_the_address(page: Page) -> None:
    with served(api_key="secret") as server:
        page.open(server.address)
        page.evaluate("sessionStorage.clear()")
        with expected_errors(page, 3):
            page.open(server.address)
            page.wait_for("document.activeElement.dataset.key === 'key'")
            page.write("wrong")
            page.press("Enter")
            page.wait_for("document.querySelector('[data-key=key]')?.value === ''")
        page.write("secret")
        page.press("Enter")
        page.wait_for("document.activeElement.dataset.key === 'message'")
        assert page.evaluate("JSON.stringify(localStorage).includes('secret')") is False
        page.evaluate("sessionStorage.clear()")
        page.open(f"{server.address}#key=secret")
        assert "secret" not in page.evaluate("location.href")
        page.wait_for("document.activeElement.dataset.key === 'message'")


# -- the history


def test_what_is_damaged_in_the_storage_harms_nothing_else(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=4)
    say(page, "a whole one")
    whole = json.dumps(kept(page)[0])
    damaged = ["", "{", "[]", "null", "7", '{"nodes": 3}', whole.replace('"parent": 0', '"parent": 9'), whole[:-9]]
    damaged += [whole.replace('"role": "user"', '"role": "root"'), whole.replace('"chosen": {', '"chosen": {"7": 1, ')]
    page.evaluate(
        f"{json.dumps(damaged)}.forEach((text, i) => (localStorage[`tinygrad-llm.chat.${{i}}`] = text));"
        'localStorage[\'tinygrad-llm.settings\'] = \'{"temperature": "hot", "seed": -3, "maxTokens": 4}\''
    )
    page.open(server.address)
    assert page.evaluate("document.querySelectorAll('.entry').length") == 1
    say(page, "another one")
    assert page.evaluate("document.querySelectorAll('.entry').length") == 2
    assert "temperature 0.7" in page.text()
    press_delete_all(page)
    assert page.evaluate("Object.keys(localStorage)") == ["tinygrad-llm.settings"]
    assert "2 conversations are deleted" in page.text()
    page.click("[data-key=way]")
    assert len(kept(page)) == 2


def test_a_full_storage_drops_the_oldest_and_then_says_so(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=4)
    say(page, "the oldest")
    filled = (
        "(() => { let size = 4e6; for (let i = 0; size > 10; i++) {"
        " try { localStorage[`other${i}`] = 'x'.repeat(size); } catch { size = Math.floor(size / 2); } } })()"
    )
    page.evaluate(filled)
    press_new(page)
    say(page, "the newest")
    assert [texts_of["nodes"][0]["content"] for texts_of in kept(page)] == ["the newest"]
    page.evaluate(filled)
    say(page, "more " * 50)
    page.wait_for("document.getElementById('notice').textContent.includes('storage is full')")
    assert texts(page)[2].startswith("more more")


def test_the_history_is_bounded(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=4)
    page.evaluate(
        """(() => { for (let i = 0; i < 120; i++) localStorage[`tinygrad-llm.chat.${i}`] = JSON.stringify({
          id: String(i), kind: "text", changed: i, system: "", text: `text ${i}`, nodes: [], chosen: {}, from: 0 });
        })()"""
    )
    page.open(server.address)
    say(page, "one more")
    assert len(kept(page)) == 100
    assert {one["id"] for one in kept(page) if one["kind"] == "text"} == {str(i) for i in range(21, 120)}
    assert "21 of the oldest conversations made room" in page.text()


def test_one_conversation_is_deleted_and_comes_back(page: Page, server: ModelServer) -> None:
    begin(page, server, maxTokens=4)
    say(page, "to be deleted")
    before = texts(page)
    page.evaluate("document.querySelector('[data-key^=delete]').click()")
    assert kept(page) == [] and texts(page) == []
    page.click("[data-key=way]")
    assert texts(page) == before and len(kept(page)) == 1


# -- texts


def test_a_base_model_continues_a_text(page: Page, tmp_path: Path) -> None:
    with served(model_of(tmp_path, template=None)) as server:
        begin(page, server, maxTokens=12, seed=4)
        assert page.evaluate("document.querySelector('[data-key=newChat]')") is None
        page.click("[data-key=text]")
        page.write("Once upon a time")
        page.click("[data-key=send]")
        page.wait_for(f"{ANSWERED} && document.querySelector('[data-key=text]').value.length > 20")
        answer = ask(
            server, "/v1/completions", prompt="Once upon a time", max_tokens=12, seed=4, temperature=0.7, logprobs=8
        )
        text = answer["choices"][0]["text"]
        assert page.evaluate("document.querySelector('[data-key=text]').value") == f"Once upon a time{text}".replace(
            "\r", "\n"
        )
        assert page.evaluate("document.querySelectorAll('[data-token]').length") == len(
            answer["choices"][0]["logprobs"]["tokens"]
        )
        page.click('[data-token="0"]')
        page.evaluate("document.querySelector('.bar').click()")
        page.wait_for(ANSWERED)
        press(page, "undo")
        press(page, "newText")
        assert page.evaluate("document.querySelectorAll('.entry').length") == 1
        (text,) = kept(page)
        assert text["kind"] == "text" and text["text"].startswith("Once upon a time")
