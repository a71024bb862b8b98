"""Manifests: the clips and captions that training and evaluation read.  JSON lines <-> `Clip`s.

One clip a line, every key a field of `Clip`; keys that are empty are left out. A relative path is
relative to the manifest's folder, so that a collection can be moved as a whole. A file is written
beside its final name and renamed into place: a reader sees the old manifest or the new one, never
half of one.
"""

import difflib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from wavtext.errors import ManifestError


@dataclass(frozen=True, slots=True)
class Clip:
    """One sound and the captions that fit it."""

    clip_id: str  # unique within the manifest
    path: Path  # the sound file
    captions: tuple[str, ...] = ()
    split: str = ""  # train, validation, test; empty when the collection has none
    group: str = (
        ""  # recordings of one family: split by group, never by clip; empty: a family of its own
    )
    source: str = ""  # the collection, or the package or site within it
    license: str = (
        ""  # an SPDX expression where known; "unclear" where it was looked for and not found
    )
    credit: str = ""  # whom the licence says to name
    duration: float | None = None  # seconds
    sample_rate: int | None = None  # Hz
    checksum: str = ""  # "sha256:..." of the file
    columns: Mapping[str, str] = field(
        default_factory=dict[str, str], hash=False
    )  # title, tags, ...

    def __post_init__(self) -> None:
        if not self.clip_id:
            raise ManifestError("a clip has no clip_id.")
        if self.duration is not None and not 0 <= self.duration < float("inf"):
            raise ManifestError(
                f"'duration' of {self.clip_id!r} is {self.duration}; it must be ≥ 0 s."
            )
        if self.sample_rate is not None and self.sample_rate <= 0:
            raise ManifestError(
                f"'sample_rate' of {self.clip_id!r} is {self.sample_rate}; it must be > 0 Hz."
            )


_FIELDS = tuple(each.name for each in fields(Clip))
_TEXT = ("split", "group", "source", "license", "credit", "checksum")


def read_manifest(path: Path | str, *, check_files: bool = False) -> list[Clip]:
    """All clips of a manifest, in its order.

    Args:
        path: The manifest, JSON lines.
        check_files: Also require that every sound file exists.

    Raises:
        ManifestError: The file cannot be read, or a line is not a clip; names the line.
    """
    return list(iter_manifest(path, check_files=check_files))


def iter_manifest(path: Path | str, *, check_files: bool = False) -> Iterator[Clip]:
    """The clips of a manifest one by one; arguments and errors as `read_manifest`."""
    path = Path(path)
    seen: dict[str, int] = {}
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                clip = _parse_line(line, path.parent, where=f"{path}:{number}")
                if clip.clip_id in seen:
                    raise ManifestError(
                        f"{path}:{number}: clip_id {clip.clip_id!r} is already on line"
                        f" {seen[clip.clip_id]}."
                    )
                if check_files and not clip.path.is_file():
                    raise ManifestError(f"{path}:{number}: no such sound file: {clip.path}.")
                seen[clip.clip_id] = number
                yield clip
    except FileNotFoundError as error:
        raise ManifestError(
            f"{path}: no such manifest.", help="Make one: wavtext collect SOURCE --out FOLDER"
        ) from error
    except UnicodeDecodeError as error:
        raise ManifestError(f"{path}: not UTF-8 text: {error}.") from error
    except OSError as error:
        raise ManifestError(f"{path}: cannot be read: {error.strerror}.") from error


def write_manifest(path: Path | str, clips: Iterable[Clip]) -> int:
    """Write the clips as JSON lines, atomically; returns how many.

    Paths inside the manifest's folder are written relative to it, others as absolute. `clips` may
    be an iterator over the very manifest that is replaced.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = path.parent.resolve()
    count = 0

    def lines() -> Iterator[str]:
        nonlocal count
        seen: set[str] = set()
        for clip in clips:
            if clip.clip_id in seen:
                raise ManifestError(f"{path}: clip_id {clip.clip_id!r} comes twice.")
            seen.add(clip.clip_id)
            count += 1
            yield clip_to_json(clip, folder) + "\n"

    write_atomically(path, lines())
    return count


def write_atomically(path: Path, lines: Iterable[str]) -> None:
    """Write text so that `path` holds all of it or is untouched, also after kill -9."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise ManifestError(f"{path}: cannot be written: {error.strerror}.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def clip_to_json(clip: Clip, folder: Path) -> str:
    """One line of a manifest that lies in `folder` (resolved), without its line break."""
    values: dict[str, Any] = {}
    for name in _FIELDS:
        value = getattr(clip, name)
        if name == "path":
            value = _relative(clip.path, folder)
        elif name == "duration" and value is not None:
            value = round(value, 6)  # a microsecond; keeps two runs byte-equal across resamplers
        if value not in (None, "", (), {}):
            values[name] = dict(clip.columns) if name == "columns" else value
    return json.dumps(values, ensure_ascii=False)


def _relative(path: Path, folder: Path) -> str:
    # Not resolve(): a link inside the collection stays the name the user knows it by.
    absolute = Path(os.path.abspath(path))
    return (
        absolute.relative_to(folder).as_posix()
        if absolute.is_relative_to(folder)
        else str(absolute)
    )


def _parse_line(line: str, folder: Path, *, where: str) -> Clip:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise ManifestError(f"{where}: not JSON: {error.msg} (column {error.colno}).") from error
    if not isinstance(values, dict):
        raise ManifestError(f"{where}: a line must be a JSON object, not {type(values).__name__}.")
    try:
        return _to_clip(cast(dict[str, Any], values), folder)
    except ManifestError as error:
        raise ManifestError(f"{where}: {error}") from error


def _to_clip(values: dict[str, Any], folder: Path) -> Clip:
    for name in values:
        if name not in _FIELDS:
            near = difflib.get_close_matches(name, _FIELDS, n=1)
            raise ManifestError(
                f"no key '{name}' in a manifest.",
                help=f"Did you mean '{near[0]}'?" if near else "Put it under 'columns'.",
            )
    for name in ("clip_id", "path"):
        if not isinstance(values.get(name), str) or not values[name]:
            raise ManifestError(f"'{name}' is missing or is not text.")
    arguments: dict[str, Any] = {
        "clip_id": values["clip_id"],
        "path": folder / values["path"],
        "captions": tuple(_texts(values.get("captions", []), "captions")),
        "columns": _columns(values.get("columns", {})),
    }
    for name in _TEXT:
        arguments[name] = values.get(name, "")
        if not isinstance(arguments[name], str):
            raise ManifestError(f"'{name}' is {arguments[name]!r}; it must be text.")
    duration, sample_rate = values.get("duration"), values.get("sample_rate")
    if duration is not None and (
        isinstance(duration, bool) or not isinstance(duration, int | float)
    ):
        raise ManifestError(f"'duration' is {duration!r}; it must be a number of seconds.")
    if sample_rate is not None and (
        isinstance(sample_rate, bool) or not isinstance(sample_rate, int)
    ):
        raise ManifestError(f"'sample_rate' is {sample_rate!r}; it must be a whole number of Hz.")
    return Clip(
        **arguments, duration=None if duration is None else float(duration), sample_rate=sample_rate
    )


def _texts(value: Any, name: str) -> list[str]:
    if not isinstance(value, list) or not all(
        isinstance(each, str) for each in cast(list[Any], value)
    ):
        raise ManifestError(f"'{name}' is {value!r}; it must be a list of texts.")
    return cast(list[str], value)


def _columns(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ManifestError(f"'columns' is {value!r}; it must be an object of texts.")
    items = cast(dict[str, Any], value)
    _texts(list(items.values()), "columns")
    return cast(dict[str, str], items)
