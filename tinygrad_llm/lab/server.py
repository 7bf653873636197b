"""The lab's server: the page, its requests and its events, over HTTP on 127.0.0.1.

    GET  /TOKEN/            the page
    GET  /TOKEN/main.js     a file of it
    POST /TOKEN/api/look    a request (requests.py), with a JSON body
    GET  /TOKEN/api/events  server-sent events: where the training is, and the records of its steps

Every connection has a thread; what a request computes is computed by the owner's thread alone.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.formats.strict_json import parse_json
from tinygrad_llm.lab import guard
from tinygrad_llm.lab.chat import FIELDS, Answer
from tinygrad_llm.lab.events import events
from tinygrad_llm.lab.owner import Ended
from tinygrad_llm.lab.requests import REQUESTS, answer
from tinygrad_llm.lab.session import Session
from tinygrad_llm.lab.training_session import NotPossible
from tinygrad_llm.web.body import Body
from tinygrad_llm.web.connections import BoundedServer
from tinygrad_llm.web.handler import Handler
from tinygrad_llm.web.page_files import page_file

CHAT = "chat"  # the one request whose answer is a stream


class LabServer(BoundedServer):
    """Serves `session` on 127.0.0.1; `port` 0 takes a free one. Raises: OSError if the port is taken"""

    def __init__(self, session: Session, port: int = 0) -> None:
        self.session, self.token = session, guard.new_token()
        self.ending = threading.Event()
        super().__init__(("127.0.0.1", port), LabHandler)

    @property
    def address(self) -> str:
        """The whole address of the page, with its token."""
        return f"http://127.0.0.1:{self.server_address[1]}/{self.token}/"


class LabHandler(Handler):
    """One connection."""

    server: LabServer
    server_version = "tinygrad-llm-lab"

    def do_GET(self) -> None:
        path = self._path()
        if path is None:
            return
        if path == "api/events":
            self._send_events()
        elif path.removeprefix("api/") in REQUESTS:
            self.refuse(405, "requests are sent with POST")
        elif file := page_file("lab", path or "index.html"):
            self.send(200, *file)
        else:
            self.refuse(404, "the lab has no such page")

    def do_POST(self) -> None:
        path = self._path()
        if path is None:
            return
        body = self.read_body()
        if body is None:
            return
        name = path.removeprefix("api/")
        if path == name or (name not in REQUESTS and name != CHAT):
            self.refuse(404, "the lab has no such request")
            return
        try:
            if name == CHAT:
                self._send_chat(Body(name, FIELDS, parse_json(body, name)))
                return
            found = answer(self.server.session, name, parse_json(body, name))
            self.server.session.seen.remember(name, body.decode(), found)
            self.send(200, "application/octet-stream", found)
        except NotPossible as error:
            self.refuse(409, str(error))
        except Ended as error:
            self.refuse(503, str(error))
        except TinygradLLMError as error:
            self.refuse(400, str(error))
        except MemoryError:
            self.refuse(409, "there is not enough memory for this")
        except OSError:
            raise  # the connection has broken
        except Exception as error:  # such as code with a mistake of the fault lab makes
            self.refuse(500, f"{type(error).__name__}: {error}")

    def _other_method(self) -> None:
        if self._path() is not None:
            self.refuse(405, "the lab takes GET and POST")

    do_HEAD = do_PUT = do_DELETE = do_OPTIONS = do_PATCH = do_TRACE = do_CONNECT = _other_method

    # -- reading

    def _path(self) -> str | None:
        """What follows the token in the path; None if the request is refused."""
        hosts, origins = self.headers.get_all("Host", []), self.headers.get_all("Origin", [])
        if reason := guard.refusal(self.server.token, self.path, hosts, origins):
            self.refuse(403, reason)
            return None
        after = self.path.lstrip("/")[len(self.server.token) :].partition("?")[0]
        if not after.startswith("/"):  # relative addresses of the page need the slash
            self.send(308, "text/plain; charset=utf-8", b"", {"Location": f"/{self.server.token}/"})
            return None
        return after[1:]

    # -- writing

    def refuse(self, status: int, reason: str) -> None:
        self.close_connection = True  # a body that was not read must not be taken for the next request
        text = json.dumps({"error": reason}).encode()
        self.send(status, "application/json", text, {"Connection": "close"})

    def _send_chat(self, body: Body) -> None:
        """An answer as it is generated. It ends with the connection: what nobody reads is not generated."""
        session = self.server.session
        chat = session.ask(lambda: Answer(session, body))
        self.begin_events()
        more: dict[str, Any] = {}
        while not more.get("done"):
            try:
                more = session.ask(chat.more)
            except TinygradLLMError as error:
                more = {"error": str(error), "done": True, "why": "error"}
            self.wfile.write(f"data: {json.dumps(more)}\n\n".encode())

    def _send_events(self) -> None:
        self.begin_events()
        for event in events(self.server.session, self.server.ending):
            self.wfile.write(event)


@contextlib.contextmanager
def serving(server: LabServer) -> Iterator[threading.Thread]:
    """The threads of the lab run inside the block: one serves, one owns the model, which this yields."""
    owner = threading.Thread(target=server.session.run, name="owner of the model", daemon=True)
    acceptor = threading.Thread(target=server.serve_forever, args=(0.05,), name="server", daemon=True)
    owner.start()
    acceptor.start()
    try:
        yield owner
    finally:
        server.ending.set()
        server.session.owner.end()
        with server.session.news:
            server.session.news.notify_all()
        server.shutdown()
        server.server_close()
        owner.join(0.1)
