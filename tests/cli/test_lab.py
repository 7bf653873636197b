"""The command lab: a process that serves, and ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tiny_base import call

from tinygrad_llm.lab.packing import unpack


def begin(folder: Path, *flags: str) -> tuple[subprocess.Popen, str]:
    """A lab in a process of its own, and the one line that it prints."""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    lab = subprocess.Popen(
        [sys.executable, "-m", "tinygrad_llm", "lab", "--no-open", *flags],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    return lab, lab.stdout.readline().strip()


def post(address: str, name: str, fields: dict) -> dict:
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=300)
    connection.request("POST", f"{parts.path}api/{name}", json.dumps(fields), {"Content-Type": "application/json"})
    response = connection.getresponse()
    assert response.status == 200
    found = unpack(response.read())
    connection.close()
    return found


@pytest.mark.parametrize("sign", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_ctrl_c_ends_the_lab_while_it_plays_and_saves_what_is_seen(sign: signal.Signals, tmp_path: Path) -> None:
    lab, address = begin(tmp_path, "--save", "page.html")
    try:
        assert address.startswith("http://127.0.0.1:") and len(urlsplit(address).path) > 30
        post(address, "play", {})
        assert post(address, "look", {"prompt": "the "})["loss"] > 0
        lab.send_signal(sign)
        rest, errors = lab.communicate(timeout=300)
    finally:
        lab.kill()
    assert (lab.returncode, rest) == (0, "")
    assert "saved" in errors and "page.html" in errors and "Traceback" not in errors
    assert 10_000 < (tmp_path / "page.html").stat().st_size <= 5_000_000


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--port", "-1"], "--port must be in 0..65535; got -1"),
        (["--port", "65536"], "--port must be in 0..65535"),
        (["--save", "nowhere/page.html"], "--save"),
        (["--save", "."], "--save"),
        (["--data", "nothing.txt"], "nothing.txt"),
        (["--data", "empty.txt"], "empty.txt"),
        (["--data", "short.txt"], "must give more than 64"),
        (["--model", "nothing"], "nothing"),
        (["--model", "."], "no run"),
    ],
)
def test_misuse_is_one_line(
    flags: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("  \n")
    (tmp_path / "short.txt").write_text("a text")
    code, said, errors = call(capsys, "lab", "--no-open", *flags)
    assert (code, said) == (2, "")
    assert len(errors) == 1 and message in errors[0]


def test_a_port_that_is_taken_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        code, _, errors = call(capsys, "lab", "--no-open", "--port", port)
    assert code == 2
    assert f"--port {port} of 127.0.0.1 cannot be used" in errors[0]
