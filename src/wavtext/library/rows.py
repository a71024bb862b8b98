"""Writes of single rows, inside a transaction of the caller's."""

import sqlite3

from wavtext.library.notes import name_words
from wavtext.library.records import ClipRecord, embedding_crc, path_key, record_crc


def put_record(
    connection: sqlite3.Connection, record: ClipRecord, revision: int, clip_id: int | None = None
) -> int:
    """Add a clip, or replace the one of its path; its id."""
    row = connection.execute(
        "INSERT INTO clips (id, path, size, mtime_ns, content, duration, sample_rate, channels, "
        "format, crc, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) "
        "ON CONFLICT (path) DO UPDATE SET size = excluded.size, "
        "mtime_ns = excluded.mtime_ns, content = excluded.content, "
        "duration = excluded.duration, sample_rate = excluded.sample_rate, "
        "channels = excluded.channels, format = excluded.format, crc = excluded.crc, "
        "revision = excluded.revision RETURNING id",
        (
            clip_id,
            path_key(record.path),
            record.size,
            record.mtime_ns,
            record.content,
            record.duration,
            record.sample_rate,
            record.channels,
            record.format,
            0,
            revision,
        ),
    ).fetchone()
    connection.execute("DELETE FROM notes WHERE clip_id = ?", (row[0],))
    put_name(connection, row[0], record.path)
    crc = record_crc(row[0], record)  # the number is part of it
    connection.execute("UPDATE clips SET crc = ? WHERE id = ?", (crc, row[0]))
    connection.execute("DELETE FROM failures WHERE path = ?", (path_key(record.path),))
    return row[0]


def put_name(connection: sqlite3.Connection, clip_id: int, path: str) -> None:
    """Make the words of a clip's path searchable."""
    connection.execute("DELETE FROM words WHERE rowid = ?", (clip_id,))
    connection.execute(
        "INSERT INTO words (rowid, name, captions) VALUES (?, ?, '')", (clip_id, name_words(path))
    )


def put_embeddings(
    connection: sqlite3.Connection,
    clip_id: int,
    model_id: int,
    content: bytes,
    spans: bytes,
    vectors: bytes,
    revision: int,
) -> None:
    """Add or replace what a model made of a clip."""
    identity = identity_of(connection, model_id)
    crc = embedding_crc(clip_id, identity, content, spans, vectors)
    connection.execute(
        "INSERT OR REPLACE INTO embeddings "
        "(clip_id, model_id, content, spans, vectors, crc, revision) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (clip_id, model_id, content, spans, vectors, crc, revision),
    )


def identity_of(connection: sqlite3.Connection, model_id: int) -> str:
    """A model's identity."""
    row = connection.execute("SELECT identity FROM models WHERE id = ?", (model_id,)).fetchone()
    return row[0]


def remove_clip(connection: sqlite3.Connection, clip_id: int) -> None:
    """Forget a clip and note that it went."""
    revision = next_revision(connection)
    connection.execute("DELETE FROM clips WHERE id = ?", (clip_id,))
    connection.execute("DELETE FROM embeddings WHERE clip_id = ?", (clip_id,))
    connection.execute("DELETE FROM notes WHERE clip_id = ?", (clip_id,))
    connection.execute("DELETE FROM words WHERE rowid = ?", (clip_id,))
    connection.execute("INSERT INTO removed VALUES (?, ?)", (clip_id, revision))


def next_revision(connection: sqlite3.Connection) -> int:
    """Count one change more."""
    connection.execute("UPDATE meta SET value = value + 1 WHERE key = 'revision'")
    return connection.execute("SELECT value FROM meta WHERE key = 'revision'").fetchone()[0]
