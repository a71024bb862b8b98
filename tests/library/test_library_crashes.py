"""Real indexing processes are killed, starved and locked out; nothing committed is lost.

The long run: WAVTEXT_LONG=1 pytest tests/library/test_library_crashes.py
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sound_factory import Write
from stub_model import StubModel

from wavtext.library import quantised, reader, schema, upkeep
from wavtext.library.codes import codes_folder
from wavtext.library.library import LIBRARY_FILE, SoundLibrary

NOBODY = 65534
LONG = bool(os.environ.get("WAVTEXT_LONG"))  # 1,000 kills, and one at every single write

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


class Zygote:
    """Starts indexers quickly; see zygote.py."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).parent / "zygote.py")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, folder: Path, **settings: Any) -> int:
        """Start an indexer; its process id."""
        self.log.write_text("")
        self.log.chmod(0o666)
        command = {"folder": str(folder), "log": str(self.log), **settings}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return int(self._line())

    def wait(self) -> int:
        """The indexer's exit status; negative when a signal ended it."""
        return int(self._line())

    def run(self, folder: Path, **settings: Any) -> dict[str, Any]:
        """Run an indexer to its end; its report, or its error, or nothing when it was killed."""
        self.start(folder, **settings)
        assert self.wait() in (0, -signal.SIGKILL)
        last = self.log.read_text(errors="surrogateescape").splitlines()[-1:]
        return json.loads(last[0][2:]) if last and last[0].startswith("= ") else {}

    def committed(self) -> set[str]:
        """Files that the last indexer reported as done."""
        lines = self.log.read_text().splitlines(keepends=True)
        return {line[:-1] for line in lines if line.endswith("\n") and not line.startswith("= ")}

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=10)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        running = Zygote(Path(folder) / "log")
        yield running
        running.close()


def state(folder: Path) -> dict[str, Any]:
    """What a reader sees: clip names, and the best of each kind; the file must be sound."""
    with SoundLibrary.open(folder, model=StubModel()) as library:
        assert library.check() == []
        names = {clip.path.name for clip in library.clips()}
        for kind in ("hum", "tone", "whistle", "hiss"):
            there = {name for name in names if name.startswith(kind)}
            best = library.search(kind, limit=max(1, len(there)))
            assert {result.path.name for result in best if there} == there
    return {"names": names}


def test_an_indexer_killed_at_any_moment_loses_no_committed_clip(
    zygote: Zygote, write_sound: Write, tmp_path: Path
) -> None:
    generator = random.Random(0)
    kinds = ("hum", "tone", "whistle", "hiss")
    for i in range(60):
        write_sound(f"{kinds[i % 4]}{i}.wav", kinds[i % 4], duration=0.3, seed=i)
    folder = tmp_path / "sounds"
    began = time.monotonic()
    zygote.run(folder, delay=0.004)
    whole = time.monotonic() - began  # seconds: kills fall anywhere in a run, on any machine
    shutil.rmtree(folder / ".wavtext")
    done: set[str] = set()
    kills = 0
    while kills < (1000 if LONG else 20):
        zygote.start(folder, delay=0.004, kill_after=generator.uniform(0.0, whole))
        killed = zygote.wait() == -signal.SIGKILL
        kills += killed
        done |= zygote.committed()
        if done:
            assert state(folder)["names"] >= done
        if not killed:  # it was done before: begin again
            done.clear()
            shutil.rmtree(folder / ".wavtext")
    assert zygote.run(folder)["indexed"] == 60
    assert len(state(folder)["names"]) == 60


def test_an_indexer_killed_at_each_of_its_writes_leaves_a_sound_library(
    zygote: Zygote, write_sound: Write, tmp_path: Path
) -> None:
    folder = tmp_path / "sounds"
    for kind in ("hum", "hiss"):
        write_sound(f"{kind}.wav", kind, duration=0.3)
    total = zygote.run(folder)["writes"]
    assert total > 30
    for kill_at in range(1, total + 1, 1 if LONG else 4):
        shutil.rmtree(folder / ".wavtext")
        if zygote.run(folder, kill_at=kill_at):  # files that met in one batch take fewer writes
            assert kill_at > total // 2
            continue
        done = zygote.committed()
        if done:
            assert state(folder)["names"] >= done
        report = zygote.run(folder)
        assert (report["indexed"], sorted(report["found"])) == (2, ["hiss.wav", "hum.wav"])


def test_an_update_killed_at_each_of_its_writes_shows_the_old_or_the_new(
    zygote: Zygote, write_sound: Write, tmp_path: Path
) -> None:
    folder, original = tmp_path / "sounds", tmp_path / "original"
    for kind in ("hum", "hiss", "tone", "whistle"):
        write_sound(f"{kind}.wav", kind, duration=0.3)
    zygote.run(folder)
    shutil.copytree(folder, original)

    def change() -> None:
        shutil.rmtree(folder)
        shutil.copytree(original, folder)
        write_sound("hum.wav", "whistle", duration=0.3, seed=5)  # changed
        (folder / "hiss.wav").rename(folder / "noise.wav")  # moved
        (folder / "tone.wav").unlink()  # gone
        write_sound("new.wav", "hum", duration=0.3, seed=6)

    change()
    total = zygote.run(folder)["writes"]
    for kill_at in range(1, total + 1, 1 if LONG else 4):
        change()
        if zygote.run(folder, kill_at=kill_at):  # files that met in one batch take fewer writes
            assert kill_at > total // 2
            continue
        with SoundLibrary.open(folder, model=StubModel()) as library:
            assert library.check() == []
            hiss = library.search("hiss", limit=1, names=False)[0].path.name
            assert hiss in ("hiss.wav", "noise.wav")
            assert "whistle.wav" in {result.path.name for result in library.search("whistle")}
        report = zygote.run(folder)
        assert sorted(report["found"]) == ["hum.wav", "new.wav", "noise.wav", "whistle.wav"]
        assert report["found"][0] == "new.wav"


def test_codes_killed_at_each_of_their_writes_are_the_old_the_new_or_none(
    zygote: Zygote, write_sound: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, original = tmp_path / "sounds", tmp_path / "original"
    kinds = ("hum", "tone", "whistle", "hiss")
    for i in range(48):
        write_sound(f"{kinds[i % 4]}{i}.wav", kinds[i % 4], duration=0.3, seed=i)
    zygote.run(folder)
    shutil.copytree(folder, original)
    right = state(folder)
    total = zygote.run(folder, exact_up_to=40)["writes"]
    made = codes_folder(folder / LIBRARY_FILE) / "current.json"
    assert made.exists()
    for module in (upkeep, quantised, reader):
        monkeypatch.setattr(module, "EXACT_UP_TO", 40)
    killed = 0
    for kill_at in range(1, total + 1, 1 if LONG else 3):
        shutil.rmtree(folder)
        shutil.copytree(original, folder)
        killed += not zygote.run(folder, exact_up_to=40, kill_at=kill_at)
        monkeypatch.setattr(reader.Reader, "_rebuild", lambda self: None)  # as the kill left it
        assert state(folder) == right
        assert zygote.run(folder, exact_up_to=40)["indexed"] == 48
        assert state(folder) == right
        assert len([each for each in made.parent.iterdir() if each.is_dir()]) == 1
    assert killed > 3


def test_a_second_indexer_waits_its_turn_and_a_dead_one_does_not_block(
    zygote: Zygote, sounds: Path
) -> None:
    process = zygote.start(sounds, delay=0.3, kill_after=0.8)
    library = SoundLibrary.open(sounds, model=StubModel())
    deadline = time.monotonic() + 10
    while not zygote.committed() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(Exception, match=f"being indexed by process {process} on"):
        library.index()
    assert library.search("hum")
    assert zygote.wait() == -signal.SIGKILL
    assert library.index().indexed == 8


def test_readers_see_a_growing_library_without_errors(
    zygote: Zygote, write_sound: Write, tmp_path: Path
) -> None:
    for i in range(80):
        write_sound(f"hum{i}.wav", "hum", duration=0.2, seed=i)
    folder = tmp_path / "sounds"
    zygote.start(folder, delay=0.01)
    library = SoundLibrary.open(folder, model=StubModel())
    errors: list[BaseException] = []
    sizes: list[int] = []
    ended = threading.Event()

    def read() -> None:
        last = 0
        try:
            while not ended.is_set():
                if not zygote.committed():
                    continue
                found = library.search("hum", limit=100)
                assert len(found) == len({result.path for result in found}) >= last
                last = len(found)
                sizes.append(last)
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for each in readers:
        each.start()
    assert zygote.wait() == 0
    ended.set()
    for each in readers:
        each.join()
    assert errors == []
    assert len(set(sizes)) > 5
    assert len(library.search("hum", limit=100)) == 80


def test_a_full_disk_is_named_and_nothing_committed_is_lost(
    zygote: Zygote, write_sound: Write
) -> None:
    folder = write_sound("hum0.wav", "hum").parent
    zygote.run(folder)
    pages = (folder / ".wavtext" / "library.sqlite").stat().st_size // schema.PAGE_SIZE
    for i in range(90):
        write_sound(f"hum{i}.wav", "hum", duration=6.0, seed=i)
    report = zygote.run(folder, pages=pages + 1)
    assert "the disk is full; what was indexed so far is kept" in report["error"]
    done = zygote.committed()
    assert 0 < len(done) < 90
    assert state(folder)["names"] == done | {"hum0.wav"}
    assert zygote.run(folder)["indexed"] == 90


@pytest.fixture
def guarded(write_sound: Write) -> Iterator[Path]:
    """A folder of sounds that the indexer's user may read and not write."""
    if os.getuid() != 0:
        pytest.skip("needs root, to act as another user")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "sounds"
        shutil.copytree(write_sound("hum.wav", "hum").parent, folder)
        shutil.copy(folder / "hum.wav", folder / "secret.wav")
        (folder / "secret.wav").chmod(0)
        Path(place).chmod(0o755)
        folder.chmod(0o755)
        yield folder


def test_a_folder_that_cannot_be_written_takes_its_library_elsewhere(
    zygote: Zygote, guarded: Path
) -> None:
    report = zygote.run(guarded, user=NOBODY)
    assert "cannot be made: Permission denied" in report["error"]
    assert "--library FILE" in report["error"]
    elsewhere = guarded.parent / "open"
    elsewhere.mkdir()
    elsewhere.chmod(0o777)
    report = zygote.run(guarded, user=NOBODY, library=str(elsewhere / "my.sqlite"))
    assert report["indexed"] == 1
    reason = "cannot be read: Permission denied"
    assert report["failures"] == [{"path": str(guarded / "secret.wav"), "reason": reason}]


def test_a_library_that_cannot_be_written_can_be_searched(zygote: Zygote, guarded: Path) -> None:
    (guarded / "secret.wav").unlink()
    SoundLibrary.open(guarded, model=StubModel()).index()
    before = sorted(path.name for path in (guarded / ".wavtext").iterdir())
    code = (
        "import os, sys\n"
        "from stub_model import StubModel\n"
        "import wavtext.model.model\n"
        "from wavtext.library.library import SoundLibrary\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "library = SoundLibrary.open(sys.argv[1], model=StubModel())\n"
        "print(library.search('hum')[0].path.name)\n"
        "try: library.index()\n"
        "except Exception as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(guarded)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )
    name, error = done.stdout.splitlines()
    assert name == "hum.wav"
    assert "cannot be written: Permission denied" in error
    assert sorted(path.name for path in (guarded / ".wavtext").iterdir()) == before
