"""Who may talk to the lab: this machine's user, who has the address with its token, and no page of another origin.

A foreign web page can make a browser send requests to 127.0.0.1. It does not know the token; its Origin betrays it; and
a name that was rebound to 127.0.0.1 (DNS rebinding) stands in Host. Each of the three is checked on every request.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from urllib.parse import urlsplit

LOOPBACK = {"127.0.0.1", "localhost", "::1"}  # on any port: a tunnel may use another than ours
TOKEN_BYTES = 24
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


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def refusal(token: str, path: str, hosts: Sequence[str], origins: Sequence[str]) -> str:
    """Why a request is refused, "" if it is not.

    `path` is that of the request line, `hosts` and `origins` are all values of these headers.
    """
    if len(hosts) != 1 or _host_name(f"//{hosts[0]}") not in LOOPBACK:
        return "Host must be a name of this machine, such as 127.0.0.1 or localhost"
    if len(origins) > 1 or (origins and not _is_own_origin(origins[0])):
        return "requests of pages from elsewhere are refused: Origin must be this machine, or absent"
    first = path.lstrip("/").split("/", 1)[0].split("?", 1)[0]
    if not hmac.compare_digest(first.encode("utf-8", "replace"), token.encode()):
        return "the address must hold the token that the lab printed when it began"
    return ""


def _is_own_origin(origin: str) -> bool:
    return origin.startswith("http://") and _host_name(origin) in LOOPBACK and not urlsplit(origin).path


def _host_name(address: str) -> str | None:
    """The host of an address, None unless it is exactly host and port."""
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises for a port that is no number
    except ValueError:
        return None
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        return None
    return parts.hostname
