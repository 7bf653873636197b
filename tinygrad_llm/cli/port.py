"""`--port`: where a command listens."""

from __future__ import annotations

import argparse
import errno
import socket

from tinygrad_llm.errors import ConfigError

HIGHEST_PORT = 65_535


def add_port(parser: argparse.ArgumentParser, usual: int) -> None:
    """`--port`, whose default is `usual`."""
    parser.add_argument(
        "--port", type=int, default=usual, metavar="N", help="port to listen at; 0: a free one, which is printed"
    )


def expect_port(port: int) -> None:
    """Raises: ConfigError for a number that is no port"""
    if not 0 <= port <= HIGHEST_PORT:
        raise ConfigError(f"--port must be in 0..{HIGHEST_PORT}; got {port}")


def expect_free(host: str, port: int) -> None:
    """Refuse an address that cannot be used before the work for it is done. Raises: ConfigError"""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        raise refusal_of_port(port, host, error) from None


def refusal_of_port(port: int, host: str, error: OSError) -> ConfigError:
    """The error for a port at which the command cannot listen."""
    fix = "; give another --port, or --port 0 for a free one" if error.errno in (errno.EADDRINUSE, errno.EACCES) else ""
    reason = (error.strerror or str(error)).partition(" (while")[0]  # `socket.create_server` adds the address
    return ConfigError(f"--port {port} of {host} cannot be used: {reason}{fix}")
