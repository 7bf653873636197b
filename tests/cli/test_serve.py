"""The command: what it prints, what it refuses, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tiny_chat import save_chat_model

from tinygrad_llm.cli import main, serve
from tinygrad_llm.cli.serve import KEY_VARIABLE
from tinygrad_llm.serve.server import ModelServer


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chat_model(tmp_path_factory.mktemp("serve") / "tiny")


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


def refusal(capsys: pytest.CaptureFixture[str], model: Path, *words: object) -> str:
    assert main(["serve", "--model", model, *words]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len([line for line in lines if line]) == 1
    return lines[-1]


def test_wrong_settings_are_refused(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    for words, message in (
        (("--port", 65_536), "--port must be in 0..65535; got 65536"),
        (("--port", -1), "--port must be in 0..65535; got -1"),
        (("--max-batch", 0), "--max-batch must be an integer in [1, 64]; got 0"),
        (("--max-batch", 65), "--max-batch must be an integer in [1, 64]; got 65"),
        (("--max-waiting", -1), "--max-waiting must be an integer of at least 0; got -1"),
        (("--max-seconds", "nan"), "--max-seconds must be"),
        (("--name", ""), "--name must have at least one character"),
        (("--api-key", "two words"), "--api-key must be of printable ASCII characters"),
        (("--api-key", ""), "--api-key must be of printable ASCII characters"),
        (("--host", "0.0.0.0"), f"needs an API key: set ${KEY_VARIABLE}"),
        (("--host", "::"), "needs an API key"),
        (("--host", "no.such.host.invalid", "--api-key", "k"), "cannot be used"),
    ):
        assert message in refusal(capsys, model, *words), words


def test_a_port_in_use_is_named_with_the_fix(capsys: pytest.CaptureFixture[str], model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refusal(capsys, model, "--port", port)
    assert f"--port {port} of 127.0.0.1 cannot be used: Address already in use; give another --port" in message


def test_a_model_that_is_missing_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "nothing" in refusal(capsys, tmp_path / "nothing")


class Server:
    """A process that serves, and its address."""

    def __init__(self, model: Path, *words: str, key: str | None = None) -> None:
        program = [sys.executable, "-m", "tinygrad_llm", "serve", "--model", str(model), "--port", "0", *words]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"} | ({} if key is None else {KEY_VARIABLE: key})
        self.process = subprocess.Popen(
            program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        assert self.process.stdout is not None
        self.greeting = ""
        while "Ctrl-C" not in self.greeting:
            self.greeting += (line := self.process.stdout.readline())
            assert line, "the server has ended"
        found = re.search(r"http://\S+:[0-9]+/", self.greeting)
        assert found is not None
        self.address = found[0]

    def end(self, sign: int) -> tuple[int, str]:
        """Send a signal; the exit code, and what was printed on standard error."""
        self.process.send_signal(sign)
        _, error = self.process.communicate(timeout=300)
        return self.process.returncode, error


@pytest.fixture
def server(model: Path) -> Iterator[Server]:
    server = Server(model, "--log")
    yield server
    server.process.kill()
    server.process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_the_greeting_can_be_followed_and_a_signal_ends_it_in_the_middle_of_a_stream(server: Server) -> None:
    command = server.greeting.splitlines()[3]
    assert command.startswith("curl -N ") and f"{server.address}v1/chat/completions" in command
    fields = json.loads(command.rpartition(" -d ")[2].strip("'"))
    assert fields["stream"]
    body = json.dumps({**fields, "n": 8}).encode()
    request = urllib.request.Request(f"{server.address}v1/chat/completions", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        first = response.readline()
        code, error = server.end(signal.SIGTERM)
        rest = response.read()
    assert json.loads(first.removeprefix(b"data: "))["object"] == "chat.completion.chunk"
    assert b"[DONE]" in rest or b"the server is ending" in rest
    assert code == 0 and "POST /v1/chat/completions 200" in error and "Traceback" not in error


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_an_idle_server_ends_at_once(model: Path, sign: int) -> None:
    assert Server(model).end(sign) == (0, "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
def test_the_key_comes_from_the_environment(model: Path) -> None:
    server = Server(model, "--host", "0.0.0.0", key="a-secret")
    assert f'-H "Authorization: Bearer ${KEY_VARIABLE}"' in server.greeting and "a-secret" not in server.greeting
    address = server.address.replace("0.0.0.0", "127.0.0.1") + "v1/models"
    with urllib.request.urlopen(urllib.request.Request(address, headers={"Authorization": "Bearer a-secret"})) as found:
        assert json.load(found)["data"][0]["id"] == "tiny"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(address)
    assert server.end(signal.SIGINT)[0] == 0


def test_an_interruption_while_nothing_runs(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(server: ModelServer, greeting: Callable[[ModelServer], str] = serve._greeting) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return greeting(server)

    monkeypatch.setattr(serve, "_greeting", interrupted)
    assert main(["serve", "--model", str(model), "--port", "0"]) == 0
    assert "Ctrl-C ends it." in capsys.readouterr().out
