"""Watch a GPT learn, and look inside it, in the browser."""

from __future__ import annotations

import argparse
import contextlib
import sys
import webbrowser
from pathlib import Path

from tinygrad_llm.cli.flags import expect_file_can_be_made
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.lab.opening import open_lab
from tinygrad_llm.lab.server import LabServer, serving
from tinygrad_llm.runs.status_line import StatusLine

HIGHEST_PORT = 65_535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("what to look at (default: a small GPT that learns Python's documentation)")
    source.add_argument(
        "--model", type=Path, metavar="DIR", help="run folder of a language model, or a checkpoint in it"
    )
    source.add_argument("--data", metavar="PATH", help="a UTF-8 text file, folder or glob to train on")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of 127.0.0.1 (default: 0, a free one)")
    parser.add_argument("--no-open", action="store_true", help="do not open the address in a browser")
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="at the end, write what is seen as one HTML page of at most 5 MB"
    )


def run(arguments: argparse.Namespace) -> int:
    if not 0 <= arguments.port <= HIGHEST_PORT:
        raise ConfigError(f"--port must be in 0..{HIGHEST_PORT}; got {arguments.port}")
    expect_file_can_be_made("--save", arguments.save)
    with StatusLine(sys.stderr).working("opening the lab"):
        session = open_lab(arguments.model, arguments.data)
    session.save_to = arguments.save
    try:
        server = LabServer(session, arguments.port)
    except OSError as error:
        raise ConfigError(f"--port {arguments.port} of 127.0.0.1 cannot be used: {error.strerror}") from None
    with serving(server) as owner:
        print(server.address, flush=True)
        if not arguments.no_open:
            with contextlib.suppress(webbrowser.Error):
                webbrowser.open(server.address)
        with contextlib.suppress(KeyboardInterrupt):
            owner.join()
    return 0
