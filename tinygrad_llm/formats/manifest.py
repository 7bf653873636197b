"""Snapshots: several files that appear together or not at all, and that can be told from damaged ones.

    run/
      config.json  model.safetensors            copies or links of the newest snapshot's, put there by `publish_files`
      checkpoints/
        step-00000100/                          a snapshot
          model.safetensors  optimizer.safetensors  state.json  ...
          manifest.json                         name, size and sha256 of each, and the version of this layout
        .step-00000200.5f3a90c1.tmp/            one that is being written, or whose writer was killed

A snapshot is written under a temporary name: its files, each flushed to disk, the manifest last, then the folder.
One rename makes it appear. So a folder without the leading dot was once whole; the manifest tells whether it still is.
"""

import errno
import hashlib
import io
import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from tinygrad_llm.errors import CheckpointError, FormatError
from tinygrad_llm.formats.atomic import (
    atomic_write,
    cannot_write,
    remove_leftovers,
    remove_quietly,
    sync_file,
    sync_folder,
    temporary_beside,
)
from tinygrad_llm.formats.regular_file import open_regular
from tinygrad_llm.formats.strict_json import json_bytes, parse_json, shown

MANIFEST = "manifest.json"
KIND = "tinygrad_llm snapshot"
VERSION = 1
REPLACED = ".replaced"  # the ending of a snapshot that has just been superseded by one of the same name
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")  # no separator, no "..", nothing hidden, on any system
SHA256 = re.compile(r"[0-9a-f]{64}")
LINK_FROM = 1 << 20  # bytes; smaller files are copied, because people edit a config.json in place

Content = bytes | Callable[[BinaryIO], object]


def write_snapshot(folder: str | os.PathLike[str], name: str, files: Mapping[str, Content]) -> Path:
    """Write `files` as the snapshot `folder/name`, and return its path when the disk has all of it.

    A file's content is bytes, or a function that writes them, front to back, into the binary file it is given.
    `folder` is made if its parent exists. What killed writers left in it is swept away, so the caller must hold the
    run's lock. A snapshot of the same name is replaced; at no moment is neither of the two there.

    Raises: CheckpointError, naming the file, where it cannot be written; older snapshots are untouched then.
    """
    folder = Path(folder)
    target = folder / _plain(name)
    if name.endswith(REPLACED):
        raise CheckpointError(f"{target}: a snapshot's name must not end in {REPLACED}; choose another")
    for file_name in files:
        if _plain(file_name) == MANIFEST:
            raise CheckpointError(f"{target}: {MANIFEST} is written by write_snapshot itself; rename that file")
    temporary = temporary_beside(target)
    current = target
    try:
        folder.mkdir(exist_ok=True)  # without parents: a run folder that vanished must be noticed, not made again
        sync_folder(folder.parent)
        remove_leftovers(folder)
        temporary.mkdir()
        listing = {}
        for file_name, content in files.items():
            current = target / file_name
            listing[file_name] = _write_file(temporary / file_name, content)
        current = target / MANIFEST
        _write_file(temporary / MANIFEST, _manifest_bytes(listing))
        current = target
        sync_folder(temporary)
        replaced = folder / (name + REPLACED)
        if os.path.lexists(target):
            _remove_at_once(replaced)
            os.rename(target, replaced)
        os.rename(temporary, target)
        sync_folder(folder)
        _remove_at_once(replaced)
    except OSError as problem:
        remove_quietly(temporary)
        raise cannot_write(current, problem) from problem
    except BaseException:
        remove_quietly(temporary)
        raise
    return target


def verify_snapshot(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Read the whole snapshot, compare it with its manifest, and return its files' paths by name.

    Raises: CheckpointError, naming the file, for a manifest that is missing, damaged or of a newer version, and for
    a file that is missing, of the wrong size or content, not listed, or not a file (links are not followed).
    """
    folder = Path(path)
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise CheckpointError(f"{folder}: a snapshot must be a folder, not a link or a file")
        present = set(os.listdir(folder))
    except OSError as problem:
        raise CheckpointError(f"{folder}: cannot be read: {problem.strerror}") from problem
    listing = _read_manifest(folder / MANIFEST)
    for name in sorted(present - listing.keys() - {MANIFEST}):
        raise CheckpointError(f"{folder / name}: is not listed in {MANIFEST}; it does not belong here, remove it")
    for name, (size, sha256) in listing.items():
        file_path = folder / name
        if name not in present:
            raise CheckpointError(f"{file_path}: is missing, though {MANIFEST} lists it; use another snapshot")
        with open_regular(file_path, follow_links=False, error=CheckpointError) as file:
            actual = os.fstat(file.fileno()).st_size
            if actual != size:
                raise CheckpointError(f"{file_path}: must have {size} bytes; it has {actual}; use another snapshot")
            if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                raise CheckpointError(f"{file_path}: its bytes have changed since it was written; use another snapshot")
    return {name: folder / name for name in listing}


def newest_whole_snapshot(folder: str | os.PathLike[str]) -> tuple[Path | None, list[str]]:
    """The last snapshot, by name, that is whole, and one message for each later one that is not.

    Names are compared with their digits as numbers, so step-100 comes after step-20. (None, messages) where there is
    none.

    Raises: CheckpointError where the folder exists and cannot be listed.
    """
    problems = []
    for path in _newest_first(folder):
        try:
            verify_snapshot(path)
        except CheckpointError as problem:
            problems.append(str(problem))
        else:
            return path, problems
    return None, problems


def prune_snapshots(folder: str | os.PathLike[str], keep: int, protect: Collection[str] = ()) -> list[str]:
    """Delete old snapshots, except the `keep` newest whole ones and those named in `protect`; return what was deleted.

    Whole ones are counted by reading them: a damaged one must never push a whole one out. Damaged ones newer than
    the oldest that is kept stay, for who wants to look at them.

    Raises: CheckpointError where `keep` is below 1 or a snapshot cannot be deleted.
    """
    if keep < 1:
        raise CheckpointError(f"prune_snapshots: must keep at least 1 snapshot; got keep={keep}")
    removed = []
    whole = 0
    for path in _newest_first(folder):
        if whole < keep:
            try:
                verify_snapshot(path)
                whole += 1
            except CheckpointError:
                pass
        elif path.name not in protect:
            try:
                _remove_at_once(path)
            except OSError as problem:
                raise CheckpointError(f"{path}: cannot be deleted: {problem.strerror}") from problem
            removed.append(path.name)
    return removed


def publish_files(snapshot: str | os.PathLike[str], folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Let `folder/name` be the snapshot's file of that name, for each name in turn, whole at every moment.

    A large file becomes a hard link, which takes neither time nor space, or a copy where the file system has no
    links. Each file changes in one step, the set of them does not: who needs files that fit each other at any
    moment reads the snapshot.

    Raises: CheckpointError, naming the file, where it cannot be read or put in place.
    """
    for name in names:
        source, target = Path(snapshot) / _plain(name), Path(folder) / name
        with open_regular(source, follow_links=False, error=CheckpointError) as file:
            if os.fstat(file.fileno()).st_size < LINK_FROM or not _linked(source, target):
                with atomic_write(target) as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)


def check_published(path: str | os.PathLike[str], snapshots: str | os.PathLike[str]) -> None:
    """A file that `publish_files` put into place must still be, byte for byte, what one of the snapshots lists.

    The newest may have appeared a moment before its files were published, so each is asked. Where there are no
    snapshots, there is nothing to compare with.

    Raises: CheckpointError, naming the file, where its bytes have changed
    """
    name, listed = Path(path).name, set()
    for folder in _newest_first(snapshots):
        try:
            listed.add(_read_manifest(folder / MANIFEST)[name][1])
        except (CheckpointError, KeyError):
            continue
    if not listed:
        return
    with open_regular(path, error=CheckpointError) as file:
        if hashlib.file_digest(file, "sha256").hexdigest() not in listed:
            raise CheckpointError(
                f"{os.fspath(path)}: its bytes have changed since it was written: no snapshot in "
                f"{os.fspath(snapshots)} lists them; copy the file of that name from a snapshot over it"
            )


class _HashedFile(io.BufferedWriter):
    """A file that takes bytes front to back and knows their sha256 when the last has come."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path, "xb"))
        self.sha256 = hashlib.sha256()
        self.size = 0

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        written = super().write(data)
        self.size += written
        return written

    def seek(self, target: int, whence: int = 0, /) -> int:
        raise io.UnsupportedOperation("a snapshot's files are written front to back")


def _write_file(path: Path, content: Content) -> tuple[int, str]:
    with _HashedFile(path) as file:
        if callable(content):
            content(file)
        else:
            file.write(content)
        sync_file(file)
        return file.size, file.sha256.hexdigest()


def _manifest_bytes(listing: Mapping[str, tuple[int, str]]) -> bytes:
    files = {name: {"size": size, "sha256": sha256} for name, (size, sha256) in sorted(listing.items())}
    return json_bytes({"kind": KIND, "version": VERSION, "files": files}, MANIFEST)


def _read_manifest(path: Path) -> dict[str, tuple[int, str]]:
    """Size and sha256 of each listed file; every byte of the manifest is checked on the way."""
    with open_regular(path, follow_links=False, error=CheckpointError) as file:
        data = file.read()
    try:
        manifest = parse_json(data, str(path))
    except FormatError as problem:
        raise CheckpointError(f"{problem}; use another snapshot") from problem
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise CheckpointError(f"{path}: must be the manifest of a {KIND}; it is something else")
    version = manifest.get("version")
    if type(version) is int and version > VERSION:
        raise CheckpointError(f"{path}: version must be {VERSION}; got {version}: update tinygrad_llm to open it")
    files = manifest.get("files")
    listing = {}
    for name, entry in files.items() if isinstance(files, dict) else ():
        if not PLAIN_NAME.fullmatch(name) or name == MANIFEST:
            raise CheckpointError(f"{path}: files must have plain names, without separators; got {shown(name)}")
        size, sha256 = (entry.get("size"), entry.get("sha256")) if isinstance(entry, dict) else (None, None)
        if type(size) is not int or size < 0 or not isinstance(sha256, str) or not SHA256.fullmatch(sha256):
            raise CheckpointError(f"{path}: {name} must have a size and a sha256; got {shown(entry)}")
        listing[name] = (size, sha256)
    # A flipped bit may fall into a space or a version number. What we write has one form; this must be it.
    if data != _manifest_bytes(listing):
        raise CheckpointError(f"{path}: is not as it was written; use another snapshot")
    return listing


def _plain(name: str) -> str:
    if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
        raise CheckpointError(
            f"{shown(name)}: names in a run folder must be up to 200 letters, digits, '.', '_' and '-', not beginning "
            "with '.' or '-'; choose another"
        )
    return name


def _newest_first(folder: str | os.PathLike[str]) -> list[Path]:
    try:
        entries = [entry for entry in os.scandir(folder) if entry.is_dir() and PLAIN_NAME.fullmatch(entry.name)]
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise CheckpointError(f"{os.fspath(folder)}: cannot be listed: {problem.strerror}") from problem

    def age(entry: os.DirEntry[str]) -> tuple[list[tuple[int, str]], bool]:
        name = entry.name.removesuffix(REPLACED)
        parts = re.findall(r"[0-9]+|[^0-9]+", name)
        return [(int(part), "") if part.isdigit() else (-1, part) for part in parts], name == entry.name

    return [Path(entry.path) for entry in sorted(entries, key=age, reverse=True)]


def _remove_at_once(path: Path) -> None:
    """Delete a snapshot in one step: half deleted it must not keep its name."""
    if os.path.lexists(path):
        doomed = temporary_beside(path)
        os.rename(path, doomed)
        remove_quietly(doomed)


def _linked(source: Path, target: Path) -> bool:
    """Put a hard link to `source` in the place of `target`; False where this file system cannot."""
    temporary = temporary_beside(target)
    try:
        os.link(source, temporary)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ENOSPC, errno.EROFS):  # no copy would fare better
            raise cannot_write(target, problem) from problem
        return False
    try:
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as problem:
        raise cannot_write(target, problem) from problem
    finally:
        remove_quietly(temporary)  # where `target` was this very file already, the rename did nothing at all
    return True
