"""A lab with a GPT small enough to train hundreds of steps in a test, and a client of its server."""

import dataclasses
import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tinygrad_llm import manual_seed
from tinygrad_llm.lab.beginnings import SETTINGS, Beginning, encoded_text, new_trainer
from tinygrad_llm.lab.packing import unpack
from tinygrad_llm.lab.requests import answer
from tinygrad_llm.lab.server import LabServer, serving
from tinygrad_llm.lab.session import Session
from tinygrad_llm.models import GPT, GPTConfig
from tinygrad_llm.text import CharTokenizer
from tinygrad_llm.train import Trainer, TrainingSettings

TEXT = "the lab shows how a small model learns; every number has a reason, and every step can be taken again. " * 12
PROMPT = "the lab shows how a"  # 19 tokens
QUICK = dataclasses.replace(SETTINGS, batch_size=2, warmup_steps=3, eval_interval=5, eval_batches=1)


def tiny_beginning(settings: TrainingSettings = QUICK, **changes: Any) -> Beginning:
    tokenizer = CharTokenizer.train(TEXT)
    sizes = {"context_length": 24, "embedding_dim": 8, "num_heads": 2, "num_layers": 2, "dropout": 0.2}
    config = GPTConfig.from_dict({**sizes, "vocab_size": tokenizer.vocab_size, "tie_weights": True, **changes})
    text = encoded_text("a text", TEXT, tokenizer, config.context_length)

    def start() -> Trainer:
        manual_seed(0)
        return new_trainer(GPT(config, init="gpt2"), text, settings)

    return Beginning("a tiny GPT", start().model, tokenizer, lambda: text, start, starts_at_once=True, prompt=PROMPT)


class Asking:
    """A session whose owner runs; `ask.look(prompt=...)` returns the head of an answer."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def __getattr__(self, name: str) -> Any:
        return lambda **fields: unpack(answer(self.session, name, fields))


@contextmanager
def asking(beginning: Beginning | None = None, session: Session | None = None) -> Iterator[Asking]:
    session = Session(beginning or tiny_beginning()) if session is None else session
    session.sample_every = 0
    thread = threading.Thread(target=session.run, daemon=True)
    thread.start()
    try:
        yield Asking(session)
    finally:
        session.owner.end()
        thread.join(60)
    if session.failure is not None:
        raise session.failure


@contextmanager
def served(session: Session | None = None) -> Iterator[LabServer]:
    server = LabServer(Session(tiny_beginning()) if session is None else session)
    with serving(server):
        yield server


def send(
    server: LabServer, path: str, body: Any = None, method: str = "POST", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request; `path` follows the token, unless it begins with a slash. Returns status, headers and body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    where = path if path.startswith("/") else f"/{server.token}/{path}"
    connection.request(method, where, raw, {"Content-Type": "application/json", **(headers or {})})
    response = connection.getresponse()
    found = response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
    connection.close()
    return found
