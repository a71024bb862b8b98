"""Sounds anywhere -> Parquet files of embeddings: the plan, one part, and the run on one machine.

    report = embed(["s3://bucket/sounds"], "s3://bucket/embeddings")

A part is a Parquet file of some hundred sounds. It appears whole or not at all, under a name that
follows from what is in it, so that a run that was killed goes on with the parts that are missing,
and a part that two machines made is there once.
"""

import hashlib
import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np

from wavtext.errors import LibraryError, ModelMismatchError, WavtextError
from wavtext.library.bulk.parts import EmbeddedClip, ModelLabel, Part, arrow, part_writer
from wavtext.library.bulk.places import Listing, Place, SourceFile, is_remote, join, list_sources
from wavtext.library.choice import model_source
from wavtext.library.notes import Notes, manifest_notes, merge, read_notes
from wavtext.library.pipeline import Embedded, Embedder, Failed, Outcome, embed_files
from wavtext.library.records import ClipRecord
from wavtext.library.scan import FileState

PART_FILES = 500  # sounds in a part: what a killed machine loses at most
FETCH = 32  # files of a remote place that are on this machine at a time, twice


@dataclass(frozen=True, slots=True)
class PartPlan:
    """A part that is to be made."""

    name: str
    files: tuple[SourceFile, ...]
    notes: dict[str, Notes] = field(default_factory=dict[str, Notes])  # from a manifest


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


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedProgress:
    """How far a run has come; handed to the callback after each file, or part on a cluster."""

    files_done: int
    files_total: int
    failed: int
    audio_duration: float  # seconds of sound embedded so far
    elapsed: float  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedReport:
    """What a run did.

    Attributes:
        files: Sound files found.
        embedded: Files embedded in this run.
        finished: Files that an earlier run had embedded.
        failures: (address or path, reason) of files that failed, now or in an earlier run.
        windows: Windows embedded in this run.
        audio_duration: Seconds of sound embedded in this run.
        parts: Parquet files written in this run.
        elapsed: Seconds the run took.
    """

    files: int
    embedded: int
    finished: int
    failures: tuple[tuple[str, str], ...]
    windows: int
    audio_duration: float
    parts: int
    elapsed: float

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        values: dict[str, object] = {name: getattr(self, name) for name in self.__slots__}
        values["failures"] = [{"path": path, "reason": reason} for path, reason in self.failures]
        return values


@dataclass(slots=True)
class Plan:
    """What is there and what is to be done."""

    listing: Listing
    parts: list[PartPlan]
    finished: int = 0
    failures: dict[str, str] = field(default_factory=dict[str, str])


Progress = Callable[[EmbedProgress], None]
Runner = Callable[[Sequence[PartPlan], Job], Iterable[PartResult]]


def embed(
    sources: Sequence[str | Path],
    out: str | Path,
    *,
    model: Embedder | str | Path = "compact",
    part_files: int = PART_FILES,
    workers: int | None = None,
    retry: bool = False,
    progress: Progress | None = None,
    runner: Runner | None = None,
) -> EmbedReport:
    """Embed sounds into Parquet files; what an earlier run has finished is kept.

    Args:
        sources: Folders, files, globs, or addresses that fsspec reaches: s3://bucket/prefix.
        out: The folder or address that the Parquet files go to.
        model: A loaded model, the name of one, or a model folder.
        part_files: Sounds in a Parquet file.
        workers: Threads that decode; one for each core when None.
        retry: Try files again that failed before.
        progress: Called after each file.
        runner: Makes the parts, on other machines (see cluster.py); this one when None.

    Raises:
        LibraryError: Nothing is there to embed, or `out` holds the embeddings of other sounds.
        ModelMismatchError: `out` holds another model's embeddings.
    """
    began = time.perf_counter()
    if isinstance(model, str | Path):
        from wavtext.model.model import load_model

        model = cast(Embedder, load_model(model))
    label = ModelLabel(model.identity, model.name, model_source(model), model.dim)
    plan = make_plan(sources, str(out), label, part_files=part_files, retry=retry)
    root = plan.listing.root
    job = Job(root, Place(str(out)).url, label, workers or os.cpu_count() or 1)
    todo = sum(len(part.files) for part in plan.parts)
    done, failed, duration = 0, 0, 0.0

    def count(files: int, failures: int, seconds: float) -> None:
        nonlocal done, failed, duration
        done, failed, duration = done + files, failed + failures, duration + seconds
        if progress is not None:
            elapsed = time.perf_counter() - began
            progress(
                EmbedProgress(
                    files_done=done,
                    files_total=todo,
                    failed=failed,
                    audio_duration=duration,
                    elapsed=elapsed,
                )
            )

    results: list[PartResult] = []
    if runner is None:
        for part in plan.parts:
            results.append(embed_part(part, job, model, lambda ok, s: count(1, int(not ok), s)))
    else:
        for result in runner(plan.parts, job):
            results.append(result)
            files = result.embedded + len(result.failures)
            count(files, len(result.failures), result.duration)
    failures = {**plan.listing.problems, **plan.failures}
    for result in results:
        failures.update(result.failures)
    return EmbedReport(
        files=len(plan.listing.files) + len(plan.listing.problems),
        embedded=sum(result.embedded for result in results),
        finished=plan.finished,
        failures=tuple((join(root, path), failures[path]) for path in sorted(failures)),
        windows=sum(result.windows for result in results),
        audio_duration=sum(result.duration for result in results),
        parts=len(results),
        elapsed=time.perf_counter() - began,
    )


def make_plan(
    sources: Sequence[str | Path],
    out: str,
    model: ModelLabel,
    *,
    part_files: int = PART_FILES,
    retry: bool = False,
) -> Plan:
    """List the sources and the finished parts; rows of files that have changed leave their part."""
    arrow()
    place = Place(out)
    place.clear("part-")
    listing = list_sources(sources, leave_out="" if place.remote else place.url)
    plan = Plan(listing, [])
    wanted = {file.path: file for file in listing.files}
    finished: set[str] = set()
    for name in part_names(place):
        states = _checked_states(place, name, model, listing.root)
        stale: set[str] = set()
        for path, (size, mtime_ns, error) in states.items():
            file = wanted.get(path)
            if file is None:
                continue
            if (file.size, file.mtime_ns) != (size, mtime_ns) or (error and retry):
                stale.add(path)
                continue
            finished.add(path)
            if error:
                plan.failures[path] = error
        if stale:
            _leave_out(place, name, stale)
    plan.finished = len(finished) - len(plan.failures)
    notes = _manifest(listing)
    left = [file for file in listing.files if file.path not in finished]
    for begin in range(0, len(left), part_files):
        files = tuple(left[begin : begin + part_files])
        written = {file.path: notes[file.path] for file in files if file.path in notes}
        states = [(file.path, file.size, file.mtime_ns) for file in files]
        plan.parts.append(PartPlan(_part_name(model.identity, states), files, written))
    return plan


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


def part_names(place: Place) -> list[str]:
    """The Parquet files that `embed` wrote there."""
    return [name for name in place.names(".parquet") if name.startswith("part-")]


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


def _checked_states(
    place: Place, name: str, model: ModelLabel, root: str
) -> dict[str, tuple[int, int, str]]:
    """What a finished part holds; it must be of this model and these sounds."""
    address = join(place.url, name)
    with place.open(name) as file, closing(Part(file, address)) as part:
        if part.model.identity != model.identity:
            raise ModelMismatchError(
                f"{place.url}: holds embeddings by {part.model.name}@{part.model.identity[:6]}, "
                f"not by {model.name}@{model.identity[:6]}.",
                help="Name another --out.",
            )
        if part.root != root:
            raise LibraryError(
                f"{place.url}: holds the sounds of {part.root}, not of {root}.",
                help="Name another --out, or give all sources at once.",
            )
        return part.states()


def _leave_out(place: Place, name: str, paths: set[str]) -> None:
    """Write a part anew without some files; the old one goes when the new one is there."""
    with place.open(name) as file, closing(Part(file, join(place.url, name))) as part:
        kept = [
            (path, size, mtime_ns)
            for path, (size, mtime_ns, _) in part.states().items()
            if path not in paths
        ]
        if kept:
            new = _part_name(part.model.identity, kept)
            with (
                place.writing(new) as path,
                part_writer(path, part.model, part.root) as writer,
            ):
                for clip in part.clips():
                    if clip.path not in paths:
                        writer.write(clip)
    place.remove(name)


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


def _part_name(identity: str, states: Sequence[tuple[str, int, int]]) -> str:
    text = "\n".join([identity, *(f"{path}\0{size}\0{time}" for path, size, time in states)])
    return f"part-{hashlib.blake2b(text.encode(), digest_size=10).hexdigest()}.parquet"


def _manifest(listing: Listing) -> dict[str, Notes]:
    """What a manifest of `wavtext collect` beside the sounds says of them."""
    place = Place(listing.root)
    if place.state("manifest.jsonl") is None:
        return {}
    try:
        if not place.remote:
            return manifest_notes(Path(listing.root, "manifest.jsonl"))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "manifest.jsonl")
            place.fetch("manifest.jsonl", path)
            return manifest_notes(path)
    except WavtextError as error:
        listing.problems["manifest.jsonl"] = str(error)
        return {}
