"""Snapshots: several files that appear together or not at all, with checksums that reveal damage.

    run/
      config.json  model.safetensors            copies of (or links to) the newest snapshot's, by `publish_files`
      checkpoints/
        step-00000100/                          a snapshot
          model.safetensors  optimizer.safetensors  state.json  ...
          manifest.json                         name, size and sha256 of each file, and the version of the layout
        .step-00000200.5f3a90c1.tmp/            one that is being written, or was left by a killed process

A snapshot is written under a temporary name: its files, each flushed to disk, the manifest last, then the folder.
One rename makes it appear. So a folder without a leading dot was complete once; its manifest reveals later damage.
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
    expect_file_name,
    remove_leftovers,
    remove_quietly,
    short_path,
    sync_file,
    sync_folder,
    temporary_beside,
)
from tinygrad_llm.formats.regular_file import open_regular
from tinygrad_llm.formats.strict_json import json_bytes, parse_json, shown

MANIFEST = "manifest.json"
KIND = "tinygrad_llm snapshot"
VERSION = 1
REPLACED = ".replaced"  # suffix of a snapshot that is being replaced by one of the same name
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")  # no separator, no "..", not hidden, on any system
SHA256 = re.compile(r"[0-9a-f]{64}")
LINK_FROM = 1 << 20  # bytes; smaller files are copied, since users edit config.json in place

Content = bytes | Callable[[BinaryIO], object]


def write_snapshot(folder: str | os.PathLike[str], name: str, files: Mapping[str, Content]) -> Path:
    """Write `files` as the snapshot `folder/name`, and return its path when all of it is on the disk.

    A file's content is bytes, or a function that writes them sequentially into the binary file it is given. `folder` is
    created if its parent exists. Temporary files of killed processes are deleted, so the caller must hold the run's
    lock. A snapshot of the same name is replaced; at every moment the old or the new one exists.

    Raises: CheckpointError, naming the file, if it cannot be written; older snapshots are unchanged then
    """
    expect_file_name(folder)
    folder = Path(folder)
    target = folder / _expect_plain_name(name)
    if name.endswith(REPLACED):
        raise CheckpointError(f"{target}: a snapshot's name must not end in {REPLACED}; choose another")
    for file_name in files:
        if _expect_plain_name(file_name) == MANIFEST:
            raise CheckpointError(f"{target}: {MANIFEST} is written by write_snapshot itself; rename that file")
    temporary = temporary_beside(target)
    current = target
    try:
        folder.mkdir(exist_ok=True)  # without parents: a run folder that was deleted must be noticed, not created again
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
            _rename_and_remove(replaced)
            os.rename(target, replaced)
        os.rename(temporary, target)
        sync_folder(folder)
        _rename_and_remove(replaced)
    except OSError as problem:
        remove_quietly(temporary)
        raise cannot_write(current, problem) from problem
    except BaseException:
        remove_quietly(temporary)
        raise
    return target


def verify_snapshot(path: str | os.PathLike[str]) -> dict[str, Path]:
    """Read the whole snapshot, compare it with its manifest, and return the paths of its files by name.

    Raises: CheckpointError, naming the file, for a manifest that is missing, damaged or of a newer version, and for a
            file that is missing, of the wrong size or content, not listed, or not a file (links are not followed)
    """
    folder = Path(path)
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            raise CheckpointError(f"{folder}: a snapshot must be a folder, not a link or a file")
        present = set(os.listdir(folder))
    except (OSError, ValueError) as problem:  # ValueError: a null byte in the path
        reason = getattr(problem, "strerror", None) or problem
        raise CheckpointError(f"{short_path(folder)}: cannot be read: {reason}") from problem
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
    """The last undamaged snapshot, by name, and one message for each later one that is damaged.

    Digits in names are compared as numbers, so step-100 comes after step-20. Returns (None, messages) if there is none.

    Raises: CheckpointError if the folder exists and cannot be listed
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
    """Delete old snapshots except the `keep` newest undamaged ones and those in `protect`; return the deleted names.

    Undamaged snapshots are found by reading them, so that a damaged one never displaces an undamaged one. Damaged
    snapshots newer than the oldest that is kept stay for inspection.

    Raises: CheckpointError if `keep` is below 1 or a snapshot cannot be deleted
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
                _rename_and_remove(path)
            except OSError as problem:
                raise CheckpointError(f"{path}: cannot be deleted: {problem.strerror}") from problem
            removed.append(path.name)
    return removed


def publish_files(snapshot: str | os.PathLike[str], folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Put the snapshot's files of these names into `folder`, one after the other, each atomically.

    A large file becomes a hard link, which takes neither time nor space, or a copy if the file system has no links. The
    files do not change together: a reader that needs files of one snapshot opens the snapshot.

    Raises: CheckpointError, naming the file, if it cannot be read or put in place
    """
    for name in names:
        source, target = Path(snapshot) / _expect_plain_name(name), Path(folder) / name
        with open_regular(source, follow_links=False, error=CheckpointError) as file:
            if os.fstat(file.fileno()).st_size < LINK_FROM or not _linked(source, target):
                with atomic_write(target) as copy:
                    shutil.copyfileobj(file, copy, 1 << 20)


def check_published(path: str | os.PathLike[str], snapshots: str | os.PathLike[str]) -> None:
    """Check that a published file has the sha256 that one of the snapshots lists for its name.

    All snapshots are compared, since the newest may have appeared a moment before its files were published. Without
    snapshots there is nothing to compare.

    Raises: CheckpointError, naming the file, if its bytes have changed
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
    """A file that is written sequentially and computes the sha256 of its bytes."""

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
        raise io.UnsupportedOperation("a snapshot's files are written sequentially")


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
    """Size and sha256 of each listed file; every byte of the manifest is checked."""
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
    # A flipped bit may be in a space or a version number. A manifest is written in one form only; this must be it.
    if data != _manifest_bytes(listing):
        raise CheckpointError(f"{path}: is not as it was written; use another snapshot")
    return listing


def _expect_plain_name(name: str) -> str:
    if not isinstance(name, str) or not PLAIN_NAME.fullmatch(name):
        raise CheckpointError(
            f"{shown(name)}: names in a run folder must be up to 200 letters, digits, '.', '_' and '-', not beginning "
            "with '.' or '-'; choose another"
        )
    return name


def _newest_first(folder: str | os.PathLike[str]) -> list[Path]:
    expect_file_name(folder)
    try:
        entries = [entry for entry in os.scandir(folder) if entry.is_dir() and PLAIN_NAME.fullmatch(entry.name)]
    except FileNotFoundError:
        return []
    except OSError as problem:
        raise CheckpointError(f"{short_path(folder)}: cannot be listed: {problem.strerror}") from problem

    def age(entry: os.DirEntry[str]) -> tuple[list[tuple[int, str]], bool]:
        name = entry.name.removesuffix(REPLACED)
        parts = re.findall(r"[0-9]+|[^0-9]+", name)
        return [(int(part), "") if part.isdigit() else (-1, part) for part in parts], name == entry.name

    return [Path(entry.path) for entry in sorted(entries, key=age, reverse=True)]


def _rename_and_remove(path: Path) -> None:
    """Rename a snapshot, then delete it: partly deleted it must not have its name."""
    if os.path.lexists(path):
        renamed = temporary_beside(path)
        os.rename(path, renamed)
        remove_quietly(renamed)


def _linked(source: Path, target: Path) -> bool:
    """Replace `target` by a hard link to `source`; False if the file system has no hard links."""
    temporary = temporary_beside(target)
    try:
        os.link(source, temporary)
    except OSError as problem:
        if problem.errno in (errno.ENOENT, errno.ENOSPC, errno.EROFS):  # a copy would fail as well
            raise cannot_write(target, problem) from problem
        return False
    try:
        os.replace(temporary, target)
        sync_folder(target.parent)
    except OSError as problem:
        raise cannot_write(target, problem) from problem
    finally:
        remove_quietly(temporary)  # if `target` was already this file, the rename did nothing
    return True
