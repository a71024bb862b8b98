"""A watched folder is indexed again after each change, when the change has come to rest."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

from sound_factory import Write
from stub_model import StubModel

from wavtext.errors import BusyLibraryError, LibraryError
from wavtext.library.library import SoundLibrary
from wavtext.library.lock import IndexLock
from wavtext.library.results import IndexReport


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_new_changed_and_removed_files_are_followed(sounds: Path, write_sound: Write) -> None:
    library = SoundLibrary.open(sounds, model=StubModel())
    stop = threading.Event()
    reports: list[IndexReport] = []
    watcher = threading.Thread(
        target=library.watch, args=(stop, reports.append), kwargs={"interval": 0.02}
    )
    watcher.start()
    try:
        wait_for(lambda: len(reports) == 1)
        assert reports[0].embedded == 8
        write_sound("new.wav", "hum", seed=9)
        wait_for(lambda: sum(report.embedded for report in reports) == 9)
        (sounds / "hiss0.wav").unlink()
        wait_for(lambda: sum(report.removed for report in reports) == 1)
        seen = len(reports)
        time.sleep(0.2)
        assert len(reports) == seen
    finally:
        stop.set()
        watcher.join(timeout=10)
    assert not watcher.is_alive()
    assert library.stats().clips == 8


def test_a_watch_waits_for_another_indexer_and_outlives_an_empty_folder(
    sounds: Path, write_sound: Write
) -> None:
    library = SoundLibrary.open(sounds, model=StubModel())
    library.index()
    stop = threading.Event()
    reports: list[IndexReport] = []
    troubles: list[LibraryError] = []
    watcher = threading.Thread(
        target=library.watch,
        args=(stop, reports.append),
        kwargs={"interval": 0.02, "trouble": troubles.append},
    )
    try:
        with IndexLock(library.path):  # another process indexes
            watcher.start()
            wait_for(lambda: len(troubles) == 1)
            time.sleep(0.2)
            assert isinstance(troubles[0], BusyLibraryError)
            assert len(troubles) == 1  # said once
        wait_for(lambda: len(reports) == 1)
        for path in sounds.glob("*.wav"):
            path.rename(path.with_suffix(".away"))
        wait_for(lambda: len(troubles) == 2)
        assert "no sounds are left" in str(troubles[1])
        for path in sounds.glob("*.away"):
            path.rename(path.with_suffix(".wav"))
        write_sound("new.wav", "hum", seed=9)
        wait_for(lambda: sum(report.embedded for report in reports) == 1)
    finally:
        stop.set()
        watcher.join(timeout=10)
    assert not watcher.is_alive()
    assert library.stats().clips == 9
