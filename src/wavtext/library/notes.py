"""What is written about a sound: its file name, tags inside the file, and a manifest beside it.

These words are searched together with the sound (SQLite's full-text search).
"""

import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CAPTIONS = ("title", "description", "comment", "subject", "genre", "album")
_INFO = {"INAM": "title", "ISBJ": "subject", "ICMT": "comment", "IKEY": "keywords",
         "IGNR": "genre", "ICOP": "copyright", "IART": "artist"}  # fmt: skip
_MAX_CHUNK = 1_000_000  # bytes of a text chunk that are worth reading


@dataclass(frozen=True, slots=True, kw_only=True)
class Notes:
    """What is written about one clip."""

    captions: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()  # lower case
    licence: str = ""
    credit: str = ""


def name_words(path: str) -> str:
    """A relative path as words: "Doors/DoorSlam_Heavy-03.wav" -> "doors door slam heavy 03"."""
    stem = path.rsplit(".", 1)[0]
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d])(?=\d)", " ", stem)
    return " ".join(re.findall(r"[^\W_]+", spaced.encode(errors="ignore").decode())).lower()


def read_notes(path: Path) -> Notes:
    """Notes inside a file: ID3, Vorbis comments, MP4 tags, RIFF INFO, BWF bext; none on doubt."""
    values = {**_tagged(path), **_riff(path)}
    captions = [values[name] for name in _CAPTIONS if values.get(name)]
    words = re.split(r"[;,|]", values.get("keywords", ""))
    return Notes(
        captions=tuple(dict.fromkeys(captions)),
        tags=tuple(dict.fromkeys(word.strip().lower() for word in words if word.strip())),
        licence=values.get("license") or values.get("copyright", ""),
        credit=values.get("artist", ""),
    )


def manifest_notes(path: Path) -> dict[str, Notes]:
    """Notes by path, relative to the manifest's folder, as `wavtext collect` writes them.

    Raises:
        ManifestError: It is not a manifest.
    """
    from wavtext.corpora.manifest import iter_manifest

    notes: dict[str, Notes] = {}
    for clip in iter_manifest(path):
        place = Path(clip.path)
        if place.is_absolute():
            try:
                place = place.relative_to(path.parent)
            except ValueError:
                continue
        notes[place.as_posix()] = Notes(
            captions=tuple(clip.captions), licence=clip.license or "", credit=clip.credit or ""
        )
    return notes


def merge(notes: Iterable[Notes]) -> Notes:
    """Several notes on one clip as one, the first one's licence and credit first."""
    listed = list(notes)
    return Notes(
        captions=tuple(dict.fromkeys(caption for each in listed for caption in each.captions)),
        tags=tuple(dict.fromkeys(tag for each in listed for tag in each.tags)),
        licence=next((each.licence for each in listed if each.licence), ""),
        credit=next((each.credit for each in listed if each.credit), ""),
    )


def _tagged(path: Path) -> dict[str, str]:
    """Tags that mutagen reads, by their plain names."""
    import mutagen

    try:
        found: Any = mutagen.File(path, easy=True)  # pyright: ignore
    except Exception:  # a tag that cannot be read is no tag
        return {}
    tags: Mapping[str, Any] = getattr(found, "tags", None) or {}
    values: dict[str, str] = {}
    try:
        for key in tags:
            value = tags[key]
            first = value[0] if isinstance(value, list) and value else value
            if isinstance(first, str):
                values[str(key).lower()] = first.strip()
    except Exception:
        return values
    return values


def _riff(path: Path) -> dict[str, str]:
    """RIFF INFO and BWF bext texts of a WAV file."""
    values: dict[str, str] = {}
    try:
        with path.open("rb") as file:
            head = file.read(12)
            if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
                return {}
            while len(header := file.read(8)) == 8:
                name, size = header[:4], struct.unpack("<I", header[4:])[0]
                if name in (b"LIST", b"bext") and size <= _MAX_CHUNK:
                    content = file.read(size + size % 2)
                    values.update(_bext(content) if name == b"bext" else _info(content))
                elif size == 0xFFFFFFFF:
                    break  # RF64: the sound's size is elsewhere, and what follows it is far off
                else:
                    file.seek(size + size % 2, 1)
    except OSError:
        return {}
    return values


def _info(content: bytes) -> dict[str, str]:
    values: dict[str, str] = {}
    if content[:4] != b"INFO":
        return values
    place = 4
    while place + 8 <= len(content):
        name, size = content[place : place + 4], struct.unpack_from("<I", content, place + 4)[0]
        key = _INFO.get(name.decode("ascii", "replace"))
        if key:
            values[key] = _text(content[place + 8 : place + 8 + size])
        place += 8 + size + size % 2
    return values


def _bext(content: bytes) -> dict[str, str]:
    values = {"description": _text(content[:256]), "artist": _text(content[256:288])}
    return {key: value for key, value in values.items() if value}


def _text(content: bytes) -> str:
    content = content.split(b"\0", 1)[0]
    try:
        return content.decode().strip()
    except UnicodeDecodeError:
        return content.decode("latin-1").strip()
