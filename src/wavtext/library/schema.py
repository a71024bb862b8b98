"""The SQLite file behind a library: its tables, how it is opened, how older ones catch up.

Everything that must not be lost is in this one file (WAL mode, every commit synced to disk).
"""

import contextlib
import os
import sqlite3
from collections.abc import Callable, Generator
from pathlib import Path
from urllib.parse import quote

from wavtext.errors import DamagedLibraryError, LibraryError
from wavtext.library.notes import name_words
from wavtext.library.pages import wal_pages

APPLICATION_ID = 0x77617674  # "wavt"
SCHEMA_VERSION = 2
WORDS_SINCE = 2  # version that has notes and words
PAGE_SIZE = 16_384  # bytes; with SQLite's 4096 a 512-d window would waste a quarter of each page

_VERSION_1 = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE models (
    id INTEGER PRIMARY KEY,
    identity TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    dim INTEGER NOT NULL,
    source TEXT NOT NULL           -- what load_model takes: a name or a folder
);
CREATE TABLE clips (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path NOT NULL UNIQUE,          -- relative, '/' between parts; bytes if not Unicode
    size INTEGER NOT NULL,         -- bytes
    mtime_ns INTEGER NOT NULL,
    content BLOB NOT NULL,         -- BLAKE2b-128 of the file
    duration REAL NOT NULL,        -- seconds
    sample_rate INTEGER NOT NULL,  -- Hz
    channels INTEGER NOT NULL,
    format TEXT NOT NULL,
    crc INTEGER NOT NULL,          -- CRC-32 of path, size, mtime_ns and content
    revision INTEGER NOT NULL
);
CREATE INDEX clips_by_content ON clips (content);
CREATE TABLE embeddings (
    id INTEGER PRIMARY KEY,
    clip_id INTEGER NOT NULL,
    model_id INTEGER NOT NULL,
    content BLOB NOT NULL,         -- of the file these were made from
    spans BLOB NOT NULL,           -- (windows, 2) little-endian float32, seconds
    vectors BLOB NOT NULL,         -- (windows, dim) little-endian float16
    crc INTEGER NOT NULL,          -- CRC-32 of content, spans and vectors
    revision INTEGER NOT NULL,
    UNIQUE (model_id, clip_id)
);
CREATE INDEX embeddings_by_revision ON embeddings (revision);
CREATE TABLE removed (clip_id INTEGER NOT NULL, revision INTEGER PRIMARY KEY);
CREATE TABLE failures (
    path NOT NULL PRIMARY KEY,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    final INTEGER NOT NULL,        -- 1: the content is at fault, do not try again until it changes
    reason TEXT NOT NULL
);
INSERT INTO meta VALUES ('revision', 0);
"""

_VERSION_2 = """
CREATE TABLE notes (
    clip_id INTEGER PRIMARY KEY,
    captions TEXT NOT NULL,        -- a JSON list
    tags TEXT NOT NULL,            -- '|door|wood|', lower case
    licence TEXT NOT NULL,
    credit TEXT NOT NULL
);
CREATE VIRTUAL TABLE words USING fts5 (
    name, captions, tokenize = 'porter unicode61 remove_diacritics 2'
);
"""


def _to_version_2(connection: sqlite3.Connection) -> None:
    """Words to search for: those of the path now, what the files say with the next indexing."""
    for statement in _statements(_VERSION_2):
        connection.execute(statement)
    for clip_id, path in connection.execute("SELECT id, path FROM clips").fetchall():
        name = name_words(os.fsdecode(path) if isinstance(path, bytes) else path)
        connection.execute(
            "INSERT INTO words (rowid, name, captions) VALUES (?, ?, '')", (clip_id, name)
        )


# MIGRATIONS[n] brings a file of version n to version n + 1, inside one transaction.
MIGRATIONS: dict[int, Callable[[sqlite3.Connection], None]] = {1: _to_version_2}


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open the SQLite file; a reader of a read-only disk gets it without a WAL.

    Raises:
        LibraryError: The file cannot be opened.
        DamagedLibraryError: It is truncated or not a library.
    """
    with translate_errors(path):
        connection = _connect(path, "mode=rwc") if write else _connect_reader(path)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 30000")
        connection.execute("PRAGMA cache_size = -16000")
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Create the tables in a new file, or bring an older one up to date."""
    with translate_errors(path):
        version, application = _versions(connection)
        if version == 0 and application == 0 and not _tables(connection):
            connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
            connection.execute("PRAGMA journal_mode = WAL")
            _in_transaction(connection, _create)
            return
        check_version(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        while (version := _versions(connection)[0]) < SCHEMA_VERSION:
            step = version

            def migrate(connection: sqlite3.Connection, step: int = step) -> None:
                if _versions(connection)[0] == step:  # nobody else did it meanwhile
                    MIGRATIONS[step](connection)
                    connection.execute(f"PRAGMA user_version = {step + 1}")

            _in_transaction(connection, migrate)


def check_version(connection: sqlite3.Connection, path: Path) -> int:
    """The file's schema version; refuses files that are not libraries, or of a newer wavtext."""
    version, application = _versions(connection)
    if application != APPLICATION_ID:
        raise DamagedLibraryError(
            f"{path}: not a wavtext library, or its first page is damaged.",
            help="Name another file with --library, or run: wavtext library repair",
        )
    if version > SCHEMA_VERSION:
        raise LibraryError(
            f"{path}: made by a newer wavtext (library version {version}; "
            f"this one reads up to {SCHEMA_VERSION}).",
            help="Upgrade: pip install --upgrade wavtext",
        )
    return version


def check_size(path: Path) -> None:
    """Raise when the file is shorter than its own header says, which costs no time to find out.

    A process that was killed while it folded the write-ahead log into the file leaves it shorter
    too; then the missing pages are in the log, and SQLite takes them from there.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
        size = path.stat().st_size
    except OSError as error:
        raise LibraryError(f"{path}: cannot be read: {error.strerror}.") from error
    if not header:
        return  # a new file, or one whose first commit never came
    if len(header) < 100 or not header.startswith(b"SQLite format 3\0"):
        raise DamagedLibraryError(
            f"{path}: not a wavtext library, or its first page is damaged.",
            help="Salvage what is readable: wavtext library repair",
        )
    page_size = int.from_bytes(header[16:18], "big")
    page_size = 65_536 if page_size == 1 else page_size
    pages = int.from_bytes(header[28:32], "big")
    if size < page_size * pages:
        missing = range(size // page_size + 1, pages + 1)
        if wal_pages(Path(f"{path}-wal"), page_size).keys() >= {*missing}:
            return
        raise DamagedLibraryError(
            f"{path}: truncated: {size:,} of {page_size * pages:,} bytes are there.",
            help="Salvage what is readable: wavtext library repair",
        )


def damaged(path: Path, reason: str) -> DamagedLibraryError:
    """The error for a file that SQLite finds broken."""
    return DamagedLibraryError(
        f"{path}: damaged ({reason}).",
        help="Index the folder again, which salvages what is readable, or run: "
        "wavtext library repair",
    )


@contextlib.contextmanager
def translate_errors(path: Path) -> Generator[None]:
    """Turn SQLite's errors into ones that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "full" in text:
            raise LibraryError(
                f"{path}: the disk is full; what was indexed so far is kept.",
                help="Free some space and run the command again, or use --library on another disk.",
            ) from error
        if "malformed" in text or "not a database" in text or "corrupt" in text:
            raise damaged(path, text) from error
        if "readonly" in text or "unable to open" in text:
            raise LibraryError(
                f"{path}: cannot be written ({text}).",
                help="Keep the library elsewhere: --library FILE",
            ) from error
        if "locked" in text:
            raise LibraryError(
                f"{path}: another process holds it.", help="Try again when it has finished."
            ) from error
        raise LibraryError(f"{path}: {text}.") from error


def _connect(path: Path, options: str) -> sqlite3.Connection:
    address = f"file:{quote(os.fsencode(path))}?{options}"
    return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)


def _connect_reader(path: Path) -> sqlite3.Connection:
    """A reader; on a disk that cannot be written it reads the file as it is, without a WAL."""
    connection = _connect(path, "mode=ro")
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        wal = Path(f"{path}-wal")
        if os.access(path.parent, os.W_OK) or (wal.exists() and wal.stat().st_size > 0):
            raise
        connection = _connect(path, "mode=ro&immutable=1")
    return connection


def _create(connection: sqlite3.Connection) -> None:
    if _tables(connection):
        return  # another process was first
    for statement in _statements(_VERSION_1):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("PRAGMA user_version = 1")
    for step in range(1, SCHEMA_VERSION):
        MIGRATIONS[step](connection)
        connection.execute(f"PRAGMA user_version = {step + 1}")


def _statements(script: str) -> list[str]:
    return [part for part in script.split(";\n") if part.strip()]


def _in_transaction(
    connection: sqlite3.Connection, work: Callable[[sqlite3.Connection], None]
) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        work(connection)
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _tables(connection: sqlite3.Connection) -> int:
    return connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _versions(connection: sqlite3.Connection) -> tuple[int, int]:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    return version, application
