"""Watch a GPT learn, and look inside it, in the browser."""

from __future__ import annotations

import argparse
import contextlib
import sys
import webbrowser
from pathlib import Path

from tinygrad_llm.cli.flags import expect_file_can_be_made
from tinygrad_llm.cli.interruption import interruption
from tinygrad_llm.cli.port import add_port, expect_port, refusal_of_port
from tinygrad_llm.errors import TinygradLLMError
from tinygrad_llm.lab.kept_state import bring_back, keep_state
from tinygrad_llm.lab.opening import open_lab
from tinygrad_llm.lab.requests import answer
from tinygrad_llm.lab.saving import save_page
from tinygrad_llm.lab.server import LabServer, serving
from tinygrad_llm.lab.session import Session
from tinygrad_llm.runs.status_line import StatusLine
from tinygrad_llm.study.formatting import format_bytes

SECONDS_TO_PAUSE, SECONDS_TO_SAVE = 0.2, 0.4  # when the lab ends


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Train a small GPT in the browser: play, pause, go back to any step, edit it, and look inside it. The lab "
        "listens on 127.0.0.1 alone, and its address holds a random token. Ctrl-C ends it."
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="PATH",
        help="run folder, Hugging Face folder or GGUF file of a language model (default: a new GPT of 30,000 "
        "parameters)",
    )
    parser.add_argument(
        "--data", metavar="PATH", help="a UTF-8 text file, folder or glob to train on (default: Python's documentation)"
    )
    add_port(parser, 0)
    parser.add_argument("--no-open", action="store_true", help="do not open the address in a browser")
    parser.add_argument(
        "--save", type=Path, metavar="FILE", help="at the end, write what is seen as one HTML page of at most 5 MB"
    )


def run(arguments: argparse.Namespace) -> int:
    expect_port(arguments.port)
    expect_file_can_be_made("--save", arguments.save)
    with StatusLine(sys.stderr).working("opening the lab"):
        session = open_lab(arguments.model, arguments.data)
        notice = "" if session.keep_in is None else bring_back(session, *session.keep_in)
    if notice:
        print(notice, file=sys.stderr)
    session.save_to = arguments.save
    try:
        server = LabServer(session, arguments.port)
    except OSError as error:
        raise refusal_of_port(arguments.port, "127.0.0.1", error) from None
    with interruption() as interrupted, serving(server) as owner:
        address = f"{server.address}#{session.seen.fragment}".removesuffix("#")
        print(address, flush=True)
        if not arguments.no_open:
            _open(address)
        while owner.is_alive() and not interrupted.wait(0.2):
            pass
        _save(session, arguments.save)
    if session.failure is not None:
        raise session.failure
    return 0


def _save(session: Session, page: Path | None) -> None:
    """Write what is seen to `page`, and where the training of a run is into its folder.

    In the middle of a long step nothing can be computed: what was answered and kept before is written.
    """
    try:
        session.ask(session.stand_still, SECONDS_TO_PAUSE)
        seconds = SECONDS_TO_SAVE
    except (TinygradLLMError, TimeoutError):
        seconds = 0.0
    if page is not None:
        saved = save_page(session, answer, page, seconds)
        left_out = f"; {len(saved['leftOut'])} answers are left out" if saved["leftOut"] else ""
        print(f"saved {format_bytes(saved['bytes'])} in {page}{left_out}", file=sys.stderr)
    if session.keep_in is not None and (kept := keep_state(session, *session.keep_in, seconds)):
        print(f"saved the lab's state in {kept}; the run is as it was", file=sys.stderr)


def _open(address: str) -> None:
    """Open the address in a browser with a window; one in this terminal would hide the lab and wait for its end."""
    with contextlib.suppress(webbrowser.Error):
        browser = webbrowser.get()
        if type(browser) is not webbrowser.GenericBrowser:
            browser.open(address)
