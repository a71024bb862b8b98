"""Connections and transactions of one library's SQLite file.

One connection per thread; one writer at a time (the indexer, see lock.py), any number of readers.
"""

import contextlib
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path

from wavtext.errors import LibraryError
from wavtext.library import schema


class Database:
    """The SQLite file of one library, one connection for each thread.

    Args:
        path: The file.
        write: Create it when missing and bring an older one up to date.
    """

    def __init__(self, path: Path, *, write: bool = False) -> None:
        self.path = path
        self.writable = write
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._identities: dict[int, str] = {}  # by model id
        self._lock = threading.Lock()
        self._closed = False
        if path.exists():
            schema.check_size(path)
        elif not write:
            raise LibraryError(f"{path}: no such library.", help="Make one: wavtext index FOLDER")
        if write:
            schema.prepare(self.connection, path)
        with self.reading() as connection:  # a reader takes older files as they are
            self.version = schema.check_version(connection, path)
        self._inode = path.stat().st_ino

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            if self._closed:
                raise LibraryError(f"{self.path}: the library was closed.")
            connection = schema.connect(self.path, write=self.writable)
            self._local.connection = connection
            with self._lock:
                self._connections.append(connection)
        return connection

    @property
    def looking(self) -> bool:
        """True within this thread's `reading()` or `writing()`."""
        connection = getattr(self._local, "connection", None)
        return connection is not None and connection.in_transaction

    @property
    def replaced(self) -> bool:
        """True when another file has taken the library's place (a repair, a restored backup)."""
        try:
            return self.path.stat().st_ino != self._inode
        except OSError:
            return True

    def close(self) -> None:
        """Close all threads' connections; a writer first folds the WAL into the file."""
        if self._closed:
            return
        if self.writable:
            with contextlib.suppress(sqlite3.Error, LibraryError):
                self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._closed = True
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()
            self._connections.clear()
        self._local = threading.local()

    @contextlib.contextmanager
    def reading(self) -> Generator[sqlite3.Connection]:
        """One consistent view of the library for several statements."""
        with schema.translate_errors(self.path):
            connection = self.connection
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("COMMIT")

    @contextlib.contextmanager
    def writing(self) -> Generator[sqlite3.Connection]:
        """One transaction: all of it is on disk when this ends, or none.

        Inside another, it is part of that one.
        """
        with schema.translate_errors(self.path):
            connection = self.connection
            if connection.in_transaction:
                yield connection
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
