"""A damaged library file is noticed, says so, and gives back every clip that is still whole."""

import random
import shutil
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sound_factory import Write
from stub_model import StubModel

from wavtext.errors import DamagedLibraryError, LibraryError
from wavtext.library import schema
from wavtext.library.library import LIBRARY_FILE, SoundLibrary
from wavtext.library.pages import wal_pages
from wavtext.library.results import IndexProgress
from wavtext.library.salvage import salvage

Embeddings = dict[str, np.ndarray]


@pytest.fixture
def folder(write_sound: Write, tmp_path: Path) -> Path:
    """A library of 120 clips over some forty pages."""
    for i in range(120):
        kind = ("hum", "tone", "whistle", "hiss")[i % 4]
        write_sound(f"{kind}{i}.wav", kind, duration=0.2 + 0.1 * (i % 3), seed=i)
    write_sound("long.wav", "hum", duration=700.0)  # its embeddings overflow a page
    SoundLibrary.open(tmp_path / "sounds", model=StubModel(dim=256)).index()
    return tmp_path / "sounds"


def embeddings(folder: Path) -> Embeddings:
    with SoundLibrary.open(folder, model=StubModel(dim=256)) as library:
        names = {clip.clip_id: clip.path.name for clip in library.clips()}
        ids, matrix = library.embeddings()
        return {
            names[clip_id]: vector
            for clip_id, vector in zip(ids.tolist(), matrix, strict=True)
            if clip_id in names
        }


def assert_part_of(some: Embeddings, all_: Embeddings) -> None:
    for name, vector in some.items():
        np.testing.assert_array_equal(vector, all_[name])


def overwrite(path: Path, begin: int, content: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(content)


def test_a_truncated_library_is_refused_and_salvaged(folder: Path) -> None:
    before = embeddings(folder)
    path = folder / LIBRARY_FILE
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
    library = SoundLibrary.open(folder, model=StubModel(dim=256))
    with pytest.raises(DamagedLibraryError, match=r"truncated.*wavtext library repair"):
        library.search("hum")
    assert any("truncated" in line for line in library.check())
    report = library.repair()
    assert report.clips + report.nameless > 30
    assert report.kept_as.name == "library.damaged-1.sqlite"
    assert report.kept_as.is_file()
    after = embeddings(folder)
    assert len(after) == report.clips
    assert_part_of(after, before)
    assert library.index().reused >= report.nameless
    assert_part_of(before, embeddings(folder))


def test_a_file_whose_log_was_half_folded_in_is_whole(write_sound: Write, tmp_path: Path) -> None:
    """As a process leaves it that is killed while SQLite copies the log into the file."""
    write_sound("hum0.wav", "hum")
    place = tmp_path / "sounds"
    SoundLibrary.open(place, model=StubModel(dim=256)).index()
    path = place / LIBRARY_FILE
    pages = path.stat().st_size // schema.PAGE_SIZE
    connection = sqlite3.connect(path)  # a reader keeps the log from being folded in
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM clips").fetchone()
    write_sound("long.wav", "hum", duration=700.0)
    SoundLibrary.open(place, model=StubModel(dim=256)).index()
    newest = wal_pages(Path(f"{path}-wal"), schema.PAGE_SIZE)
    copy = tmp_path / "copy.sqlite"
    shutil.copy(path, copy)
    shutil.copy(f"{path}-wal", f"{copy}-wal")
    connection.close()
    assert max(newest) > pages
    overwrite(copy, 0, newest[1])  # the first page says how long the file is
    with SoundLibrary.open(place, library=copy, model=StubModel(dim=256)) as library:
        assert library.check() == []
        assert len(list(library.clips())) == 2


@pytest.mark.parametrize("begin", [0, 16_384])
def test_without_its_first_pages_a_library_is_salvaged_whole(folder: Path, begin: int) -> None:
    before = embeddings(folder)
    overwrite(folder / LIBRARY_FILE, begin, b"\0" * 16_384)
    library = SoundLibrary.open(folder, model=StubModel(dim=256))
    assert library.check() != []
    report = library.repair()
    after = embeddings(folder)
    assert report.clips + report.nameless >= 119
    assert report.clips == len(after)
    assert_part_of(after, before)
    assert library.check() == []


def test_indexing_salvages_by_itself_and_embeds_the_rest_again(folder: Path) -> None:
    before = embeddings(folder)
    overwrite(folder / LIBRARY_FILE, 3 * 16_384, b"\xff" * 4 * 16_384)
    model = StubModel(dim=256)
    report = SoundLibrary.open(folder, model=model).index()
    assert report.indexed == 121
    assert len(model.files_cut) < 121
    assert "clips were salvaged" in report.notes[0]
    assert_part_of(before, embeddings(folder))


def test_the_index_command_salvages_without_being_told_the_model(
    folder: Path, command: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = StubModel(dim=256)
    monkeypatch.setattr("wavtext.model.model.load_model", lambda name: stub)
    overwrite(folder / LIBRARY_FILE, 0, bytes(100))
    status, out, err = command("index", folder)
    assert status == 0
    assert "salvaged" in out + err
    assert (folder / ".wavtext" / "library.damaged-1.sqlite").is_file()
    assert len(embeddings(folder)) == 121


def test_salvage_in_the_middle_of_a_change_of_model_keeps_the_whole_set(
    folder: Path, tmp_path: Path
) -> None:
    before = embeddings(folder)
    stop = threading.Event()
    other = StubModel("stub-2", dim=256, name="other")
    with SoundLibrary.open(folder, model=other) as library:

        def half(progress: IndexProgress) -> None:
            if progress.files_done >= 30:
                stop.set()

        assert library.index(half, stop=stop, workers=1).stopped
    overwrite(folder / LIBRARY_FILE, 0, bytes(100))
    with SoundLibrary.open(folder, model=other) as library:
        # the file no longer says what models there were: both are named, as the command does
        names = [(each.identity, each.name, each.dim, "") for each in (StubModel(dim=256), other)]
        assert salvage(library.path, names).clips > 100
    assert_part_of(embeddings(folder), before)
    assert len(embeddings(folder)) > 100


def test_random_damage_never_gives_a_wrong_result(folder: Path, tmp_path: Path) -> None:
    before = embeddings(folder)
    path = folder / LIBRARY_FILE
    whole = path.read_bytes()
    generator = random.Random(1)
    noticed = 0
    for _ in range(12):
        content = bytearray(whole)
        for _ in range(generator.choice([1, 4, 40])):
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        path.write_bytes(bytes(content))
        library = SoundLibrary.open(folder, model=StubModel(dim=256))
        try:
            assert_part_of(embeddings(folder), before)
            found = {result.path.name for result in library.search("hum", limit=200)}
            assert found <= before.keys()
        except LibraryError:
            noticed += 1
        noticed += library.check() != []
        library.close()
        assert SoundLibrary.open(folder, model=StubModel(dim=256)).index().indexed == 121
        assert_part_of(before, embeddings(folder))
        for file in folder.glob(".wavtext/*damaged*"):
            file.unlink()
    assert noticed > 3


def test_a_flipped_bit_in_an_embedding_leaves_that_clip_out_until_it_is_made_again(
    folder: Path,
) -> None:
    path = folder / LIBRARY_FILE
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE embeddings SET vectors = zeroblob(length(vectors)) WHERE clip_id = 1"
        )
    connection.close()
    library = SoundLibrary.open(folder, model=StubModel(dim=256))
    assert len(library.search("hum", limit=200)) == 120
    assert library.stats().damaged == 1
    assert len(library.check()) == 1
    assert library.index().embedded == 1
    assert len(library.search("hum", limit=200)) == 121
    assert library.check() == []


def test_a_file_that_is_no_library_is_left_alone(folder: Path, tmp_path: Path) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear all, this is no library. " * 2000)
    library = SoundLibrary.open(folder, library=letter, model=StubModel())
    for action in (library.index, library.repair, lambda: library.search("hum")):
        with pytest.raises(DamagedLibraryError):
            action()
    assert letter.read_text().startswith("Dear all")


def test_another_programs_database_is_left_alone(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "mail.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE mail (subject)")
    connection.close()
    with pytest.raises(DamagedLibraryError, match="no clip in it can be read"):
        SoundLibrary.open(folder, library=path, model=StubModel()).index()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mail",)]
    connection.close()


def test_a_power_cut_loses_only_what_was_not_committed(write_sound: Write, tmp_path: Path) -> None:
    """After any cut of the write-ahead log, what had been synced before is all there."""
    for i in range(12):
        write_sound(f"hum{i}.wav", "hum", duration=0.3, seed=i)
    folder, copy = tmp_path / "sounds", tmp_path / "copy"
    path = folder / LIBRARY_FILE
    log = Path(f"{path}-wal")
    committed: list[tuple[int, str]] = []

    def note(progress) -> None:
        committed.append((log.stat().st_size, progress.path.name))
        if len(committed) == 12:
            shutil.copytree(folder / ".wavtext", copy)

    SoundLibrary.open(folder, model=StubModel()).index(note)
    whole = Path(copy / "library.sqlite-wal").read_bytes()
    generator = random.Random(2)
    for _ in range(40):
        cut = generator.randrange(len(whole))
        shutil.rmtree(folder / ".wavtext")
        shutil.copytree(copy, folder / ".wavtext")
        (folder / ".wavtext" / "library.sqlite-shm").unlink(missing_ok=True)
        log.write_bytes(whole[:cut] + bytes(generator.randrange(2) * 5000))
        with SoundLibrary.open(folder, model=StubModel()) as library:
            safe = {name for size, name in committed if size <= cut}
            if safe:
                assert {clip.path.name for clip in library.clips()} >= safe
                assert library.check() == []
            assert library.index().indexed == 12


def test_a_library_of_the_future_is_refused_and_untouched(folder: Path) -> None:
    path = folder / LIBRARY_FILE
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    library = SoundLibrary.open(folder, model=StubModel(dim=256))
    for action in (lambda: library.search("hum"), library.index):
        with pytest.raises(LibraryError, match=r"made by a newer wavtext.*Upgrade"):
            action()
    assert path.read_bytes() == before


def test_salvage_takes_what_is_only_in_the_write_ahead_log(
    write_sound: Write, tmp_path: Path
) -> None:
    for i in range(6):
        write_sound(f"hum{i}.wav", "hum", duration=0.3, seed=i)
    folder, copy = tmp_path / "sounds", tmp_path / "copy"

    def keep(progress) -> None:
        if progress.files_done == 6:
            shutil.copytree(folder / ".wavtext", copy)

    SoundLibrary.open(folder, model=StubModel()).index(keep)
    assert Path(copy / "library.sqlite-wal").stat().st_size > 0
    overwrite(copy / "library.sqlite", 0, b"\0" * 100)
    assert salvage(copy / "library.sqlite").clips == 6
