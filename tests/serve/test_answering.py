"""Answers that must wait for their turn."""

import json
import threading

import pytest
from tiny_server import CHAT, COMPLETIONS, send, served, stream, text_of

from tinygrad_llm.serve import answering, server


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
def test_a_stream_that_waits_sends_comments_and_then_the_answer(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(answering, "SECONDS_BETWEEN_LOOKS", 0.002)
    monkeypatch.setattr(server, "SECONDS_BETWEEN_PINGS", 0.004)
    turn = threading.Event()
    with served() as one:
        step = one.engine._continue_all
        monkeypatch.setattr(one.engine, "_continue_all", lambda: turn.wait(60) and step())
        ping = server.ModelHandler._ping

        def noted(handler: server.ModelHandler) -> None:
            before = handler._last_event
            ping(handler)
            if handler._last_event != before:
                turn.set()

        monkeypatch.setattr(server.ModelHandler, "_ping", noted)
        fields = {"prompt": "Hello"} if path == COMPLETIONS else {"messages": [{"role": "user", "content": "Hello"}]}
        body = send(one, path, {**fields, "stream": True, "seed": 3, "max_tokens": 4})[2].decode()
        events = [part for part in body.split("\n\n") if part]
        assert ": reading" in events and events[-1] == "data: [DONE]"
        chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1] if event.startswith("data: ")]
        assert text_of(chunks) == text_of(stream(one, path, **fields, max_tokens=4, seed=3))
