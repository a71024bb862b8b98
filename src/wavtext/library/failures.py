"""Files that could not be indexed, why, and whether only a change of the file can help."""

from collections.abc import Iterable

from wavtext.library.database import Database
from wavtext.library.records import path_key, path_text
from wavtext.library.rows import remove_clip


class Failures(Database):
    """The table `failures` of one library."""

    def put_failure(
        self, path: str, size: int, mtime_ns: int, reason: str, *, final: bool, remove: bool
    ) -> None:
        """Remember that a file failed; `remove` forgets the clip it was before."""
        with self.writing() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO failures VALUES (?, ?, ?, ?, ?)",
                (path_key(path), size, mtime_ns, int(final), reason),
            )
            if remove:
                row = connection.execute(
                    "SELECT id FROM clips WHERE path = ?", (path_key(path),)
                ).fetchone()
                if row is not None:
                    remove_clip(connection, row[0])

    def failures(self) -> dict[str, tuple[int, int, bool, str]]:
        """Path -> (size, mtime_ns, final, reason)."""
        with self.reading() as connection:
            rows = connection.execute(
                "SELECT path, size, mtime_ns, final, reason FROM failures ORDER BY path"
            ).fetchall()
        return {path_text(row[0]): (row[1], row[2], bool(row[3]), row[4]) for row in rows}

    def forget_failures(self, paths: Iterable[str]) -> None:
        """Drop failures whose file is gone."""
        with self.writing() as connection:
            connection.executemany(
                "DELETE FROM failures WHERE path = ?", [(path_key(path),) for path in paths]
            )
