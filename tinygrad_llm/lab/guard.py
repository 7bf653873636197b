"""Who may talk to the lab: this machine's user, who has the address with its token, and no page of another origin.

A foreign web page does not know the token; what else betrays it, `web.guard` checks. All is checked on every request.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from tinygrad_llm.web import guard

TOKEN_BYTES = 24


def new_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)


def refusal(token: str, path: str, hosts: Sequence[str], origins: Sequence[str]) -> str:
    """Why a request is refused, "" if it is not.

    `path` is that of the request line, `hosts` and `origins` are all values of these headers.
    """
    if reason := guard.refusal(hosts, origins):
        return reason
    first = path.lstrip("/").split("/", 1)[0].split("?", 1)[0]
    if not guard.same_secret(first, token):
        return "the address must hold the token that the lab printed when it began"
    return ""
