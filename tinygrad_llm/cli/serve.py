"""Serve a model on this machine: a page to chat in, and OpenAI's endpoints."""

from __future__ import annotations

import argparse
import json
import os
import sys

from tinygrad_llm.checks import expect_count
from tinygrad_llm.cli.interruption import interruption
from tinygrad_llm.cli.port import add_port, expect_port, refusal_of_port
from tinygrad_llm.cli.run_argument import add_model_argument, chosen_run
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.generate.continuous_batch import MOST_ROWS
from tinygrad_llm.runs.status_line import StatusLine
from tinygrad_llm.serve.engine import Engine
from tinygrad_llm.serve.served_model import ServedModel
from tinygrad_llm.serve.server import CHAT, COMPLETIONS, ModelServer, is_loopback, serving
from tinygrad_llm.terminal import for_terminal

KEY_VARIABLE = "TINYGRAD_LLM_API_KEY"
USUAL_PORT = 8000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Serve a model: a page to chat in, and OpenAI's endpoints /v1/models, /v1/completions and "
        "/v1/chat/completions. Requests that come together are decoded in one batch. It listens on 127.0.0.1 unless "
        "--host says otherwise, which needs an API key. Ctrl-C ends it."
    )
    add_model_argument(parser, "a language model")
    add_port(parser, USUAL_PORT)
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen at (default: 127.0.0.1, this machine alone; 0.0.0.0: every network, unencrypted)",
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"key that clients must send; other users of this machine see it in `ps`, so better set ${KEY_VARIABLE}",
    )
    parser.add_argument("--name", metavar="NAME", help="the model's id for clients (default: that of its folder)")
    parser.add_argument(
        "--max-batch", type=int, default=8, metavar="N", help="texts that are decoded together (default: 8)"
    )
    parser.add_argument(
        "--max-waiting",
        type=int,
        default=32,
        metavar="N",
        help="requests that may wait for their turn; more are refused with status 429 (default: 32)",
    )
    parser.add_argument(
        "--max-seconds",
        type=float,
        default=600,
        metavar="X",
        help="time of a request, in seconds; an answer that takes longer is cut off (default: 600)",
    )
    parser.add_argument("--log", action="store_true", help="print a line for every response on standard error")


def run(arguments: argparse.Namespace) -> int:
    expect_port(arguments.port)
    expect_count("serve", "--max-batch", arguments.max_batch, at_least=1)
    expect_count("serve", "--max-waiting", arguments.max_waiting, at_least=0)
    if arguments.max_batch > MOST_ROWS:
        raise ConfigError(f"--max-batch must be at most {MOST_ROWS}; got {arguments.max_batch}")
    if not 0 < arguments.max_seconds < 1e9:
        raise ConfigError(f"--max-seconds must be above 0 and below 1e9; got {arguments.max_seconds}")
    if arguments.name == "":
        raise ConfigError("--name must have at least one character; got ''")
    key = _api_key(arguments)
    if key is None and not is_loopback(arguments.host):
        raise ConfigError(
            f"--host {arguments.host} lets other machines in, and needs an API key: set ${KEY_VARIABLE} to a long "
            "random text, or leave --host out"
        )
    path = chosen_run(arguments.model, "serve")
    with StatusLine(sys.stderr).working(f"loading {path}"):
        served = ServedModel.open(path, arguments.name)
    engine = Engine(served.model, arguments.max_batch, arguments.max_waiting, arguments.max_seconds)
    try:
        server = ModelServer(served, engine, arguments.host, arguments.port, key, arguments.log)
    except OSError as error:
        raise refusal_of_port(arguments.port, arguments.host, error) from None
    with interruption() as interrupted, serving(server):
        print(for_terminal(_greeting(server)), flush=True)
        while not interrupted.wait(0.2):
            pass
    return 0


def _api_key(arguments: argparse.Namespace) -> str | None:
    """The key of --api-key, or else of the environment. Raises: ConfigError for one that a header cannot carry"""
    key = os.environ.get(KEY_VARIABLE) if arguments.api_key is None else arguments.api_key
    if key is not None and not (key and key.isascii() and key.isprintable() and " " not in key):
        name = f"${KEY_VARIABLE}" if arguments.api_key is None else "--api-key"
        raise ConfigError(f"{name} must be of printable ASCII characters, without spaces; got one that is not")
    return key


def _greeting(server: ModelServer) -> str:
    """Where the server is, and how to call it."""
    served, address = server.served, server.address
    path, fields = CHAT, {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
    page = f"a page to chat in: {address}"
    if served.chat is None:
        path, fields = COMPLETIONS, {"prompt": "The ", "max_tokens": 50, "stream": True}
        page = f"it continues texts, and has no form of a conversation; a page to try it: {address}"
    key = "" if server.api_key is None else f' -H "Authorization: Bearer ${KEY_VARIABLE}"'
    return (
        f"{served.name}: {served.model.num_parameters():,} parameters\n{page}\n"
        f"for clients of OpenAI's API: {address}v1\n"
        f"curl -N {address[:-1]}{path} -H 'Content-Type: application/json'{key} -d '{json.dumps(fields)}'\n"
        "Ctrl-C ends it."
    )
