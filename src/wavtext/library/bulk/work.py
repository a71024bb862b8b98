"""One part: its files -> a Parquet file, on whatever machine this runs."""

import itertools
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from wavtext.errors import ModelMismatchError
from wavtext.library.bulk.listing import SourceFile
from wavtext.library.bulk.parts import EmbeddedClip, ModelLabel, Part, part_writer
from wavtext.library.bulk.places import Place, is_remote, join
from wavtext.library.bulk.plan import PartPlan
from wavtext.library.notes import Notes, merge, read_notes
from wavtext.library.pipeline import Embedded, Embedder, Failed, Outcome, embed_files
from wavtext.library.records import ClipRecord
from wavtext.library.scan import FileState

FETCH = 32  # files of a remote place that are on this machine at a time, twice


@dataclass(frozen=True, slots=True)
class PartResult:
    """What is in a part."""

    name: str
    embedded: int
    windows: int
    duration: float  # seconds of sound
    failures: tuple[tuple[str, str], ...]  # (path, reason)


@dataclass(frozen=True, slots=True)
class Job:
    """What all parts of a run have in common; it travels to other machines."""

    root: str
    out: str
    model: ModelLabel
    workers: int  # threads that decode, on each machine


def embed_part(
    part: PartPlan,
    job: Job,
    model: Embedder,
    after_file: Callable[[bool, float], None] | None = None,
) -> PartResult:
    """Make one part, or say what is in it when it is there.

    Args:
        part: The files.
        job: Where they lie and where the part goes.
        model: Must be the job's.
        after_file: Called after each file: whether it could be embedded, its seconds.

    Raises:
        ModelMismatchError: It is not the job's model.
        LibraryError: The part cannot be written.
    """
    if model.identity != job.model.identity:
        raise ModelMismatchError(
            f"this machine's {model.name} is {model.identity[:6]}, not {job.model.identity[:6]}.",
            help="Install the same wavtext and the same model folder on every machine.",
        )
    out = Place(job.out)
    if out.state(part.name) is not None:
        return _result_of(out, part.name)
    embedded = windows = 0
    duration = 0.0
    failures: list[tuple[str, str]] = []
    with out.writing(part.name) as path, part_writer(path, job.model, job.root) as writer:
        for clip in _embedded_clips(part, job, model):
            writer.write(clip)
            if clip.error:
                failures.append((clip.path, clip.error))
            seconds = clip.record.duration if clip.record else 0.0
            embedded += not clip.error
            windows += len(clip.embeddings)
            duration += seconds
            if after_file is not None:
                after_file(not clip.error, seconds)
    return PartResult(part.name, embedded, windows, duration, tuple(failures))


def _embedded_clips(part: PartPlan, job: Job, model: Embedder) -> Iterator[EmbeddedClip]:
    for file, path, outcome in _outcomes(part, job, model):
        uri = join(job.root, file.path)
        record = ClipRecord(
            path=file.path,
            size=file.size,
            mtime_ns=file.mtime_ns,
            content=b"",
            duration=0.0,
            sample_rate=0,
            channels=0,
            format="",
        )
        if isinstance(outcome, Embedded):
            found = outcome.record
            record = replace(found, path=file.path, size=file.size, mtime_ns=file.mtime_ns)
            notes = merge([part.notes.get(file.path, Notes()), read_notes(path)])
            yield EmbeddedClip(file.path, uri, outcome.spans, outcome.vectors, record, notes)
            continue
        reason = outcome.reason if isinstance(outcome, Failed) else "it was not embedded"
        nothing = np.empty((0, 2), np.float32)
        yield EmbeddedClip(file.path, uri, nothing, nothing, record, Notes(), reason)


def _outcomes(
    part: PartPlan, job: Job, model: Embedder
) -> Iterator[tuple[SourceFile, Path, Outcome]]:
    """(file, where it is on this machine, what became of it)."""
    if not is_remote(job.root):
        folder = Path(job.root)
        by_path = {file.path: file for file in part.files}
        work = [(file.path, FileState(file.size, file.mtime_ns)) for file in part.files]
        for outcome in _embed_files(folder, work, model, job.workers):
            path = outcome.record.path if isinstance(outcome, Embedded) else outcome.path
            yield by_path[path], folder / path, outcome
        return
    with tempfile.TemporaryDirectory(prefix="wavtext-") as folder:
        for batch in _fetched(Place(job.root), part.files, Path(folder)):
            work = []
            for name, (file, reason) in batch.items():
                path = Path(folder, name)
                if reason:
                    yield file, path, Failed(name, FileState(0, 0), reason, final=False)
                    continue
                info = path.stat()
                work.append((name, FileState(info.st_size, info.st_mtime_ns)))
            for outcome in _embed_files(Path(folder), work, model, job.workers):
                name = outcome.record.path if isinstance(outcome, Embedded) else outcome.path
                yield batch[name][0], Path(folder, name), outcome
            for name in batch:
                Path(folder, name).unlink(missing_ok=True)


def _embed_files(
    folder: Path, work: Sequence[tuple[str, FileState]], model: Embedder, workers: int
) -> Iterator[Outcome]:
    """The library's pipeline, with embeddings as the model gives them."""
    outcomes = embed_files(
        folder,
        work,
        model,
        lambda content: None,
        workers=workers,
        stop=threading.Event(),
        precision=np.float32,
    )
    with closing(outcomes):
        yield from outcomes


def _fetched(
    place: Place, files: Sequence[SourceFile], folder: Path
) -> Iterator[dict[str, tuple[SourceFile, str]]]:
    """Files copied to a folder, some at a time: name there -> (file, why it could not be).

    The next ones come while these are embedded.
    """

    def fetch(numbered: tuple[int, SourceFile]) -> tuple[str, tuple[SourceFile, str]]:
        number, file = numbered
        name = f"{number:06d}{os.path.splitext(file.path)[1]}"
        try:
            place.fetch(file.path, folder / name)
        except Exception as error:  # clients of object stores have exceptions of their own
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return name, (file, f"cannot be read: {reason}")
        if (folder / name).stat().st_size != file.size:
            return name, (file, "it changed while it was being read")
        return name, (file, "")

    with ThreadPoolExecutor(8) as pool:
        numbered = iter(enumerate(files))
        coming = [pool.submit(fetch, each) for each in itertools.islice(numbered, FETCH)]
        while coming:
            batch = dict(each.result() for each in coming)
            coming = [pool.submit(fetch, each) for each in itertools.islice(numbered, FETCH)]
            yield batch


def _result_of(place: Place, name: str) -> PartResult:
    """What is in a part that is there, as when another machine was quicker."""
    embedded = windows = 0
    duration = 0.0
    failures: list[tuple[str, str]] = []
    with place.open(name) as file, closing(Part(file, join(place.url, name))) as part:
        for clip in part.clips():
            if clip.error:
                failures.append((clip.path, clip.error))
                continue
            embedded += 1
            windows += len(clip.embeddings)
            duration += clip.record.duration if clip.record else 0.0
    return PartResult(name, embedded, windows, duration, tuple(failures))
