"""Indexing from the page runs in another process, whose death is not the server's."""

import json
import sys
import threading
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from wavtext.errors import BusyLibraryError, LibraryError
from wavtext.library.library import SoundLibrary
from wavtext.library.lock import IndexLock
from wavtext.library.results import IndexProgress
from wavtext.server import indexing
from wavtext.server.app import create_app
from wavtext.server.decoding import Decoder
from wavtext.server.settings import ServerSettings

PROGRESS = {
    "files_done": 3, "files_total": 9, "failed": 0, "audio_duration": 1.0, "elapsed": 1.0,
    "bytes_done": 1, "bytes_total": 2, "path": "/a.wav",
}  # fmt: skip
REPORT = {
    "files": 9, "embedded": 3, "reused": 0, "moved": 0, "unchanged": 0, "removed": 0,
    "failures": [], "audio_duration": 1.0, "elapsed": 1.0, "stopped": True, "notes": [],
}  # fmt: skip
BEGINS = f"""
import os, signal, sys
sys.stdin.readline()
print({json.dumps({"progress": PROGRESS})!r}, flush=True)
"""
CRASHES = (sys.executable, "-c", BEGINS + "os.kill(os.getpid(), signal.SIGSEGV)")
WAITS = (
    sys.executable, "-c",
    BEGINS + f"sys.stdin.read(); print({json.dumps({'report': REPORT})!r})",
)  # fmt: skip


def test_the_report_is_that_of_a_run_in_this_process(fresh: Path) -> None:
    told: list[IndexProgress] = []
    library = SoundLibrary.open(fresh)
    apart = indexing.index_apart(library, told.append, threading.Event())
    assert told[-1].files_done == told[-1].files_total == 6
    assert told[-1].path is not None
    assert (apart.files, apart.embedded, apart.stopped) == (6, 5, False)
    assert [failure.path for failure in apart.failures] == [fresh / "broken.wav"]
    here = library.index()
    assert here.unchanged == 5
    assert here.failures == apart.failures
    assert library.search("hum", limit=1)[0].path.parent == fresh / "machines"


def test_a_run_stops_when_it_is_asked_to(fresh: Path) -> None:
    stop = threading.Event()
    report = indexing.index_apart(SoundLibrary.open(fresh), lambda _: stop.set(), stop, WAITS)
    assert report.stopped
    assert report.embedded == 3


def test_a_real_run_that_is_asked_to_stop_at_once_keeps_what_it_has(fresh: Path) -> None:
    stop = threading.Event()
    stop.set()
    library = SoundLibrary.open(fresh)
    report = indexing.index_apart(library, lambda _: None, stop)
    assert report.embedded + len(report.failures) <= report.files
    assert library.index().indexed == 5


def test_a_death_says_how_far_it_came(fresh: Path) -> None:
    with pytest.raises(LibraryError, match=r"died \(exit status -11\) after 3 files; what was ind"):
        indexing.index_apart(SoundLibrary.open(fresh), lambda _: None, threading.Event(), CRASHES)


def test_files_of_the_folder_that_the_server_runs_in_are_not_imported(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "soundfile", "mutagen"):
        (fresh / f"{name}.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(fresh)
    monkeypatch.setenv("WAVTEXT_TOKEN", "secret")
    library = SoundLibrary.open(fresh)
    assert indexing.index_apart(library, lambda _: None, threading.Event()).embedded == 5
    decoder = Decoder(ServerSettings())
    assert decoder.probe(fresh / "machines" / "hum.wav")[0] == "wav"
    decoder.close()


def test_a_run_that_does_not_stop_in_time_is_ended_and_says_so(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "STOP_TIMEOUT", 0.2)
    hangs = (sys.executable, "-c", BEGINS + "import time; time.sleep(60)")
    stop = threading.Event()
    with pytest.raises(LibraryError, match="after it was asked to stop; what was indexed is kept"):
        indexing.index_apart(SoundLibrary.open(fresh), lambda _: stop.set(), stop, hangs)


def test_an_error_there_is_an_error_here(fresh: Path) -> None:
    library = SoundLibrary.open(fresh)
    library.index()
    with IndexLock(library.path), pytest.raises(LibraryError, match="being indexed by process"):
        indexing.index_apart(library, lambda _: None, threading.Event())
    assert issubclass(BusyLibraryError, LibraryError)


def test_the_server_outlives_a_decoder_that_takes_indexing_along(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing.index_apart, "__defaults__", (CRASHES,))
    app = create_app(SoundLibrary.open(fresh), ServerSettings())
    with TestClient(app, base_url="http://127.0.0.1:8765", client=("127.0.0.1", 5)) as client:
        csrf = {"X-CSRF-Token": client.get("/api/session").json()["csrf_token"]}
        job = client.post("/api/library/jobs", json={"folder": 0}, headers=csrf).json()
        events = client.get(f"/api/library/jobs/{job['job_id']}/events").text
        assert '"state": "failed"' in events
        assert "what was indexed is kept" in events
        monkeypatch.undo()
        job = client.post("/api/library/jobs", json={"folder": 0}, headers=csrf).json()
        assert '"state": "done"' in client.get(f"/api/library/jobs/{job['job_id']}/events").text
        assert client.get("/api/search?q=hum&limit=1").json()["results"]
