"""Clips and embeddings in and out of the SQLite file.

With notebook.py, wordbook.py, failures.py and rows.py, all that knows the tables.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32

from wavtext.library import schema
from wavtext.library.failures import Failures
from wavtext.library.notebook import Notebook
from wavtext.library.notes import name_words
from wavtext.library.records import (
    CLIP_COLUMNS,
    SPAN_TYPE,
    VECTOR_TYPE,
    ClipRecord,
    EmbeddingRow,
    StoredEmbeddings,
    StoredFile,
    embedding_crc,
    path_key,
    path_text,
    record_crc,
    record_of,
)
from wavtext.library.rows import (
    identity_of,
    next_revision,
    put_embeddings,
    put_record,
    remove_clip,
)
from wavtext.library.wordbook import Wordbook

RECORDS_REMEMBERED = 20_000  # by a reader


class Store(Notebook, Wordbook, Failures):
    """The tables of one library.

    Args:
        path: The file.
        write: Create it when missing and bring an older one up to date.
    """

    # Clips

    def files(self, model_id: int) -> dict[str, StoredFile]:
        """All clips by path."""
        query = (
            "SELECT path, clips.id, size, mtime_ns, embeddings.content IS clips.content "
            "FROM clips LEFT JOIN embeddings ON clip_id = clips.id AND model_id = ?"
        )
        with self.reading() as connection:
            rows = connection.execute(query, (model_id,))
            return {
                path_text(row[0]): StoredFile(row[1], row[2], row[3], bool(row[4])) for row in rows
            }

    def clip_of_content(self, content: bytes, model_id: int) -> tuple[int, str] | None:
        """(clip id, path) of a clip with this content that the model has embedded."""
        query = (
            "SELECT clips.id, path FROM clips JOIN embeddings ON clip_id = clips.id "
            "AND embeddings.content = clips.content WHERE clips.content = ? AND model_id = ?"
        )
        with self.reading() as connection:
            row = connection.execute(query, (content, model_id)).fetchone()
        return None if row is None else (row[0], path_text(row[1]))

    def clip_rows(self, clip_ids: Iterable[int] | None = None) -> Iterator[tuple[int, ClipRecord]]:
        """(clip id, record), all of them in order or those asked for; damaged rows are left out.

        A reader remembers those that were asked for until somebody writes.
        """
        columns = f"id, crc, {CLIP_COLUMNS}"
        if clip_ids is None:
            yield from self._all_clip_rows(columns)
            return
        wanted = list(clip_ids)
        with self.reading() as connection:
            known = self._remembered(connection, "records")
            if len(known) > RECORDS_REMEMBERED:
                known.clear()
            unknown = [clip_id for clip_id in wanted if clip_id not in known]
            for begin in range(0, len(unknown), 500):
                some = unknown[begin : begin + 500]
                query = f"SELECT {columns} FROM clips WHERE id IN ({_marks(some)})"
                known.update(_intact(connection.execute(query, some)))
        yield from ((clip_id, known[clip_id]) for clip_id in wanted if clip_id in known)

    def _all_clip_rows(self, columns: str) -> Iterator[tuple[int, ClipRecord]]:
        """A few thousand at a time, so that a million clips do not lie in memory at once."""
        last = 0
        while True:
            query = f"SELECT {columns} FROM clips WHERE id > ? ORDER BY id LIMIT 5000"
            with self.reading() as connection:
                rows = connection.execute(query, (last,)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield from _intact(rows)

    def clips_at(self, paths: Iterable[str]) -> list[int]:
        """The clips with these paths."""
        with self.reading() as connection:
            rows = [
                connection.execute(
                    "SELECT id FROM clips WHERE path = ?", (path_key(path),)
                ).fetchone()
                for path in paths
            ]
        return [row[0] for row in rows if row is not None]

    def put_clip(
        self,
        record: ClipRecord,
        model_id: int,
        spans: Float32[np.ndarray, "windows 2"],
        vectors: Float32[np.ndarray, "windows dim"],
    ) -> int:
        """Add or replace one clip and its embeddings, in one transaction; its id."""
        span_bytes = np.ascontiguousarray(spans, SPAN_TYPE).tobytes()
        vector_bytes = np.ascontiguousarray(vectors, VECTOR_TYPE).tobytes()
        with self.writing() as connection:
            revision = next_revision(connection)
            clip_id = put_record(connection, record, revision)
            put_embeddings(
                connection, clip_id, model_id, record.content, span_bytes, vector_bytes, revision
            )
        return clip_id

    def move_clip(self, clip_id: int, record: ClipRecord) -> None:
        """Give a clip another path, size or time; its content and embeddings stay."""
        with self.writing() as connection:
            revision = next_revision(connection)
            connection.execute("DELETE FROM failures WHERE path = ?", (path_key(record.path),))
            for row in connection.execute(
                "SELECT id FROM clips WHERE path = ? AND id != ?", (path_key(record.path), clip_id)
            ).fetchall():
                remove_clip(connection, row[0])
            connection.execute(
                "UPDATE clips SET path = ?, size = ?, mtime_ns = ?, duration = ?, "
                "sample_rate = ?, channels = ?, format = ?, crc = ?, revision = ? WHERE id = ?",
                (
                    path_key(record.path),
                    record.size,
                    record.mtime_ns,
                    record.duration,
                    record.sample_rate,
                    record.channels,
                    record.format,
                    record_crc(clip_id, record),
                    revision,
                    clip_id,
                ),
            )
            name = name_words(record.path)
            connection.execute("UPDATE words SET name = ? WHERE rowid = ?", (name, clip_id))

    def copy_clip(self, clip_id: int, record: ClipRecord, model_id: int) -> int:
        """Add a clip whose content is that of another; its id."""
        with self.writing() as connection:
            spans, vectors = connection.execute(
                "SELECT spans, vectors FROM embeddings WHERE clip_id = ? AND model_id = ?",
                (clip_id, model_id),
            ).fetchone()
            revision = next_revision(connection)
            new_id = put_record(connection, record, revision)
            put_embeddings(connection, new_id, model_id, record.content, spans, vectors, revision)
        return new_id

    def remove_clips(self, clip_ids: Iterable[int]) -> None:
        """Forget clips, in one transaction."""
        with self.writing() as connection:
            for clip_id in clip_ids:
                remove_clip(connection, clip_id)

    def restore(
        self,
        records: dict[int, ClipRecord],
        embeddings: dict[int, StoredEmbeddings],
        model: tuple[str, str, int, str],
    ) -> None:
        """Fill an empty library with clips under their old numbers, in one transaction."""
        model_id = self.ensure_model(*model).model_id
        with self.writing() as connection:
            revision = 1 + max(row.revision for row in embeddings.values())
            connection.execute("UPDATE meta SET value = ? WHERE key = 'revision'", (revision,))
            taken: set[str] = set()
            for clip_id in sorted(records, reverse=True):  # of two rows of one path, the later
                record = records[clip_id]
                if record.path in taken:
                    continue
                taken.add(record.path)
                row = embeddings[clip_id]
                put_record(connection, record, revision, clip_id)
                put_embeddings(
                    connection,
                    clip_id,
                    model_id,
                    row.content,
                    row.spans,
                    row.vectors,
                    revision,
                )

    # Damage

    def verify(self) -> None:
        """Let SQLite check its trees and indexes.

        Raises:
            DamagedLibraryError: They are broken.
        """
        with self.reading() as connection:
            problems = [row[0] for row in connection.execute("PRAGMA integrity_check(3)")]
        if problems != ["ok"]:
            raise schema.damaged(self.path, problems[0])

    def damaged_clips(self) -> list[int]:
        """Clips whose row or embeddings do not match their checksum, as after a flipped bit."""
        damaged: set[int] = set()
        with self.reading() as connection:
            query = f"SELECT id, crc, {CLIP_COLUMNS} FROM clips"
            for clip_id, crc, *row in connection.execute(query):
                if record_crc(clip_id, record_of(tuple(row))) != crc:
                    damaged.add(clip_id)
            models = connection.execute("SELECT id FROM models").fetchall()
        for (model_id,) in models:
            damaged.update(row.clip_id for row in self.embedding_rows(model_id) if not row.intact)
        return sorted(damaged)

    # Embeddings

    def embedding_rows(self, model_id: int, after: int = 0) -> Iterator[EmbeddingRow]:
        """The embeddings written after a revision, in the order of writing, checksums verified."""
        query = (
            "SELECT clip_id, revision, content, spans, vectors, crc FROM embeddings "
            "WHERE model_id = ? AND revision > ? ORDER BY id"
            if after
            else "SELECT clip_id, revision, content, spans, vectors, crc FROM embeddings "
            "WHERE model_id = ? AND +revision > ? ORDER BY id"
        )
        with self.reading() as connection:
            identity = identity_of(connection, model_id)
            for clip_id, revision, content, spans, vectors, crc in connection.execute(
                query, (model_id, after)
            ):
                intact = embedding_crc(clip_id, identity, content, spans, vectors) == crc
                yield EmbeddingRow(clip_id, revision, spans, vectors, intact)

    def embeddings_of(self, clip_ids: Iterable[int], model_id: int) -> Iterator[EmbeddingRow]:
        """The embeddings of given clips, those that are there, in any order."""
        wanted = list(clip_ids)
        with self.reading() as connection:
            if model_id not in self._identities:
                self._identities[model_id] = identity_of(connection, model_id)
            rows: list[Any] = []
            for begin in range(0, len(wanted), 500):
                some = wanted[begin : begin + 500]
                rows += connection.execute(
                    "SELECT clip_id, revision, content, spans, vectors, crc FROM embeddings "
                    f"WHERE model_id = ? AND clip_id IN ({_marks(some)})",
                    (model_id, *some),
                )
        identity = self._identities[model_id]
        for clip_id, revision, content, spans, vectors, crc in rows:
            intact = embedding_crc(clip_id, identity, content, spans, vectors) == crc
            yield EmbeddingRow(clip_id, revision, spans, vectors, intact)

    def window_counts(self, clip_ids: Iterable[int], model_id: int) -> dict[int, int]:
        """Clip -> how many windows a model embedded of it, for those of these clips it did."""
        wanted = list(clip_ids)
        sizes: dict[int, int] = {}
        with self.reading() as connection:
            for begin in range(0, len(wanted), 500):
                some = wanted[begin : begin + 500]
                query = (
                    "SELECT clip_id, length(spans) FROM embeddings "
                    f"WHERE model_id = ? AND clip_id IN ({_marks(some)})"
                )
                sizes.update(connection.execute(query, (model_id, *some)))
        return {clip_id: size // (2 * SPAN_TYPE.itemsize) for clip_id, size in sizes.items()}

    def count_windows(self, model_id: int, after: int = 0) -> int:
        """Windows of a model that were written after a revision."""
        query = (
            "SELECT coalesce(sum(length(spans)), 0) FROM embeddings "
            "WHERE model_id = ? AND revision > ?"
        )
        with self.reading() as connection:
            size = connection.execute(query, (model_id, after)).fetchone()[0]
        return size // (2 * SPAN_TYPE.itemsize)

    def removed_after(self, revision: int) -> list[int]:
        """Clips that left the library after a revision."""
        with self.reading() as connection:
            rows = connection.execute("SELECT clip_id FROM removed WHERE revision > ?", (revision,))
            return [row[0] for row in rows]


def _marks(values: Sequence[Any]) -> str:
    """A placeholder for each value of an SQL list."""
    return ",".join("?" * len(values))


def _intact(rows: Iterable[Any]) -> Iterator[tuple[int, ClipRecord]]:
    """(clip id, record) of rows whose checksum holds."""
    for row in rows:
        record = record_of(row[2:])
        if record_crc(row[0], record) == row[1]:
            yield row[0], record
