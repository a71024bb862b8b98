"""One indexing run: folder -> plan -> embeddings -> library, one transaction a batch of files.

Whatever ends the run (Ctrl-C, kill -9, a full disk), the files finished before stay; the next run
goes on with the rest.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from wavtext.audio.decode import AUDIO_SUFFIXES, probe
from wavtext.errors import DamagedLibraryError, LibraryError, WavtextError
from wavtext.library.pipeline import Embedded, Embedder, Failed, Known, Outcome, embed_batches
from wavtext.library.records import ClipRecord
from wavtext.library.results import Failure, IndexProgress, IndexReport
from wavtext.library.salvage import salvage
from wavtext.library.scan import FileState, Plan, make_plan, scan_folder
from wavtext.library.store import Store
from wavtext.library.upkeep import has_background, refresh_background, refresh_codes, update_notes
from wavtext.model.folder import PROBE

Progress = Callable[[IndexProgress], None]


VERIFY_UP_TO = 500_000_000  # bytes; a larger library is verified only after a crash


def open_for_indexing(path: Path, model: Embedder, source: str) -> tuple[Store, list[str]]:
    """The library, sound again if it was damaged, and what was done about it.

    The caller holds the lock.
    """
    notes: list[str] = []
    try:
        store = _open_verified(path)
    except DamagedLibraryError as error:
        saved = salvage(path, [(model.identity, model.name, model.dim, source)])
        notes.append(
            f"{error.args[0]} {saved.clips + saved.nameless} clips were salvaged; the rest is "
            f"indexed again. The damaged file is kept as {saved.kept_as}."
        )
        store = _open_verified(path)
    store.set_meta(indexing=1)  # until the run has ended well
    return store, notes


def _open_verified(path: Path) -> Store:
    size = path.stat().st_size if path.exists() else 0
    store = Store(path, write=True)
    try:
        if 0 < size <= VERIFY_UP_TO or store.meta("indexing"):
            store.verify()
            store.remove_clips(store.damaged_clips())  # their files are embedded again
    except BaseException:
        store.close()
        raise
    return store


@dataclass(slots=True)
class _Counts:
    embedded: int = 0
    reused: int = 0
    moved: int = 0
    audio_duration: float = 0.0
    bytes_done: int = 0
    done: int = 0
    failures: dict[str, str] = field(default_factory=dict[str, str])


def index_folder(
    folder: Path,
    store: Store,
    model: Embedder,
    *,
    source: str,
    notes: Sequence[str] = (),
    progress: Progress | None = None,
    stop: threading.Event | None = None,
    retry: bool = False,
    prune: bool = False,
    workers: int | None = None,
) -> IndexReport:
    """Bring the library up to date with its folder.

    Args:
        folder: The sounds.
        store: The library, open for writing and locked by this process.
        model: Embeds what is new; when it is not the library's, everything is embedded anew and the
            old embeddings serve searches until the last file is done.
        source: What `load_model` takes to get this model again.
        notes: Lines for the report.
        progress: Called in this thread after each file.
        stop: When set, the run ends after the windows in hand.
        retry: Try files again that failed before and have not changed.
        prune: Forget all clips although no sound is left in the folder.
        workers: Threads that decode; one for each core when None.
    """
    began = time.perf_counter()
    stop = stop or threading.Event()
    stored = store.ensure_model(model.identity, model.name, model.dim, source)
    known = store.files(stored.model_id)
    failed = store.failures()
    scan = scan_folder(folder, AUDIO_SUFFIXES)
    if known and not scan.files and not prune:
        raise LibraryError(
            f"{folder}: no sounds are left here, but the library knows {len(known)}; "
            "nothing was changed.",
            help="Is a disk not connected? To forget them all: wavtext index --prune",
        )
    plan = make_plan(scan, known, failed, retry=retry)
    bytes_total = sum(state.size for _, state in plan.work)
    run = _Run(folder, store, model, stored.model_id, plan, progress, began, bytes_total)
    counts = run.counts
    counts.failures.update(scan.problems)
    counts.failures.update(plan.skipped)

    def lookup(content: bytes) -> int | None:
        found = store.clip_of_content(content, stored.model_id)
        return None if found is None else found[0]

    work = plan.work
    if work and not has_background(store, model):
        model.embed_text([PROBE])  # what cannot be searched here says so before the work
    while work:
        batches = embed_batches(
            folder, work, model, lookup, workers=workers or os.cpu_count() or 1, stop=stop
        )
        with contextlib.closing(batches):
            for outcomes in batches:
                run.finish(outcomes)
        work, run.again = run.again, []
    notes = [*notes, *update_notes(folder, store)]
    stopped = stop.is_set() and counts.done < len(plan.work)
    removed = 0
    if not stopped:
        removed = run.leave(scan.files.keys() | scan.problems.keys(), failed)
        active = store.active_model()
        if active is not None and active.model_id != stored.model_id:
            store.activate(stored.model_id)
    if not stopped:
        refresh_codes(store)
        refresh_background(store, model)
    store.set_meta(indexing=0)
    return IndexReport(
        files=len(scan.files) + len(scan.problems),
        embedded=counts.embedded,
        reused=counts.reused,
        moved=counts.moved,
        unchanged=plan.unchanged,
        removed=removed,
        failures=tuple(
            Failure(path=folder / path, reason=reason)
            for path, reason in sorted(counts.failures.items())
        ),
        audio_duration=counts.audio_duration,
        elapsed=time.perf_counter() - began,
        stopped=stopped,
        notes=tuple(notes),
    )


@dataclass(slots=True)
class _Run:
    folder: Path
    store: Store
    model: Embedder
    model_id: int
    plan: Plan
    progress: Progress | None
    began: float  # time.perf_counter()
    bytes_total: int
    again: list[tuple[str, FileState]] = field(default_factory=list[tuple[str, FileState]])
    counts: _Counts = field(default_factory=_Counts)

    def finish(self, outcomes: Sequence[Outcome]) -> None:
        """Write the outcomes of files in one transaction, then report progress for each."""
        if not outcomes:
            return
        with self.store.writing():
            paths = [self._write(outcome) for outcome in outcomes]
        for path, size in filter(None, paths):
            self.counts.done += 1
            self.counts.bytes_done += size
            if self.progress is not None:
                self.progress(self._progress(self.folder / path))

    def _write(self, outcome: Outcome) -> tuple[str, int] | None:
        """Path and size of the file whose outcome was written; None for one to be done again."""
        counts = self.counts
        if isinstance(outcome, Embedded):
            self.store.put_clip(outcome.record, self.model_id, outcome.spans, outcome.vectors)
            counts.embedded += 1
            counts.audio_duration += outcome.record.duration
            return outcome.record.path, outcome.record.size
        if isinstance(outcome, Failed):
            self._fail(outcome)
        elif self._reuse(outcome):
            counts.reused += 1
        else:
            self.again.append((outcome.path, outcome.state))
            return None
        return outcome.path, outcome.state.size

    def leave(self, present: set[str], failed: dict[str, tuple[int, int, bool, str]]) -> int:
        """Forget clips and failures whose file is gone; how many clips left."""
        gone = [clip_id for clip_id, path in self.plan.missing.items() if path not in present]
        for begin in range(0, len(gone), 500):
            self.store.remove_clips(gone[begin : begin + 500])
        stale = [path for path in failed if path not in present]
        if stale:
            self.store.forget_failures(stale)
        return len(gone)

    def _reuse(self, known: Known) -> bool:
        """Point an embedded clip at its new place, or give a copy the same embeddings.

        False when the clip has changed since the content was looked up, as when files swap names.
        """
        row = next(self.store.clip_rows([known.clip_id]), None)
        if row is None or row[1].content != known.content:
            return False
        clip_id, original = row
        record = replace(
            original,
            path=known.path,
            size=known.state.size,
            mtime_ns=known.state.mtime_ns,
            content=known.content,
        )
        if not record.format:  # its row was lost to damage, its embeddings were not
            record = self._described(record)
        moved = clip_id in self.plan.missing
        if moved or original.path == known.path:
            self.store.move_clip(clip_id, record)
            self.counts.moved += moved
            self.plan.missing.pop(clip_id, None)
        else:
            self.store.copy_clip(clip_id, record, self.model_id)
        return True

    def _described(self, record: ClipRecord) -> ClipRecord:
        try:
            info = probe(self.folder / record.path)
        except WavtextError:
            return replace(record, format="unknown")
        return replace(
            record,
            duration=info.duration or 0.0,
            sample_rate=info.sample_rate,
            channels=info.channels,
            format=info.format,
        )

    def _fail(self, failed: Failed) -> None:
        self.counts.failures[failed.path] = failed.reason
        self.store.put_failure(
            failed.path,
            failed.state.size,
            failed.state.mtime_ns,
            failed.reason,
            final=failed.final,
            remove=failed.final,
        )

    def _progress(self, path: Path) -> IndexProgress:
        counts = self.counts
        return IndexProgress(
            files_done=counts.done,
            files_total=len(self.plan.work),
            failed=len(counts.failures),
            audio_duration=counts.audio_duration,
            elapsed=time.perf_counter() - self.began,
            bytes_done=counts.bytes_done,
            bytes_total=self.bytes_total,
            path=path,
        )
