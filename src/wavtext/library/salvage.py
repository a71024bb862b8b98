"""A damaged library -> a sound one with every clip that is still readable.

SQLite gives up where its tree is broken. This reads the file page by page instead, takes every row
that looks like a clip or its embeddings, and keeps those whose own checksum holds: so nothing wrong
gets in, and one bad page costs only the rows on it.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wavtext.errors import DamagedLibraryError
from wavtext.library import schema
from wavtext.library.pages import Value, stored_rows
from wavtext.library.records import ClipRecord, StoredEmbeddings, embedding_crc, record_crc
from wavtext.library.store import Store

_MODEL_COLUMNS = 5
_CLIP_COLUMNS = 11  # more in later versions; these come first
_EMBEDDING_COLUMNS = 8


@dataclass(frozen=True, slots=True)
class SalvageReport:
    """What was saved out of a damaged library."""

    clips: int  # saved whole
    nameless: int  # saved without their path; the next indexing finds their files by content
    kept_as: Path  # where the damaged file lies now


NAMELESS = ".salvaged/"  # before the number, in place of a lost path


class _Model(NamedTuple):
    identity: str
    name: str
    dim: int
    source: str


def salvage(path: Path, models: Iterable[tuple[str, str, int, str]] = ()) -> SalvageReport:
    """Replace a damaged library by what can be read of it; the damaged file is kept beside it.

    Args:
        path: The library's file; the caller holds its lock.
        models: (identity, name, dim, source) of models that may have made it, in case the file no
            longer says.

    Raises:
        DamagedLibraryError: Not a single clip can be read; nothing was changed.
    """
    found = _Found([_Model(*model) for model in models])
    for row_id, values in stored_rows(path, schema.PAGE_SIZE):
        found.take(row_id, values)
    if not found.embeddings:
        raise DamagedLibraryError(
            f"{path}: no clip in it can be read.",
            help="If it was a library, delete it and index again.",
        )
    fresh = path.with_name(f"{path.name}.salvaged")
    _remove_database(fresh)
    active = found.active()
    embeddings = {key[0]: row for key, row in found.embeddings.items() if key[1] == active}
    clips = {
        clip_id: found.clips[clip_id][1] if clip_id in found.clips else _nameless(clip_id, row)
        for clip_id, row in embeddings.items()
    }
    store = Store(fresh, write=True)
    store.restore(clips, embeddings, found.models[active])
    store.close()
    named = sum(clip_id in found.clips for clip_id in embeddings)
    return SalvageReport(clips=named, nameless=len(embeddings) - named, kept_as=_swap(path, fresh))


def _nameless(clip_id: int, row: StoredEmbeddings) -> ClipRecord:
    """A clip whose row was lost: the next indexing finds its file by the content."""
    return ClipRecord(
        path=f"{NAMELESS}{clip_id}",
        size=0,
        mtime_ns=0,
        content=row.content,
        duration=0.0,
        sample_rate=0,
        channels=0,
        format="",
    )


class _Found:
    """Rows whose checksum holds, the newest of each clip."""

    def __init__(self, models: Sequence[_Model]) -> None:
        self.models = {model.identity: model for model in models}
        self.clips: dict[int, tuple[int, ClipRecord]] = {}
        self.embeddings: dict[tuple[int, str], StoredEmbeddings] = {}
        self._unclaimed: list[tuple[int, StoredEmbeddings]] = []

    def active(self) -> str:
        """The identity of the model that most clips were embedded by; of several, the newest.

        While a library changes its model, the old embeddings are whole and serve searches.
        """
        counts = Counter(identity for _, identity in self.embeddings)
        newest: dict[str, int] = {}
        for (_, identity), row in self.embeddings.items():
            newest[identity] = max(newest.get(identity, 0), row.revision)
        return max(counts, key=lambda identity: (counts[identity], newest[identity]))

    def take(self, row_id: int, values: list[Value]) -> None:
        """Sort one row into what it is, if anything."""
        if len(values) == _MODEL_COLUMNS:
            self._take_model(values)
        elif len(values) == _EMBEDDING_COLUMNS:
            self._take_embeddings(values)
        elif len(values) >= _CLIP_COLUMNS:
            self._take_clip(row_id, values)

    def _take_model(self, values: list[Value]) -> None:
        _, identity, name, dim, source = values
        if (
            isinstance(identity, str)
            and isinstance(name, str)
            and isinstance(dim, int)
            and isinstance(source, str)
            and identity not in self.models
        ):
            self.models[identity] = _Model(identity, name, dim, source)
            unclaimed, self._unclaimed = self._unclaimed, []
            for clip_id, row in unclaimed:
                self._claim(clip_id, row)

    def _take_embeddings(self, values: list[Value]) -> None:
        _, clip_id, _, content, spans, vectors, crc, revision = values
        if (
            isinstance(clip_id, int)
            and isinstance(content, bytes)
            and isinstance(spans, bytes)
            and isinstance(vectors, bytes)
            and isinstance(crc, int)
            and isinstance(revision, int)
        ):
            self._claim(clip_id, StoredEmbeddings(content, spans, vectors, crc, revision))

    def _claim(self, clip_id: int, row: StoredEmbeddings) -> None:
        """Keep embeddings whose checksum names one of the models."""
        for identity in self.models:
            if embedding_crc(clip_id, identity, *row[:3]) == row.crc:
                key = (clip_id, identity)
                if key not in self.embeddings or self.embeddings[key].revision < row.revision:
                    self.embeddings[key] = row
                return
        self._unclaimed.append((clip_id, row))

    def _take_clip(self, row_id: int, values: list[Value]) -> None:
        _, path, size, mtime_ns, content, duration, rate, channels, kind, crc, revision = values[
            :11
        ]
        if not (
            isinstance(path, str | bytes)
            and isinstance(size, int)
            and isinstance(mtime_ns, int)
            and isinstance(content, bytes)
            and isinstance(duration, int | float)
            and isinstance(rate, int)
            and isinstance(channels, int)
            and isinstance(kind, str)
            and isinstance(revision, int)
        ):
            return
        record = ClipRecord(
            path=os.fsdecode(path) if isinstance(path, bytes) else path,
            size=size,
            mtime_ns=mtime_ns,
            content=content,
            duration=float(duration),
            sample_rate=rate,
            channels=channels,
            format=kind,
        )
        if record_crc(row_id, record) == crc and self.clips.get(row_id, (-1,))[0] < revision:
            self.clips[row_id] = (revision, record)


# Files


def _swap(path: Path, fresh: Path) -> Path:
    """Put the salvaged file in the library's place and keep the damaged one beside it."""
    number = 1
    while (kept_as := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    try:
        os.link(path, kept_as)
    except OSError:  # a file system without links
        shutil.copy2(path, kept_as)
    for suffix in ("-wal", "-shm"):
        log = Path(f"{path}{suffix}")
        if log.exists():
            log.replace(Path(f"{kept_as}{suffix}"))
    fresh.replace(path)
    return kept_as


def _remove_database(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
