"""Sound files -> log-mels on disk, computed once and shared by runs.

A log-mel is named by the content of its sound (SHA-256) and by the front end, so that a changed
file or setting makes a new one and a moved or copied file does not.  Files are written beside
their final name and renamed: readers see whole ones only.  They are float16, at most 0.03 dB off
above -128 dB, for half the disk.
"""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from jaxtyping import Float

from wavtext.audio.decode import load_audio
from wavtext.audio.log_mel import LogMelConfig, log_mel
from wavtext.config import dumps_toml, to_dict
from wavtext.errors import AudioError, TrainingError

_BLOCK = 1 << 20  # bytes hashed at a time


@dataclass(frozen=True, slots=True)
class Failure:
    """A sound that cannot be used, and why."""

    path: Path
    reason: str


class LogMelCache:
    """Log-mels of one front end in a folder.

    Args:
        folder: Where they are kept; made when missing. Several runs may share it at the same time.
        config: The front end.
    """

    def __init__(self, folder: Path, config: LogMelConfig) -> None:
        self.root = Path(folder)
        self.config = config
        text = dumps_toml(to_dict(config))
        self.folder = self.root / hashlib.sha256(text.encode()).hexdigest()[:12]
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            (self.folder / "front_end.toml").write_text(text, encoding="utf-8")
        except OSError as error:
            raise TrainingError(f"{self.root}: no log-mels can be kept here: {error}.") from error

    def prepare(
        self,
        paths: Sequence[Path],
        *,
        workers: int = 0,
        progress: Callable[[int, int], None] | None = None,
    ) -> tuple[dict[Path, Path], list[Failure]]:
        """Make what is missing: sound file -> .npy file; and what failed, with reasons.

        Args:
            paths: The sounds.
            workers: Processes.
            progress: Called with how many are there, and how many there will be.
        """
        ready: dict[Path, Path] = {}
        failures: list[Failure] = []
        todo: list[tuple[Path, Path]] = []
        with self._memory() as memory:
            for path in dict.fromkeys(paths):
                try:
                    digest = _digest(path, memory)
                except OSError as error:
                    failures.append(Failure(path, error.strerror or str(error)))
                    continue
                target = self.file_of(digest)
                if target.is_file():
                    ready[path] = target
                else:
                    todo.append((path, target))
        done, total = len(ready), len(ready) + len(todo)
        for path, target, reason in self._make_all(todo, workers):
            done += 1
            if reason:
                failures.append(Failure(path, reason))
            else:
                ready[path] = target
            if progress:
                progress(done, total)
        return ready, failures

    def file_of(self, digest: str) -> Path:
        """Where the log-mel of a sound with this SHA-256 (hex) is, or would be."""
        return self.folder / digest[:2] / f"{digest}.npy"

    def _make_all(
        self, todo: Sequence[tuple[Path, Path]], workers: int
    ) -> Iterator[tuple[Path, Path, str]]:
        jobs = [(path, target, self.config) for path, target in todo]
        if workers < 2 or len(jobs) < 2:
            yield from map(_make, jobs)
            return
        # spawn: a fork of a process that runs torch's threads may lock up
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield from pool.map(_make, jobs, chunksize=4)

    @contextmanager
    def _memory(self) -> Generator[sqlite3.Connection]:
        file = self.root / "content.sqlite"
        try:
            # each row is committed by itself: runs that share the cache never wait for a hash
            with closing(sqlite3.connect(file, timeout=60, isolation_level=None)) as memory:
                memory.execute("PRAGMA journal_mode = WAL")
                memory.execute("PRAGMA synchronous = NORMAL")
                memory.execute(
                    "CREATE TABLE IF NOT EXISTS content "
                    "(path TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT)"
                )
                yield memory
        except sqlite3.Error as error:
            raise TrainingError(
                f"{file}: {error}.",
                help="Delete it: sounds are hashed again, nothing else is lost.",
            ) from error


def _digest(path: Path, memory: sqlite3.Connection) -> str:
    """SHA-256 of the file, remembered for as long as its size and time of change stay."""
    status = path.stat()
    key = (str(path.resolve()), status.st_size, status.st_mtime_ns)
    row = memory.execute(
        "SELECT sha256 FROM content WHERE path = ? AND size = ? AND mtime_ns = ?", key
    ).fetchone()
    if row:
        return row[0]
    digest = file_digest(path)
    memory.execute("INSERT OR REPLACE INTO content VALUES (?, ?, ?, ?)", (*key, digest))
    return digest


def read_log_mel(path: Path) -> Float[np.ndarray, "frames mels"]:
    """A cached log-mel, mapped from disk: a crop of an hour reads the crop."""
    return np.load(path, mmap_mode="r")


def write_log_mel(path: Path, spectrogram: Float[np.ndarray, "frames mels"]) -> None:
    """Write a log-mel as float16, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.save(file, spectrogram.astype(np.float16))
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def default_cache_folder() -> Path:
    """Where log-mels are kept when nobody says: in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "wavtext" / "log-mel"


def _make(job: tuple[Path, Path, LogMelConfig]) -> tuple[Path, Path, str]:
    path, target, config = job
    try:
        samples = load_audio(path, config.sample_rate).samples
        write_log_mel(target, log_mel(samples, config))
    except AudioError as error:
        return path, target, str(error)
    except OSError as error:
        return path, target, error.strerror or str(error)
    return path, target, ""
