"""A folder -> the sound files in it; and what has changed since the library last looked."""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from wavtext.errors import LibraryError
from wavtext.library.records import StoredFile


class FileState(NamedTuple):
    """What tells a changed file from an unchanged one."""

    size: int  # bytes
    mtime_ns: int


@dataclass(slots=True)
class Scan:
    """What a folder holds; paths are relative to it, with '/' between parts."""

    files: dict[str, FileState] = field(default_factory=dict[str, FileState])
    problems: dict[str, str] = field(default_factory=dict[str, str])  # path -> reason
    closed: list[str] = field(default_factory=list[str])  # folders that could not be listed
    ignored: int = 0  # files that are no sounds by their suffix


@dataclass(frozen=True, slots=True)
class Plan:
    """What an indexing run has to do."""

    work: list[tuple[str, FileState]]  # new or changed files
    unchanged: int
    missing: dict[int, str]  # clip id -> path of clips whose file is gone
    skipped: dict[str, str]  # path -> reason of files that failed before and have not changed


def scan_folder(folder: Path, suffixes: Iterable[str], *, exclude: Path | None = None) -> Scan:
    """List the sound files of a folder and all folders in it; links are followed, loops are not.

    Hidden files and folders are left out, as are files whose suffix is not in `suffixes`
    (lower case, with the dot).

    Raises:
        LibraryError: The folder is missing or cannot be listed.
    """
    if not folder.exists():
        raise LibraryError(f"{folder}: no such folder.", help="Check the spelling.")
    if not folder.is_dir():
        raise LibraryError(f"{folder}: not a folder.", help="Name the folder that holds the file.")
    wanted = frozenset(suffixes)
    scan = Scan()
    seen: set[tuple[int, int]] = set()
    excluded = os.fspath(exclude) if exclude else ""
    pending = [("", os.fspath(folder))]
    while pending:
        relative, place = pending.pop()
        try:
            info = os.stat(place)
            if (info.st_dev, info.st_ino) in seen:
                continue
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(place) as entries:
                listing = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if not relative:
                raise LibraryError(f"{folder}: cannot be listed: {error.strerror}.") from error
            scan.closed.append(relative)
            scan.problems[relative] = f"the folder cannot be listed: {error.strerror}"
            continue
        folders: list[tuple[str, str]] = []
        for entry in listing:
            if entry.name.startswith("."):
                continue
            name = f"{relative}/{entry.name}" if relative else entry.name
            if _is_folder(entry):
                if entry.path != excluded:
                    folders.append((name, entry.path))
            elif os.path.splitext(entry.name)[1].lower() in wanted:
                _add_file(scan, name, entry)
            else:
                scan.ignored += 1
        pending.extend(reversed(folders))
    return scan


def make_plan(
    scan: Scan,
    known: Mapping[str, StoredFile],
    failed: Mapping[str, tuple[int, int, bool, str]],
    *,
    retry: bool = False,
) -> Plan:
    """Compare a folder with what the library knows of it."""
    work: list[tuple[str, FileState]] = []
    skipped: dict[str, str] = {}
    unchanged = 0
    for path, state in scan.files.items():
        clip = known.get(path)
        if clip is not None and clip.embedded and (clip.size, clip.mtime_ns) == state:
            unchanged += 1
            continue
        before = failed.get(path)
        if before is not None and before[2] and before[:2] == state and not retry:
            skipped[path] = before[3]
            continue
        work.append((path, state))
    closed = tuple(f"{folder}/" for folder in scan.closed)
    missing = {
        clip.clip_id: path
        for path, clip in known.items()
        if path not in scan.files and path not in scan.problems and not path.startswith(closed)
    }
    return Plan(work, unchanged, missing, skipped)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _add_file(scan: Scan, name: str, entry: os.DirEntry[str]) -> None:
    try:
        info = entry.stat()
    except FileNotFoundError:
        if entry.is_symlink():
            scan.problems[name] = "a link to a file that does not exist"
        return
    except OSError as error:
        scan.problems[name] = f"cannot be read: {error.strerror}"
        return
    if not stat.S_ISREG(info.st_mode):
        scan.problems[name] = "not a regular file"
        return
    scan.files[name] = FileState(info.st_size, info.st_mtime_ns)
