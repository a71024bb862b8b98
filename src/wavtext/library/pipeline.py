"""Files -> embeddings: threads decode, the caller's thread encodes; memory stays bounded.

A ten-hour recording never lies in memory as a whole: its log-mels pass through a queue of fixed
length, and only its embeddings add up.
"""

import contextlib
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float32

from wavtext.audio.decode import probe
from wavtext.errors import AudioError, EmptyAudioError, WavtextError
from wavtext.library.records import ClipRecord
from wavtext.library.scan import FileState

BATCH = 32  # windows that the encoder takes at a time
PATIENCE = 0.03  # seconds that it waits for a batch to fill
TOGETHER = 256  # outcomes that need no encoder, handed on at a time
QUEUE = 96  # windows that may wait: about 17 MB of 5 s log-mels


class Embedder(Protocol):
    """What the library asks of a model (`wavtext.model.model.Model` is one)."""

    @property
    def name(self) -> str:
        """What the user calls it."""
        ...

    @property
    def identity(self) -> str:
        """Hex digest; equal identities give equal embeddings."""
        ...

    @property
    def dim(self) -> int:
        """Size of an embedding."""
        ...

    def cut(self, sound: str | Path, /) -> Iterator[tuple[float, float, np.ndarray]]:
        """(start, end, log-mel) of each window."""
        ...

    def embed_log_mels(self, log_mels: Sequence[np.ndarray], /) -> np.ndarray:
        """(windows, dim) embeddings of length 1."""
        ...

    def embed_text(self, texts: Sequence[str], /) -> np.ndarray:
        """(texts, dim) embeddings of length 1."""
        ...


@dataclass(frozen=True, slots=True)
class Embedded:
    """A file that was decoded and embedded."""

    record: ClipRecord
    spans: Float32[np.ndarray, "windows 2"]
    vectors: Float32[np.ndarray, "windows dim"]


@dataclass(frozen=True, slots=True)
class Known:
    """A file whose content the library has already embedded, under the clip named here."""

    path: str
    state: FileState
    content: bytes
    clip_id: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that cannot be indexed; `final` when only a change of the file can help."""

    path: str
    state: FileState
    reason: str
    final: bool


Outcome = Embedded | Known | Failed
Lookup = Callable[[bytes], int | None]  # content hash -> clip that has it embedded


@dataclass(slots=True)
class _Job:
    path: str
    state: FileState
    spans: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    vectors: list[np.ndarray] = field(default_factory=list[np.ndarray])
    error: Exception | None = None


_Item = tuple[_Job, tuple[float, float, np.ndarray] | ClipRecord | Known | Failed]


def embed_files(
    folder: Path,
    work: Sequence[tuple[str, FileState]],
    model: Embedder,
    lookup: Lookup,
    *,
    workers: int,
    stop: threading.Event,
    precision: type[np.floating[Any]] = np.float16,
) -> Generator[Outcome]:
    """Yield the outcome of each file as it is finished; see `embed_batches`."""
    batches = embed_batches(
        folder, work, model, lookup, workers=workers, stop=stop, precision=precision
    )
    with contextlib.closing(batches):
        for outcomes in batches:
            yield from outcomes


def embed_batches(
    folder: Path,
    work: Sequence[tuple[str, FileState]],
    model: Embedder,
    lookup: Lookup,
    *,
    workers: int,
    stop: threading.Event,
    precision: type[np.floating[Any]] = np.float16,
) -> Generator[list[Outcome]]:
    """Yield the outcomes of files that are finished together; files may overtake each other.

    Args:
        folder: Where the files are.
        work: (path relative to the folder, size and time when it was listed).
        model: Embeds the windows.
        lookup: Tells whether a content is embedded already.
        workers: Threads that decode.
        stop: When set, files not yet finished are given up.
        precision: Embeddings are rounded to this on the way; a library keeps float16.
    """
    jobs = iter([_Job(path, state) for path, state in work])
    feed = threading.Lock()
    quit_ = threading.Event()
    items: queue.Queue[_Item | None] = queue.Queue(QUEUE)

    def stopping() -> bool:
        return stop.is_set() or quit_.is_set()

    def put(item: _Item | None) -> None:
        while not quit_.is_set():
            try:
                items.put(item, timeout=0.2)
            except queue.Full:
                continue
            return

    def decode() -> None:
        while not stopping():
            with feed:
                job = next(jobs, None)
            if job is None:
                break
            for part in _decode_file(folder, job, model, lookup, stopping):
                put((job, part))
        put(None)

    threads = [threading.Thread(target=decode, daemon=True) for _ in range(max(1, workers))]
    for thread in threads:
        thread.start()
    try:
        yield from _encode(items, len(threads), model, precision)
    finally:
        quit_.set()
        for thread in threads:
            thread.join(timeout=10)


def hash_file(path: Path) -> bytes:
    """BLAKE2b-128 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).digest()


def _decode_file(
    folder: Path, job: _Job, model: Embedder, lookup: Lookup, stopping: Callable[[], bool]
) -> Iterator[tuple[float, float, np.ndarray] | ClipRecord | Known | Failed]:
    """The windows of a file and then its record; or one `Known`, or one `Failed`."""
    path = folder / job.path
    try:
        content = hash_file(path)
        clip_id = lookup(content)
        if clip_id is not None:
            yield Known(job.path, job.state, content, clip_id)
            return
        if not job.state.size:
            raise EmptyAudioError("the file is empty: 0 bytes")
        info = probe(path)
        end = 0.0
        for window in model.cut(path):
            if stopping():
                return
            end = max(end, window[1])
            yield window
        now = os.stat(path)
        if (now.st_size, now.st_mtime_ns) != job.state:
            yield Failed(job.path, job.state, "it changed while it was being read", False)
            return
        yield ClipRecord(
            path=job.path,
            size=job.state.size,
            mtime_ns=job.state.mtime_ns,
            content=content,
            duration=info.duration if info.duration else end,
            sample_rate=info.sample_rate,
            channels=info.channels,
            format=info.format,
        )
    except Exception as error:
        yield _failure(path, job, error)


def _failure(path: Path, job: _Job, error: Exception) -> Failed:
    if not path.exists():
        return Failed(job.path, job.state, "it was deleted during indexing", False)
    if isinstance(error, OSError):
        reason, final = f"cannot be read: {error.strerror or error}", False
    elif isinstance(error, AudioError):
        reason, final = str(error), os.access(path, os.R_OK)
    elif isinstance(error, WavtextError):
        reason, final = str(error), False
    else:
        reason, final = f"unexpected {type(error).__name__}: {error}", False
    reason = reason.replace(f"{path}: ", "").replace(str(path), "it")
    return Failed(job.path, job.state, " ".join(reason.split()), final)


def _encode(
    items: queue.Queue[_Item | None],
    producers: int,
    model: Embedder,
    precision: type[np.floating[Any]],
) -> Generator[list[Outcome]]:
    """Embed windows in batches and put each file's together, until all producers are done."""
    batch: list[tuple[_Job, tuple[float, float, np.ndarray]]] = []
    finished: list[tuple[_Job, ClipRecord]] = []
    ready: list[Outcome] = []
    until = 0.0  # time.monotonic() when what is there is handed on

    def flush() -> list[Outcome]:
        _embed_batch(model, batch, precision)
        outcomes = [*ready, *(_assemble(job, record) for job, record in finished)]
        for each in (batch, finished, ready):
            each.clear()
        return outcomes

    while producers or not items.empty():
        waiting = bool(batch or finished or ready)
        try:
            item = items.get(timeout=max(until - time.monotonic(), 0.0) if waiting else 0.5)
        except queue.Empty:
            yield flush()
            continue
        if item is None:
            producers -= 1
            continue
        if not waiting:
            until = time.monotonic() + PATIENCE
        job, part = item
        if isinstance(part, tuple):
            batch.append((job, part))
        elif isinstance(part, ClipRecord):
            finished.append((job, part))
        else:
            ready.append(part)
        if len(batch) >= BATCH or len(ready) >= TOGETHER:
            yield flush()
    yield flush()


def _embed_batch(
    model: Embedder,
    batch: list[tuple[_Job, tuple[float, float, np.ndarray]]],
    precision: type[np.floating[Any]],
) -> None:
    """Embed a batch; when it fails, window by window, so that one file's fault stays its own."""
    if not batch:
        return
    try:
        vectors = list(model.embed_log_mels([log_mel for _, (_, _, log_mel) in batch]))
    except Exception:
        vectors = []
        for job, (_, _, log_mel) in batch:
            try:
                vectors.append(model.embed_log_mels([log_mel])[0])
            except Exception as error:
                job.error = error
                vectors.append(np.zeros(model.dim, np.float32))
    for (job, (start, end, _)), vector in zip(batch, vectors, strict=True):
        job.spans.append((start, end))
        job.vectors.append(np.asarray(vector, precision))


def _assemble(job: _Job, record: ClipRecord) -> Outcome:
    if job.error is not None:
        return Failed(job.path, job.state, f"the model failed on it: {job.error}", False)
    if not job.vectors:
        return Failed(job.path, job.state, "it holds no sound", True)
    vectors = np.stack(job.vectors).astype(np.float32)
    if not np.isfinite(vectors).all():
        return Failed(job.path, job.state, "its embedding is not a number", True)
    return Embedded(record, np.array(job.spans, np.float32), vectors)
