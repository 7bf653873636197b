"""Who may talk to a server of this machine: no page of another origin, and nobody under a rebound name.

A foreign web page can make a browser send requests to 127.0.0.1. The Origin header names that page; if its name was
rebound to 127.0.0.1 (DNS rebinding), the Host header has this name.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence

# Names of this machine, on any port: a tunnel may use another than ours.
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{0,5})?", re.ASCII | re.IGNORECASE)
OWN_ORIGIN = re.compile(rf"http://{LOOPBACK.pattern}", re.ASCII | re.IGNORECASE)
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def refusal(hosts: Sequence[str], origins: Sequence[str]) -> str:
    """Why a request to a loopback address is refused, "" if it is not. Both are all values of these headers."""
    if len(hosts) != 1 or not LOOPBACK.fullmatch(hosts[0]):
        return "Host must be a name of this machine, such as 127.0.0.1 or localhost"
    if len(origins) > 1 or (origins and not OWN_ORIGIN.fullmatch(origins[0])):
        return "requests of pages from elsewhere are refused: Origin must be this machine, or absent"
    return ""


def foreign_origin(hosts: Sequence[str], origins: Sequence[str]) -> str:
    """Why a request to an address of the network is refused, "" if it is not: Origin must be absent, or name the Host.

    No name can be expected in Host there; a page under a rebound name lacks the API key.
    """
    if len(hosts) != 1:
        return "a request needs one Host"
    if len(origins) > 1 or (origins and origins[0].partition("://")[2].lower() != hosts[0].lower()):
        return "requests of pages from elsewhere are refused: Origin must be this server, or absent"
    return ""


def same_secret(given: str, secret: str) -> bool:
    """Whether a secret was given, in a time that does not depend on where the two differ."""
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())
