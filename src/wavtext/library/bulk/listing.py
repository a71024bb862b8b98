"""Sources (folders, globs, addresses) -> a listing of sound files, all below one root."""

import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wavtext.audio.decode import AUDIO_SUFFIXES
from wavtext.errors import LibraryError
from wavtext.library.bulk.places import (
    Place,
    file_state,
    file_system,
    is_remote,
    local_path,
    named_errors,
)
from wavtext.library.scan import scan_folder

_WILD = "*?["


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A sound file, wherever it lies."""

    path: str  # relative to the listing's root, '/' between parts
    size: int  # bytes
    mtime_ns: int  # since 1970; 0 where the place does not say


@dataclass(frozen=True, slots=True)
class Listing:
    """The sound files that were named, in the order of their paths."""

    root: str  # an absolute path, or an address such as s3://bucket/prefix
    files: list[SourceFile]
    problems: dict[str, str] = field(default_factory=dict[str, str])  # path -> reason


def list_sources(sources: Sequence[str | Path], leave_out: str = "") -> Listing:
    """The sound files of folders, files, globs and addresses.

    Args:
        sources: Folders (with all folders inside), files, globs such as "sounds/**/*.wav", and the
            same at an address: s3://bucket/prefix.
        leave_out: A folder inside the sources that is not to be read.

    Raises:
        LibraryError: Nothing is there, or sources lie in different places that share no root.
    """
    listings = [_list_source(str(each), leave_out) for each in sources]
    root = _common_root([each.root for each in listings])
    files: dict[str, SourceFile] = {}
    problems: dict[str, str] = {}
    for each in listings:
        inside = each.root.removeprefix(root).strip("/")
        prefix = f"{inside}/" if inside else ""
        for file in each.files:
            path = prefix + file.path
            files[path] = SourceFile(path, file.size, file.mtime_ns)
        problems.update({prefix + path: reason for path, reason in each.problems.items()})
    for path in [path for path in files if not _is_text(path)]:
        del files[path]
        shown = path.encode(errors="backslashreplace").decode()
        problems[shown] = "its name is not UTF-8, which Parquet asks for; rename it"
    return Listing(root, [files[path] for path in sorted(files)], problems)


def _list_source(source: str, leave_out: str) -> Listing:
    if is_remote(source):
        return _list_remote(source)
    path = local_path(source)
    if os.path.isdir(path):
        scan = scan_folder(Path(path), AUDIO_SUFFIXES, exclude=Path(leave_out or "."))
        files = [SourceFile(name, *state) for name, state in scan.files.items()]
        return Listing(path, files, dict(scan.problems))
    if os.path.exists(path):
        return _local_files([path], os.path.dirname(path))
    root, found = _wild_root(path), []
    if root != path:
        found = sorted(each for each in glob.glob(path, recursive=True) if os.path.isfile(each))
    if not found:
        raise LibraryError(f"{source}: no such folder or file.", help="Check the spelling.")
    return _local_files([each for each in found if _is_sound(each)], root)


def _local_files(paths: Iterable[str], root: str) -> Listing:
    files: list[SourceFile] = []
    for path in paths:
        info = os.stat(path)
        files.append(SourceFile(os.path.relpath(path, root), info.st_size, info.st_mtime_ns))
    return Listing(root, files)


def _list_remote(source: str) -> Listing:
    scheme = source.split("://", 1)[0]
    if any(character in source for character in _WILD):
        root = _wild_root(source)
        system, pattern = file_system(source)
        with named_errors(source, "listed"):
            found: dict[str, Any] = system.glob(pattern, detail=True)
        infos = {
            f"{scheme}://{name}".removeprefix(f"{root}/"): file_state(info)
            for name, info in found.items()
            if info.get("type") == "file"
        }
    else:
        place = Place(source)
        root, infos = place.url, place.find()
        if not infos:  # a single file
            root, _, name = place.url.rpartition("/")
            state = Place(root).state(name)
            infos = {name: state} if state else {}
    files = [SourceFile(name, *state) for name, state in infos.items() if _is_sound(name)]
    if not files:
        raise LibraryError(f"{source}: no sounds are there.", help="Check the address.")
    return Listing(root, files)


def _common_root(roots: Sequence[str]) -> str:
    if len(set(roots)) == 1:
        return roots[0]
    schemes = {each.split("://", 1)[0] if is_remote(each) else "" for each in roots}
    common = os.path.commonpath([each.split("://", 1)[-1] for each in roots]) if roots else ""
    if len(schemes) != 1 or not common.strip("/"):
        raise LibraryError(
            f"{', '.join(roots)}: share no folder.", help="Embed each into an --out of its own."
        )
    (scheme,) = schemes
    return f"{scheme}://{common}" if scheme else common


def _wild_root(pattern: str) -> str:
    """The part of a pattern before the first folder with a wild card in it."""
    parts = pattern.split("/")
    wild = [i for i, part in enumerate(parts) if any(each in part for each in _WILD)]
    return "/".join(parts[: wild[0]]) if wild else pattern


def _is_sound(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    return not last.startswith(".") and os.path.splitext(last)[1].lower() in AUDIO_SUFFIXES


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
