"""One HTTP request, GET or HEAD, with a deadline for all of it: connection, headers and body.

Python's own timeout limits the wait for the next byte, so a server that sends one byte of a header every few seconds
can hold a request for ever. Here no read waits longer than the deadline. (The look-up of the host's name has the limits
of the system's resolver instead.) A redirect may change the address, but not the protocol, except to https; a header
"Authorization" is not sent to another host.
"""

from __future__ import annotations

import functools
import http.client
import io
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from email.message import Message
from typing import Any

from tinygrad_llm.errors import DownloadError

SILENCE_LIMIT = 30.0  # seconds without a byte after which a connection counts as broken
LONGEST_WAIT = 60.0  # seconds that a server may ask to wait before the next attempt
TEMPORARY = (429, 500, 502, 503, 504)  # too many requests, and troubles of the server


class StatusError(Exception):
    """The server answered with an error: `code` such as 404, `reason`, and its `headers`."""

    def __init__(self, code: int, reason: str, headers: Message) -> None:
        self.code, self.reason, self.headers = code, reason, headers
        super().__init__(f"the server answered {code} {reason}")

    def wait_before(self, attempt: int, deadline: float) -> bool:
        """Wait until the next attempt may succeed; False, at once, if it cannot. Attempts count from 1.

        As long as the header Retry-After says, or else for 0.5, 1, 2 seconds.
        """
        asked = self.headers.get("Retry-After", "")
        seconds = float(asked) if re.fullmatch("[0-9]{1,6}", asked) else 2.0 ** (attempt - 2)
        if self.code not in TEMPORARY or seconds > LONGEST_WAIT or time.monotonic() + seconds > deadline:
            return False
        time.sleep(seconds)
        return True


def read_url(url: str, headers: Mapping[str, str], deadline: float, size_limit: int, attempts: int = 4) -> bytes:
    """The whole body of a GET request; see `open_url`. Temporary errors are tried again, `attempts` times in all.

    Units: deadline in seconds, as `time.monotonic` counts; size_limit in bytes
    Raises: as `open_url`; DownloadError for more than `size_limit` bytes
    """
    attempt = 1
    while True:
        try:
            with open_url(url, headers, deadline) as response:
                body = response.read(size_limit + 1)
            if len(body) > size_limit:
                raise DownloadError(f"{url}: must be at most {size_limit:,} bytes; more were sent")
            return body
        except StatusError as error:
            if attempt == attempts or not error.wait_before(attempt, deadline):
                raise
        except (ConnectionError, TimeoutError):
            if attempt == attempts:
                raise
            seconds_left(deadline)
        attempt += 1


def read_headers(url: str, headers: Mapping[str, str], deadline: float) -> Message:
    """The headers of the answer to a HEAD request, of this host: not of another one to which it redirects.

    Raises: as `open_url`
    """
    try:
        with open_url(url, headers, deadline, "HEAD") as response:
            return response.headers
    except StatusError as error:
        if 300 <= error.code < 400:
            return error.headers
        raise


@contextmanager
def open_url(
    url: str, headers: Mapping[str, str], deadline: float, method: str = "GET"
) -> Iterator[http.client.HTTPResponse]:
    """The response to a request, open for reading within the `with` block.

    Units: deadline in seconds, as `time.monotonic` counts
    Raises: StatusError; DownloadError for a redirect to another protocol; TimeoutError at the deadline; ConnectionError
            for everything else that goes wrong with address or connection, also while the response is read
    """
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _SameProtocol(),
        _HTTP(deadline),
        _HTTPS(deadline),
    ):
        opener.add_handler(handler)
    try:
        request = urllib.request.Request(url, headers=dict(headers), method=method)
        with opener.open(request, timeout=seconds_left(deadline)) as response:
            yield response
    except urllib.error.HTTPError as error:
        error.close()
        raise StatusError(error.code, str(error.reason), error.headers) from None
    except TimeoutError:
        seconds_left(deadline)  # at the deadline this raises another message
        raise TimeoutError(f"no byte came for {SILENCE_LIMIT:g} seconds") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            seconds_left(deadline)
        raise ConnectionError(str(error.reason)) from error
    except (http.client.HTTPException, ValueError) as error:  # ValueError: not a URL
        raise ConnectionError(str(error) or type(error).__name__) from error


def seconds_left(deadline: float) -> float:
    """The timeout of the next read. Units: seconds. Raises: TimeoutError at the deadline."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the time limit is over")
    return min(SILENCE_LIMIT, left)


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket, and sets its timeout before each read."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection, self._deadline = connection, deadline
        self._raw = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._connection.settimeout(seconds_left(self._deadline))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, connection: socket.socket, *arguments: Any, deadline: float, **named: Any) -> None:
        super().__init__(connection, *arguments, **named)
        self.fp.close()
        self.fp = io.BufferedReader(_DeadlineReader(connection, deadline))


def _connect(kind: type[http.client.HTTPConnection], deadline: float, host: str, **named: Any) -> Any:
    connection = kind(host, **named)
    connection.response_class = functools.partial(_Response, deadline=deadline)  # type: ignore[assignment]
    return connection


class _HTTP(urllib.request.HTTPHandler):
    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def http_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(functools.partial(_connect, http.client.HTTPConnection, self._deadline), request)


class _HTTPS(urllib.request.HTTPSHandler):
    def __init__(self, deadline: float) -> None:
        super().__init__()
        self._deadline = deadline

    def https_open(self, request: urllib.request.Request) -> Any:
        return self.do_open(functools.partial(_connect, http.client.HTTPSConnection, self._deadline), request)


class _SameProtocol(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, request: urllib.request.Request, *arguments: Any) -> urllib.request.Request | None:
        scheme = arguments[-1].partition(":")[0].lower()
        if scheme not in (request.type, "https"):
            raise DownloadError(
                f"{request.full_url}: a redirect may only lead to https or stay at {request.type}; got {scheme!r}"
            )
        new = super().redirect_request(request, *arguments)
        if new is not None:
            new.method = request.get_method()
            if _host_of(new) != _host_of(request):
                if new.method == "HEAD":
                    return None  # the caller wants this host's answer
                new.remove_header("Authorization")
        return new


def _host_of(request: urllib.request.Request) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(request.full_url)
    return parts.scheme, parts.netloc
