"""`--port`: where a command listens."""

from __future__ import annotations

import argparse
import errno

from tinygrad_llm.errors import ConfigError

HIGHEST_PORT = 65_535


def add_port(parser: argparse.ArgumentParser, usual: int) -> None:
    words = "0, a free one" if usual == 0 else f"{usual}; 0: a free one, which is printed"
    parser.add_argument("--port", type=int, default=usual, metavar="N", help=f"port to listen at (default: {words})")


def expect_port(port: int) -> None:
    """Raises: ConfigError for a number that is no port"""
    if not 0 <= port <= HIGHEST_PORT:
        raise ConfigError(f"--port must be in 0..{HIGHEST_PORT}; got {port}")


def refusal_of_port(port: int, host: str, error: OSError) -> ConfigError:
    """The error for a port at which the command cannot listen."""
    fix = "; give another --port, or --port 0 for a free one" if error.errno in (errno.EADDRINUSE, errno.EACCES) else ""
    return ConfigError(f"--port {port} of {host} cannot be used: {error.strerror or error}{fix}")
