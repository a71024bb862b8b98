"""Words that clips can be found by: names, captions, tags; and what filters ask of them."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Int64

from wavtext.library import schema
from wavtext.library.database import Database
from wavtext.library.filters import Filters
from wavtext.library.notes import Notes
from wavtext.library.records import path_text

WORDS_REMEMBERED = 1000


class Wordbook(Database):
    """The tables `notes` and `words` of one library."""

    def clips_without_notes(self) -> list[tuple[int, str]]:
        """(clip id, path) of clips whose file has not been asked for its notes."""
        query = "SELECT id, path FROM clips WHERE id NOT IN (SELECT clip_id FROM notes)"
        with self.reading() as connection:
            return [(row[0], path_text(row[1])) for row in connection.execute(query)]

    def put_notes(self, notes: Iterable[tuple[int, Notes]]) -> None:
        """Write clips' notes, in one transaction."""
        with self.writing() as connection:
            for clip_id, each in notes:
                tags = f"|{'|'.join(each.tags)}|" if each.tags else ""
                captions = json.dumps(each.captions, ensure_ascii=False)
                connection.execute(
                    "INSERT OR REPLACE INTO notes VALUES (?, ?, ?, ?, ?)",
                    (clip_id, captions, tags, each.licence, each.credit),
                )
                text = " ".join([*each.captions, *each.tags])
                connection.execute("UPDATE words SET captions = ? WHERE rowid = ?", (text, clip_id))

    def forget_notes(self) -> None:
        """Have all notes read again, as when the manifest beside the sounds has changed."""
        with self.writing() as connection:
            connection.execute("DELETE FROM notes")

    def notes(self, clip_id: int) -> Notes:
        """What is written about a clip."""
        if self.version < schema.WORDS_SINCE:
            return Notes()
        with self.reading() as connection:
            row = connection.execute(
                "SELECT captions, tags, licence, credit FROM notes WHERE clip_id = ?", (clip_id,)
            ).fetchone()
        if row is None:
            return Notes()
        tags = tuple(tag for tag in row[1].split("|") if tag)
        return Notes(captions=tuple(json.loads(row[0])), tags=tags, licence=row[2], credit=row[3])

    def clips_with_word(self, word: str) -> Int64[np.ndarray, " clips"]:
        """Clips whose name, captions or tags hold a word in any of its forms.

        A reader remembers its answers until somebody writes: people ask for the same words.
        """
        if self.version < schema.WORDS_SINCE:
            return np.zeros(0, np.int64)
        query = "SELECT rowid FROM words WHERE words MATCH ?"
        with self.reading() as connection:
            known = self._remembered(connection, "words")
            if word not in known:
                rows = connection.execute(query, (f'"{word}"',))
                if len(known) >= WORDS_REMEMBERED:
                    known.clear()
                known[word] = np.fromiter((row[0] for row in rows), np.int64)
            return known[word]

    def _remembered(self, connection: sqlite3.Connection, kind: str) -> dict[Any, Any]:
        """Answers that still hold on this thread's connection; a writer's never do."""
        if self.writable:
            return {}
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        held: tuple[int, dict[str, dict[Any, Any]]] = getattr(self._local, "answers", (-1, {}))
        if held[0] != version:
            held = (version, {})
            self._local.answers = held
        return held[1].setdefault(kind, {})

    def allowed(self, filters: Filters) -> Int64[np.ndarray, " clips"] | None:
        """The clips that filters let pass; None for all."""
        condition, values = filters.to_sql()
        return np.array(self.clips_where(condition, values), np.int64) if condition else None

    def passing(
        self, clip_ids: Int64[np.ndarray, " some"], allowed: Int64[np.ndarray, " clips"]
    ) -> Int64[np.ndarray, " passing"]:
        """Those clips that are allowed."""
        return clip_ids[np.isin(clip_ids, allowed)]

    def clips_where(self, condition: str, values: list[Any]) -> list[int]:
        """Clips that a filter lets pass; see Filters.to_sql."""
        notes = "notes"
        if self.version < schema.WORDS_SINCE:
            notes = "(SELECT NULL AS clip_id, '' AS licence, '' AS tags) AS notes"
        query = (
            f"SELECT clips.id FROM clips LEFT JOIN {notes} ON notes.clip_id = clips.id "
            f"WHERE {condition} ORDER BY clips.id"
        )
        with self.reading() as connection:
            return [row[0] for row in connection.execute(query, values)]
