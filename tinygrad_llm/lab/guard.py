"""Who may talk to the lab: this machine's user, who has the address with its token, and no page of another origin.

A foreign web page can make a browser send requests to 127.0.0.1. It does not know the token; its Origin betrays it; and
a name that was rebound to 127.0.0.1 (DNS rebinding) stands in Host. Each of the three is checked on every request.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Sequence

# Names of this machine, on any port: a tunnel may use another than ours.
LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{0,5})?", re.ASCII | re.IGNORECASE)
OWN_ORIGIN = re.compile(rf"http://{LOOPBACK.pattern}", re.ASCII | re.IGNORECASE)
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
    if len(hosts) != 1 or not LOOPBACK.fullmatch(hosts[0]):
        return "Host must be a name of this machine, such as 127.0.0.1 or localhost"
    if len(origins) > 1 or (origins and not OWN_ORIGIN.fullmatch(origins[0])):
        return "requests of pages from elsewhere are refused: Origin must be this machine, or absent"
    first = path.lstrip("/").split("/", 1)[0].split("?", 1)[0]
    if not hmac.compare_digest(first.encode("utf-8", "replace"), token.encode()):
        return "the address must hold the token that the lab printed when it began"
    return ""
