"""What a library knows about itself: settings, the models it has met, its revision."""

from pathlib import Path
from typing import Any

from wavtext.library.database import Database
from wavtext.library.records import ModelRecord
from wavtext.library.rows import next_revision


class Notebook(Database):
    """The tables `meta` and `models` of one library.

    Args:
        path: The file.
        write: Create it when missing and bring an older one up to date.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        super().__init__(path, write=write)
        self._clips = (-1, 0)  # revision, how many there were

    def meta(self, key: str, default: Any = None) -> Any:
        """A value of the library's notebook."""
        with self.reading() as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return default if row is None else row[0]

    def set_meta(self, **values: Any) -> None:
        """Write values into the library's notebook."""
        with self.writing() as connection:
            connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values.items())

    def forget_meta(self, *keys: str) -> None:
        """Strike values from the library's notebook."""
        with self.writing() as connection:
            connection.executemany("DELETE FROM meta WHERE key = ?", [(key,) for key in keys])

    def active_model(self) -> ModelRecord | None:
        """The model that searches use; None before the first clip."""
        return self._model("id = (SELECT value FROM meta WHERE key = 'active_model')", ())

    def ensure_model(self, identity: str, name: str, dim: int, source: str) -> ModelRecord:
        """The row of a model, made when new; the first model becomes the active one."""
        with self.writing() as connection:
            connection.execute(
                "INSERT INTO models (identity, name, dim, source) VALUES (?, ?, ?, ?) ON CONFLICT "
                "(identity) DO UPDATE SET name = excluded.name, source = excluded.source",
                (identity, name, dim, source),
            )
            connection.execute(
                "INSERT OR IGNORE INTO meta SELECT 'active_model', id FROM models "
                "WHERE identity = ?",
                (identity,),
            )
        model = self._model("identity = ?", (identity,))
        assert model is not None
        return model

    def activate(self, model_id: int) -> None:
        """Search with this model from now on and drop what other models embedded."""
        with self.writing() as connection:
            next_revision(connection)
            connection.execute("UPDATE meta SET value = ? WHERE key = 'active_model'", (model_id,))
            connection.execute("DELETE FROM embeddings WHERE model_id != ?", (model_id,))
            connection.execute("DELETE FROM models WHERE id != ?", (model_id,))
            connection.execute("DELETE FROM meta WHERE key = 'background_key'")

    def revision(self) -> int:
        """Grows with every change to clips or embeddings."""
        return int(self.meta("revision", 0))

    def count(self, table: str) -> int:
        """Rows of a table; of clips, counted once for each revision, for every search asks."""
        with self.reading() as connection:
            revision = self.revision()
            if table == "clips" and self._clips[0] == revision:
                return self._clips[1]
            number = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
        if table == "clips" and not self.writable:  # what a writer counts may be rolled back
            self._clips = (revision, number)
        return number

    def _model(self, condition: str, values: tuple[Any, ...]) -> ModelRecord | None:
        with self.reading() as connection:
            row = connection.execute(
                f"SELECT id, identity, name, dim, source FROM models WHERE {condition}", values
            ).fetchone()
        return None if row is None else ModelRecord(*row)
