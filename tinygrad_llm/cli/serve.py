"""Serve a model on this machine: a page to chat in, and OpenAI's endpoints."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys

from tinygrad_llm.cli.flags import add_flags
from tinygrad_llm.cli.interruption import interruption
from tinygrad_llm.cli.port import add_port, expect_free, expect_port, refusal_of_port
from tinygrad_llm.cli.run_argument import add_model_argument, chosen_run
from tinygrad_llm.errors import ConfigError
from tinygrad_llm.runs.status_line import StatusLine
from tinygrad_llm.serve.engine import Engine
from tinygrad_llm.serve.served_model import ServedModel
from tinygrad_llm.serve.server import CHAT, COMPLETIONS, ModelServer, is_loopback, serving
from tinygrad_llm.serve.settings import ServingSettings
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
        help="address to listen at; 127.0.0.1: for this machine alone; 0.0.0.0: for every network, unencrypted",
    )
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"key that clients must send; other users of this machine see it in `ps`, so better set ${KEY_VARIABLE}",
    )
    parser.add_argument("--name", metavar="NAME", help="the model's id for clients (default: that of its folder)")
    add_flags(parser, ServingSettings())
    parser.add_argument("--log", action="store_true", help="print a line for every response on standard error")


def run(arguments: argparse.Namespace) -> int:
    expect_port(arguments.port)
    given = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(ServingSettings)}
    settings = ServingSettings.from_dict({name: value for name, value in given.items() if value is not None})
    if arguments.name == "":
        raise ConfigError("--name must have at least one character; got ''")
    key = _api_key(arguments)
    if key is None and not is_loopback(arguments.host):
        raise ConfigError(
            f"--host {arguments.host} lets other machines in, and needs an API key: set ${KEY_VARIABLE} to a long "
            "random text, or leave --host out"
        )
    expect_free(arguments.host, arguments.port)
    path = chosen_run(arguments.model, "serve")
    with StatusLine(sys.stderr).working(f"loading {path}"):
        served = ServedModel.open(path, arguments.name)
    try:
        server = ModelServer(served, Engine(served.model, settings), arguments.host, arguments.port, key, arguments.log)
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
        raise ConfigError(
            f"{name} must be of printable ASCII characters, at least one, without spaces; the given one is not"
        )
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
