"""Downloading a model from the hub: the files that describe it, its tokenizer and its weights, or one file alone.

A revision such as "main" moves; the commit that it names at first is kept in `download.json`, and a download that is
continued later takes the same. No file gets its name before its size and its checksum are right, and none is written
outside of the folder.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygrad_llm.errors import DownloadError
from tinygrad_llm.formats import fetch, read_json_object, write_json
from tinygrad_llm.formats.atomic import short_path
from tinygrad_llm.formats.http_get import StatusError
from tinygrad_llm.formats.sharded_safetensors import INDEX, SHARD_NAME, WEIGHTS
from tinygrad_llm.formats.strict_json import shown
from tinygrad_llm.interop.hub import Hub, HubFile, repository_of, some

DESCRIPTION = ("config.json", "generation_config.json")
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "tokenizer.model"),
    *("vocab.json", "merges.txt", "vocab.txt", "chat_template.jinja", "chat_template.json"),
)
RECORD = "download.json"
PLAIN_NAME = re.compile(r"(?!download\.json$)[A-Za-z0-9_][A-Za-z0-9_.+-]{0,199}")
INDEX_LIMIT = 50_000_000  # bytes of the index of shards
FILE_TIME = 7 * 86_400.0  # seconds for a file; a connection that stalls is given up much sooner

Progress = Callable[[str, int, int], None]  # progress(file, bytes_done, bytes_in_all)


@dataclass(frozen=True)
class Plan:
    """What a download consists of; `commit` is the one that the revision named."""

    repository: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def size(self) -> int:
        """Units: bytes."""
        return sum(file.size or 0 for file in self.files)


def plan_download(hub: Hub, name: str, folder: Path, revision: str | None = None, file: str | None = None) -> Plan:
    """What to download of a model into `folder`; or of its `file` alone, such as one .gguf file.

    An earlier download in this folder is continued at its commit.

    Raises: ConfigError for a name that cannot be one; DownloadError if the hub does not answer as it should, or has no
            such file, or if the folder holds another model or revision
    """
    repository = repository_of(name, hub.endpoint)
    if hub.offline:
        raise DownloadError("HF_HUB_OFFLINE is set, so nothing is downloaded: unset it")
    record = _read_record(folder)
    if record and (record["repository"] != repository or revision not in (None, record["revision"], record["commit"])):
        raise DownloadError(
            f"{short_path(folder)}: must be a new folder, or hold an earlier download of {repository}"
            f"{f' at {revision}' if revision else ''}; it holds {record['repository']} at {record['revision']}: "
            "choose another with --out"
        )
    revision = record["revision"] if record else revision or "main"
    commit, files = hub.list_files(repository, record["commit"] if record else revision)
    if file is None:
        wanted = [path for path in (*DESCRIPTION, *TOKENIZER) if path in files]
        wanted += _weights(hub, repository, commit, files)
    elif file in files:
        wanted = [file]
    else:
        raise DownloadError(f"{repository}: has no file {shown(file)}; it has {some(files)}")
    if hostile := [path for path in wanted if not PLAIN_NAME.fullmatch(_local_name(path))]:
        raise DownloadError(f"{repository}: a file's name must be letters, digits and ._+-; got {some(hostile)}")
    return Plan(repository, revision, commit, tuple(hub.with_checksum(repository, commit, files[p]) for p in wanted))


def download(hub: Hub, plan: Plan, folder: Path, progress: Progress | None = None) -> list[Path]:
    """Download the files of a plan into `folder`; returns their paths. What is there and right is not fetched again.

    Raises: DownloadError if a file there is another one, if there is no room, or as `formats.fetch`
    """
    paths = [folder / _local_name(file.path) for file in plan.files]
    missing = [
        (file, path) for file, path in zip(plan.files, paths, strict=True) if not _is_there(plan, file, path, progress)
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise DownloadError(f"{short_path(folder)}: must be a folder that can be written; {reason}") from None
    needed = sum((file.size or 0) - _size_of(path.with_name(f"{path.name}.part")) for file, path in missing)
    if needed > free:
        raise DownloadError(
            f"{short_path(folder)}: must have room for {needed / 1e9:,.2f} GB; {free / 1e9:,.2f} GB are free"
        )
    write_json(folder / RECORD, {"repository": plan.repository, "revision": plan.revision, "commit": plan.commit})
    for file, path in missing:
        try:
            fetch(
                hub.address(plan.repository, plan.commit, file.path),
                path,
                size=file.size,
                checksum=file.checksum,
                headers=hub.headers,
                time_limit=FILE_TIME,
                progress=None if progress is None else _progress_of(progress, path.name),
            )
        except DownloadError as error:
            if isinstance(error.__cause__, StatusError):  # such as of a gated model, whose list anybody may read
                raise hub.refusal(error.__cause__, plan.repository, f"{plan.repository}: {file.path}") from None
            raise
    return paths


def _progress_of(progress: Progress, name: str) -> Callable[[int, int], None]:
    return lambda done, total: progress(name, done, total)


def _local_name(path: str) -> str:
    """The last part of a path in the repository: the name in the folder."""
    return path.rpartition("/")[2]


def _is_there(plan: Plan, file: HubFile, path: Path, progress: Progress | None) -> bool:
    """Whether the file was downloaded already. Raises: DownloadError for another file of that name"""
    if not os.path.lexists(path):
        return False
    if path.is_file() and path.stat().st_size == file.size:
        if progress is not None:
            progress(f"checking {path.name}", file.size, file.size)
        with open(path, "rb") as held:
            if file.checksum is not None and file.checksum.of(held) == file.checksum.digits:
                return True
    raise DownloadError(
        f"{short_path(path)}: must be the file of {plan.repository} at {plan.commit[:12]}, or absent; it is another: "
        "remove it, or choose another folder with --out"
    )


def _size_of(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def _read_record(folder: Path) -> dict[str, Any] | None:
    """What an earlier download wrote. Raises: FormatError if it is damaged, DownloadError if the folder is a file"""
    if os.path.lexists(folder) and not folder.is_dir():
        raise DownloadError(f"{short_path(folder)}: must be a folder, for several files; it is a file: choose another")
    if not os.path.lexists(folder / RECORD):
        return None
    record = read_json_object(folder / RECORD)
    if not all(isinstance(record.get(name), str) for name in ("repository", "revision", "commit")):
        raise DownloadError(f"{folder / RECORD}: must say repository, revision and commit; remove it to begin anew")
    return record


def _weights(hub: Hub, repository: str, commit: str, files: Mapping[str, HubFile]) -> list[str]:
    """The files of the weights: one, or an index and the shards that it names."""
    if WEIGHTS in files:
        return [WEIGHTS]
    if INDEX not in files:
        gguf = [path for path in files if path.endswith(".gguf")]
        choose = f"choose one of its GGUF files with --file: {some(gguf)}" if gguf else f"it has {some(files)}"
        raise DownloadError(f"{repository}: must have {WEIGHTS} or {INDEX}; {choose}")
    url = hub.address(repository, commit, INDEX)
    weight_map = hub.read_json(url, repository, f"{repository}: {INDEX}", INDEX_LIMIT).get("weight_map")
    names = list(weight_map.values()) if isinstance(weight_map, dict) else []
    wrong = [name for name in names if not isinstance(name, str) or not SHARD_NAME.fullmatch(name) or name not in files]
    if not names or wrong:
        raise DownloadError(
            f"{url}: weight_map must name .safetensors files of this repository; got {some(map(str, wrong))}"
        )
    return [INDEX, *sorted(set(names))]
