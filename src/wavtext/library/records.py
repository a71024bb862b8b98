"""What the tables hold, as Python values, and the checksums that guard it."""

import os
import zlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

VECTOR_TYPE = np.dtype("<f2")
SPAN_TYPE = np.dtype("<f4")
CLIP_COLUMNS = "path, size, mtime_ns, content, duration, sample_rate, channels, format"


class StoredFile(NamedTuple):
    """A clip as the scanner needs it."""

    clip_id: int
    size: int  # bytes
    mtime_ns: int
    embedded: bool  # by the model in question


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRecord:
    """One row of clips."""

    path: str  # relative to the folder, '/' between parts
    size: int  # bytes
    mtime_ns: int
    content: bytes  # hash of the file
    duration: float  # seconds
    sample_rate: int  # Hz
    channels: int
    format: str


class ModelRecord(NamedTuple):
    """The model that a library's embeddings came from."""

    model_id: int
    identity: str
    name: str
    dim: int
    source: str = ""  # what load_model takes: a name or a folder


class StoredEmbeddings(NamedTuple):
    """A row of embeddings as it lies in the file."""

    content: bytes
    spans: bytes
    vectors: bytes
    crc: int
    revision: int


class EmbeddingRow(NamedTuple):
    """The windows of one clip."""

    clip_id: int
    revision: int
    spans: bytes
    vectors: bytes
    intact: bool  # the checksum holds


def embedding_crc(clip_id: int, identity: str, content: bytes, spans: bytes, vectors: bytes) -> int:
    """Checksum of a clip's embeddings, which also tells the clip and the model they are of."""
    crc = zlib.crc32(content, zlib.crc32(f"{clip_id}|{identity}".encode()))
    return zlib.crc32(vectors, zlib.crc32(spans, crc))


def record_crc(clip_id: int, record: ClipRecord) -> int:
    """Checksum of a clip's row."""
    text = (
        f"|{clip_id}|{record.size}|{record.mtime_ns}|{record.duration!r}|{record.sample_rate}"
        f"|{record.channels}|{record.format}|"
    )
    return zlib.crc32(os.fsencode(record.path) + text.encode() + record.content)


def record_of(row: tuple[Any, ...]) -> ClipRecord:
    """The record of a row of CLIP_COLUMNS."""
    path, size, mtime_ns, content, duration, sample_rate, channels, kind = row
    return ClipRecord(
        path=path_text(path),
        size=size,
        mtime_ns=mtime_ns,
        content=content,
        duration=duration,
        sample_rate=sample_rate,
        channels=channels,
        format=kind,
    )


def path_key(path: str) -> str | bytes:
    """A path as SQLite keeps it: text, or bytes where the name is not Unicode."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return os.fsencode(path)
    return path


def path_text(path: str | bytes) -> str:
    """A path as it was before `path_key`."""
    return os.fsdecode(path) if isinstance(path, bytes) else path
