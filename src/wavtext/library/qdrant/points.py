"""A clip <-> the points of a collection: one for each window, with all that filters ask of.

A point's payload: `clip_id`, `window` (its number), `windows` (of the clip), `start`, `end`,
`path`, `uri`, `content`, `size`, `mtime_ns`, `duration`, `sample_rate`, `channels`, `format`,
`captions`, `tags`, `licence`, `credit`; and for filters `words`, `folders`, `formats`, `licences`.
"""

import hashlib
import os
import re
import sqlite3
import threading
import uuid
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from wavtext.library.bulk.parts import EmbeddedClip
from wavtext.library.filters import Filters, nanoseconds
from wavtext.library.notes import name_words
from wavtext.library.records import ClipRecord

VECTOR = "embedding"
INDEXES = {
    "clip_id": "integer", "window": "integer", "uri": "keyword", "words": "keyword",
    "folders": "keyword", "formats": "keyword", "licences": "keyword", "tags": "keyword",
    "duration": "float", "sample_rate": "integer", "channels": "integer", "mtime_ns": "integer",
}  # fmt: skip
_ADDRESS = re.compile(r"^/([a-z][a-z0-9+.-]+):/(.+)$")
_SPACE = uuid.UUID("8a1b8a0e-6f2f-5c52-9d3a-7774787477f0")
LIBRARY_POINT = str(uuid.uuid5(_SPACE, "library"))  # holds what the library knows of itself


def clip_number(uri: str) -> int:
    """A clip's number: 53 bits, which JavaScript can hold, of the hash of where it lies."""
    digest = hashlib.blake2b(os.fsencode(uri), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 11


def point_id(clip_id: int, window: int) -> str:
    """The point of a window, the same in every run."""
    return str(uuid.uuid5(_SPACE, f"{clip_id}/{window}"))


def points_of(clip: EmbeddedClip, record: ClipRecord, uri: str, stem: "Stemmer") -> list[Any]:
    """The points of a clip, in the order of its windows."""
    from qdrant_client import models

    notes = clip.notes
    said = " ".join([name_words(record.path), *notes.captions, *notes.tags])
    suffix = PurePosixPath(record.path).suffix.lower().lstrip(".")
    clip_id = clip_number(uri)
    shared: dict[str, Any] = {
        "clip_id": clip_id,
        "windows": len(clip.embeddings),
        "path": record.path,
        "uri": uri,
        "content": record.content.hex(),
        "size": record.size,
        "mtime_ns": record.mtime_ns,
        "duration": record.duration,
        "sample_rate": record.sample_rate,
        "channels": record.channels,
        "format": record.format,
        "captions": list(notes.captions),
        "tags": [tag.lower() for tag in notes.tags],
        "licence": notes.licence,
        "credit": notes.credit,
        "words": sorted(stem.words(said)),
        "folders": [str(each) for each in PurePosixPath(record.path).parents if str(each) != "."],
        "formats": sorted({record.format.lower(), suffix} - {""}),
        "licences": sorted(stem.words(notes.licence)),
    }
    return [
        models.PointStruct(
            id=point_id(clip_id, window),
            vector={VECTOR: vector.tolist()},
            payload={**shared, "window": window, "start": float(start), "end": float(end)},
        )
        for window, ((start, end), vector) in enumerate(
            zip(clip.spans, clip.embeddings.astype(np.float32), strict=True)
        )
    ]


def record_of(payload: dict[str, Any]) -> ClipRecord:
    """What is known of a clip; its path is where it lies, an address with one slash only."""
    return ClipRecord(
        path=payload["uri"].replace("://", ":/"),
        size=payload["size"],
        mtime_ns=payload["mtime_ns"],
        content=bytes.fromhex(payload["content"]),
        duration=payload["duration"],
        sample_rate=payload["sample_rate"],
        channels=payload["channels"],
        format=payload["format"],
    )


def uri_of(path: Path) -> str:
    """The address that a path below / stands for; empty for a path of this machine."""
    found = _ADDRESS.match(str(path))
    return f"{found[1]}://{found[2]}" if found else ""


def condition_of(filters: Filters, stem: "Stemmer") -> Any | None:
    """Filters as Qdrant takes them; None when everything passes.

    A format is one of the words themselves here, and a licence holds the words in any order.
    """
    from qdrant_client import models

    must: list[Any] = []

    def ranged(key: str, **bounds: float) -> None:
        must.append(models.FieldCondition(key=key, range=models.Range(**bounds)))

    if filters.min_duration is not None:
        ranged("duration", gte=filters.min_duration)
    if filters.max_duration is not None:
        ranged("duration", lte=filters.max_duration)
    if filters.folder:
        inside = str(PurePosixPath(filters.folder.strip("/")))
        if inside != ".":
            must.append(equal("folders", inside))
    if filters.formats:
        must.append(any_of("formats", [each.lower().lstrip(".") for each in filters.formats]))
    if filters.min_sample_rate is not None:
        ranged("sample_rate", gte=filters.min_sample_rate)
    if filters.channels is not None:
        must.append(equal("channels", filters.channels))
    if filters.after:
        ranged("mtime_ns", gte=nanoseconds(filters.after))
    if filters.before:
        ranged("mtime_ns", lt=nanoseconds(filters.before))
    if filters.licence:
        must += [equal("licences", word) for word in sorted(stem.words(filters.licence))]
    must += [equal("tags", tag.strip().lower()) for tag in filters.tags]
    return models.Filter(must=must) if must else None


def equal(key: str, value: str | int) -> Any:
    """The condition that a field is, or holds, a value."""
    from qdrant_client import models

    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def any_of(key: str, values: Iterable[str] | Iterable[int]) -> Any:
    """The condition that a field is, or holds, one of some values."""
    from qdrant_client import models

    return models.FieldCondition(key=key, match=models.MatchAny(any=list(values)))  # type: ignore[arg-type]


class Stemmer:
    """Words in the form that SQLite's full-text search compares them in, for the same answers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(":memory:", check_same_thread=False)
        self._connection.executescript(
            "CREATE VIRTUAL TABLE text USING fts5"
            "(said, tokenize = 'porter unicode61 remove_diacritics 2');"
            "CREATE VIRTUAL TABLE terms USING fts5vocab(text, row);"
        )

    def words(self, text: str) -> set[str]:
        """The words of a text, without their endings."""
        with self._lock, self._connection as connection:
            connection.execute("INSERT INTO text (rowid, said) VALUES (1, ?)", (text,))
            found = {row[0] for row in connection.execute("SELECT term FROM terms")}
            connection.execute("DELETE FROM text")
        return found
