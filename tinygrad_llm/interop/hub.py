"""The Hugging Face hub: which files a model has, their sizes and checksums, and where they are.

    GET  /api/models/OWNER/MODEL/revision/REVISION?blobs=true     the commit, and name, size and checksum of each file
    HEAD /OWNER/MODEL/resolve/COMMIT/FILE                         size and checksum, where that answer had none
    GET  /OWNER/MODEL/resolve/COMMIT/FILE                         the file, often by a redirect to another host

A large file is stated with its sha256, a small one with its name in git. The variables HF_ENDPOINT, HF_TOKEN and
HF_HUB_OFFLINE have their usual meaning; a token is sent to the hub alone.
"""

from __future__ import annotations

import os
import re
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinygrad_llm.errors import ConfigError, DownloadError
from tinygrad_llm.formats.download import Checksum
from tinygrad_llm.formats.http_get import StatusError, read_headers, read_url
from tinygrad_llm.formats.strict_json import parse_json, shown

ENDPOINT = "https://huggingface.co"
SHORT_NAMES = {
    "gpt2": "openai-community/gpt2",
    "gpt2-medium": "openai-community/gpt2-medium",
    "gpt2-large": "openai-community/gpt2-large",
    "gpt2-xl": "openai-community/gpt2-xl",
    "SmolLM2-135M": "HuggingFaceTB/SmolLM2-135M",
    "SmolLM2-360M": "HuggingFaceTB/SmolLM2-360M",
    "Qwen3-0.6B": "Qwen/Qwen3-0.6B",
}
REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
ANSWER_LIMIT = 20_000_000  # bytes of an answer about the files
ANSWER_TIME = 120.0  # seconds for an answer


@dataclass(frozen=True)
class HubFile:
    """A file of a repository: its path there, its size in bytes and its checksum, where the hub stated them."""

    path: str
    size: int | None = None
    checksum: Checksum | None = None


def repository_of(name: str, endpoint: str = ENDPOINT) -> str:
    """The repository "owner/model" of a name: a short one, the repository's own, or the address of its page.

    Raises: ConfigError for what cannot be one
    """
    plain = name.removeprefix(f"{endpoint}/").removeprefix(f"{ENDPOINT}/").rstrip("/")
    repository = SHORT_NAMES.get(plain, plain)
    if not REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise ConfigError(
            f"NAME must be owner/model as on {endpoint}, or one of {', '.join(SHORT_NAMES)}; got {name[:200]!r}"
        )
    return repository


class Hub:
    """The hub that the environment names, and the token in it.

    Raises: ConfigError for a token that cannot be one, or that would be sent without encryption
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self.endpoint = (environment.get("HF_ENDPOINT") or ENDPOINT).rstrip("/")
        self.offline = environment.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
        self.headers = {"User-Agent": "tinygrad_llm"}
        token = (environment.get("HF_TOKEN") or environment.get("HUGGING_FACE_HUB_TOKEN") or "").strip()
        if not token:
            return
        if not re.fullmatch("[!-~]+", token):
            raise ConfigError("HF_TOKEN must be a token of printable characters without spaces; it has others")
        host = urllib.parse.urlsplit(self.endpoint)
        if host.scheme != "https" and host.hostname not in ("localhost", "127.0.0.1", "::1"):
            raise ConfigError(f"HF_ENDPOINT must begin with https:// for a token to be sent; got {self.endpoint}")
        self.headers["Authorization"] = f"Bearer {token}"

    def address(self, repository: str, commit: str, path: str) -> str:
        """Where a file is."""
        return f"{self.endpoint}/{repository}/resolve/{commit}/{urllib.parse.quote(path)}"

    def list_files(self, repository: str, revision: str) -> tuple[str, dict[str, HubFile]]:
        """The commit of a revision, and its files by path. Raises: DownloadError"""
        quoted = urllib.parse.quote(revision, safe="")
        url = f"{self.endpoint}/api/models/{repository}/revision/{quoted}?blobs=true"
        answer = self.read_json(url, repository, f"{repository} at {revision}", ANSWER_LIMIT)
        commit, files = answer.get("sha"), answer.get("siblings")
        if not isinstance(commit, str) or not re.fullmatch("[0-9a-f]{40}", commit) or not isinstance(files, list):
            raise DownloadError(f"{url}: must have a commit 'sha' and a list 'siblings': is HF_ENDPOINT a hub?")
        named = [_file(entry) for entry in files if isinstance(entry, dict) and isinstance(entry.get("rfilename"), str)]
        return commit, {file.path: file for file in named}

    def with_checksum(self, repository: str, commit: str, file: HubFile) -> HubFile:
        """The file with size and checksum, asked for where the list did not state them. Raises: DownloadError"""
        if file.size is not None and file.checksum is not None:
            return file
        url = self.address(repository, commit, file.path)
        try:
            headers = read_headers(url, self.headers | {"Accept-Encoding": "identity"}, time.monotonic() + ANSWER_TIME)
        except StatusError as error:
            raise self.refusal(error, repository, f"{repository}: {file.path}") from None
        except (ConnectionError, TimeoutError) as error:
            raise self._no_connection(error) from None
        etag = (headers.get("X-Linked-ETag") or headers.get("ETag") or "").removeprefix("W/").strip('"')
        size, checksum = headers.get("X-Linked-Size") or headers.get("Content-Length") or "", _checksum(etag)
        if not re.fullmatch("[0-9]{1,18}", size) or checksum is None:
            raise DownloadError(f"{url}: the hub must state size and checksum of each file, to check it; it does not")
        return replace(file, size=int(size), checksum=checksum)

    def read_json(self, url: str, repository: str, what: str, size_limit: int) -> dict[str, Any]:
        """The object at an address of this hub. Raises: DownloadError, FormatError"""
        try:
            body = read_url(url, self.headers, time.monotonic() + ANSWER_TIME, size_limit)
        except StatusError as error:
            raise self.refusal(error, repository, what) from None
        except (ConnectionError, TimeoutError) as error:
            raise self._no_connection(error) from None
        answer = parse_json(body, url)
        if not isinstance(answer, dict):
            raise DownloadError(f"{url}: must be a JSON object; got {shown(answer)}: is HF_ENDPOINT a hub?")
        return answer

    def refusal(self, error: StatusError, repository: str, what: str) -> DownloadError:
        """The error that says what the status means here."""
        page = f"{self.endpoint}/{repository}"
        unknown = "there is no such model, or it is private or gated: set HF_TOKEN to a token of your account"
        if "Authorization" in self.headers:
            unknown = "there is no such model, or HF_TOKEN is not accepted"
        reason = {
            401: unknown,
            403: f"it is gated: accept its conditions at {page}, and set HF_TOKEN to a token of that account",
            404: f"there is none of that name: check the spelling at {page}",
            429: f"too many requests: call again in {error.headers.get('Retry-After', 'some')} seconds",
        }.get(error.code, "call again later")
        return DownloadError(f"{what}: {error}: {reason}")

    def _no_connection(self, error: Exception) -> DownloadError:
        return DownloadError(f"{self.endpoint}: cannot be reached: {error}: check the connection and call again")


def _file(entry: Mapping[str, Any]) -> HubFile:
    """A file as the list states it: a large one by its sha256, a small one by its name in git."""
    large = entry.get("lfs")
    if isinstance(large, dict):
        return HubFile(entry["rfilename"], _count(large.get("size")), _checksum(large.get("sha256", large.get("oid"))))
    return HubFile(entry["rfilename"], _count(entry.get("size")), _checksum(entry.get("blobId")))


def _checksum(digits: object) -> Checksum | None:
    kind = {64: "sha256", 40: "git blob"}.get(len(digits)) if isinstance(digits, str) else None
    if kind is None or not re.fullmatch("[0-9a-f]+", str(digits)):
        return None
    return Checksum(kind, str(digits))


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18 else None


def some(names: Iterable[str]) -> str:
    """A few of the names, for a message."""
    names = list(names)
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(shown(name) for name in names[:8]) + more if names else "none"
