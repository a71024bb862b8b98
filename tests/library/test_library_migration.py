"""A library written by an older wavtext is brought up to date, whole, or stays as it was."""

import sqlite3
from pathlib import Path

import pytest
from stub_model import StubModel

from wavtext.errors import LibraryError
from wavtext.library import schema
from wavtext.library.library import LIBRARY_FILE, SoundLibrary


@pytest.fixture
def old(sounds: Path) -> Path:
    """A library as version 1 wrote it: without notes and words."""
    SoundLibrary.open(sounds, model=StubModel()).index()
    connection = sqlite3.connect(sounds / LIBRARY_FILE)
    connection.executescript("DROP TABLE notes; DROP TABLE words; PRAGMA user_version = 1;")
    connection.close()
    return sounds


def test_an_older_library_is_migrated_when_it_is_indexed(old: Path) -> None:
    model = StubModel()
    library = SoundLibrary.open(old, model=model)
    assert library.index().unchanged == 8
    assert model.files_cut == []
    results = library.search("hum 0", limit=8)
    assert next(each for each in results if each.path.name == "hum0.wav").matched == ("hum", "0")
    assert library.check() == []


def test_a_migration_that_fails_leaves_the_old_version(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (done)")
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setitem(schema.MIGRATIONS, 1, fail)
        with pytest.raises(LibraryError, match="the disk is full"):
            SoundLibrary.open(old, model=StubModel()).index()
    connection = sqlite3.connect(old / LIBRARY_FILE)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchone() is None
    connection.close()
    assert SoundLibrary.open(old, model=StubModel()).index().indexed == 8


def test_an_older_library_can_be_searched_before_it_is_indexed_again(old: Path) -> None:
    results = SoundLibrary.open(old, model=StubModel()).search("hum", limit=2)
    assert {result.path.name for result in results} == {"hum0.wav", "hum1.wav"}
