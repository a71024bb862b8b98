"""A folder of sounds that can be searched: open it, index it, ask it.

    with SoundLibrary.open("sounds/") as library:
        library.index()
        for result in library.search("a single crow at night", limit=5):
            print(f"{result.score:.2f}  {result.path}  {result.start:.1f}-{result.end:.1f} s")

Reading (search, clips, stats, ...) may happen from any number of threads and processes at once, and
while another process indexes; indexing is for one process at a time.
"""

import contextlib
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.errors import DamagedLibraryError, LibraryError, ModelMismatchError, WavtextError
from wavtext.library.duplicates import same_sounds
from wavtext.library.exact import Index
from wavtext.library.export import write_embeddings
from wavtext.library.filters import Filters
from wavtext.library.importing import import_embeddings
from wavtext.library.indexing import Progress, index_folder, open_for_indexing
from wavtext.library.lock import IndexLock
from wavtext.library.pipeline import Embedder
from wavtext.library.query import Like, Query, query_vector, read_part
from wavtext.library.reader import Reader
from wavtext.library.records import ClipRecord, ModelRecord
from wavtext.library.relevance import Relevance
from wavtext.library.results import (
    Failure,
    IndexProgress,
    IndexReport,
    LibraryClip,
    LibraryStats,
    MatchingWindow,
    SearchResult,
)
from wavtext.library.salvage import SalvageReport, salvage
from wavtext.library.search import (
    SAME_COSINE,
    SAME_DURATION,
    SAMPLE,
    SearchOptions,
    clip_vector,
    search,
)
from wavtext.library.store import Store
from wavtext.library.watch import watch_folder

__all__ = [
    "Failure",
    "Filters",
    "IndexProgress",
    "IndexReport",
    "LibraryClip",
    "LibraryStats",
    "MatchingWindow",
    "SearchResult",
    "SoundLibrary",
]

LIBRARY_FILE = Path(".wavtext") / "library.sqlite"


class SoundLibrary:
    """The sounds of one folder, their embeddings, and searches among them.

    Make one with `SoundLibrary.open`. Usable as a context manager.

    Attributes:
        folder: The sounds.
        path: The SQLite file that holds the library.
    """

    def __init__(self, folder: Path, path: Path, model: Embedder | str | Path | None) -> None:
        self.folder = folder
        self.path = path
        self._wanted = model
        self._model: Embedder | None = None
        self._reader = Reader(folder, path)
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls,
        folder: str | Path,
        *,
        library: str | Path | None = None,
        model: Embedder | str | Path | None = None,
    ) -> Self:
        """The library of a folder; nothing is read or written yet.

        Args:
            folder: The folder of sounds.
            library: Where the library is kept; FOLDER/.wavtext/library.sqlite when None.
            model: A loaded model, the name of one, or a model folder; None takes the model that
                made the library, and "compact" for a new one.

        Raises:
            LibraryError: There is neither such a folder nor such a library.
        """
        folder = Path(os.path.abspath(Path(folder).expanduser()))
        path = Path(library).expanduser() if library is not None else folder / LIBRARY_FILE
        path = Path(os.path.abspath(path))
        if not folder.is_dir() and not path.exists():
            what = "not a folder" if folder.exists() else "no such folder"
            raise LibraryError(f"{folder}: {what}.", help="Name a folder of sounds.")
        return cls(folder, path, model)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the library's file; the object opens it again when it is used again."""
        self._reader.close()

    @property
    def model(self) -> Embedder:
        """The model that embeds queries and sounds, loaded on first use."""
        with self._lock:
            if self._model is None:
                self._model = self._load_model()
            return self._model

    def index(
        self,
        progress: Progress | None = None,
        *,
        stop: threading.Event | None = None,
        retry: bool = False,
        prune: bool = False,
        workers: int | None = None,
    ) -> IndexReport:
        """Bring the library up to date with its folder: new, changed, moved and removed files.

        Files that fail are listed in the report and in `failures()`; the rest goes on.

        Args:
            progress: Called after each file.
            stop: Set it (from another thread) to end early; what was finished is kept.
            retry: Try files again that failed before and have not changed.
            prune: Forget all clips even when no sound is left in the folder.
            workers: Threads that decode; one for each core when None.

        Raises:
            BusyLibraryError: Another process is indexing into this library.
            LibraryError: The folder is missing, or the library cannot be written.
        """
        model = self.model
        self._make_place()
        source = self._source(model)
        with IndexLock(self.path):
            store, notes = open_for_indexing(self.path, model, source)
            with contextlib.closing(store):
                self._claim(store)
                return index_folder(
                    self.folder,
                    store,
                    model,
                    source=source,
                    notes=notes,
                    progress=progress,
                    stop=stop,
                    retry=retry,
                    prune=prune,
                    workers=workers,
                )

    def search(
        self,
        text: str | None = None,
        *,
        limit: int = 10,
        like: Like | Sequence[Like] | None = None,
        without: str | Sequence[str] = (),
        unlike: Like | Sequence[Like] | None = None,
        filters: Filters | None = None,
        names: bool = True,
        group: bool = False,
        diversity: float = 0.0,
        explain: bool = False,
    ) -> list[SearchResult]:
        """The clips that fit best, each with its best window.

        Args:
            text: What to find, in words.
            limit: How many clips at most.
            like: What they should sound like: a file, a part of one ("dog.wav@3.5-5.0"), a
                waveform, a clip's number, an embedding, or several of these; the clip itself is
                left out.
            without: What should not be heard, in words.
            unlike: What they should not sound like, given as `like` is.
            filters: Which clips may be found: by duration, folder, format, tags, ...
            names: Let words found in file names, captions and tags count, beside the sound.
            group: Fold clips that sound the same into one result, the others in its `duplicates`.
            diversity: 0 ranks by fit alone; towards 1, results differ more among each other.
            explain: Fill `heat` (every window's score along time) and `why` (each word's share).

        Returns:
            Results in order. The order goes by the cosine (`score`), and with `names` also by the
            words found, so that a lower score may come first.

        Raises:
            LibraryError: There is no library yet, or nothing was asked.
            ModelMismatchError: The library was made by another model.
        """
        query = Query.make(text, like, without, unlike)
        index, model = self._index(), self.model
        store = self._reader.store()

        def spread(vector: np.ndarray) -> float:
            return float((index.sample(SAMPLE) @ vector).std())

        def vector_of(clip_id: int) -> np.ndarray:
            windows = index.windows(clip_id)
            if windows is None:
                raise LibraryError(f"{self.path}: no clip {clip_id}.")
            return clip_vector(windows[1])

        options = SearchOptions(
            limit=limit,
            filters=filters or Filters(),
            names=names,
            group=group,
            diversity=diversity,
            explain=explain,
            exclude=self._own_clips(query.like),
        )
        vector = query_vector(query, model, spread, vector_of)
        background = self._reader.background()
        relevance = None
        if background is not None and query.text and not (query.like or query.unlike):
            relevance = Relevance.of_query(vector, background, index.sample(SAMPLE))
        return search(
            self.folder,
            store,
            index,
            vector,
            query.text,
            options,
            relevance=relevance,
            embed_text=model.embed_text,
        )

    def clip(self, clip_id: int) -> LibraryClip:
        """One clip by its number.

        Raises:
            LibraryError: There is no such clip.
        """
        for clip in self._clips([clip_id]):
            return clip
        raise LibraryError(f"{self.path}: no clip {clip_id}.")

    def clips(self) -> Iterator[LibraryClip]:
        """All clips, in the order they were added."""
        return self._clips(None)

    def failures(self) -> list[Failure]:
        """The files that could not be indexed, and why."""
        return [
            Failure(path=self.folder / path, reason=row[3])
            for path, row in self._reader.store().failures().items()
        ]

    def stats(self) -> LibraryStats:
        """What the library holds."""
        store = self._reader.store()
        matrix = self._reader.matrix()
        model = store.active_model()
        records = [record for _, record in store.clip_rows()]
        files = [Path(f"{self.path}{suffix}") for suffix in ("", "-wal")]
        return LibraryStats(
            clips=len(records),
            windows=int(np.diff(matrix.offsets)[matrix.alive].sum()),
            duration=sum(record.duration for record in records),
            failures=store.count("failures"),
            model=_label(model) if model else "",
            dim=model.dim if model else 0,
            size=sum(file.stat().st_size for file in files if file.exists()),
            damaged=len(matrix.damaged),
        )

    def embeddings(
        self,
    ) -> tuple[Int64[np.ndarray, " clips"], Float32[np.ndarray, "clips dim"]]:
        """Clip ids, and one embedding for each: the mean of its windows, of length 1."""
        matrix = self._reader.matrix().compacted()
        if not len(matrix.clip_ids):
            return matrix.clip_ids, np.empty((0, matrix.vectors.shape[1]), np.float32)
        means = np.add.reduceat(matrix.vectors, matrix.offsets[:-1], axis=0)
        norms = np.linalg.norm(means, axis=1, keepdims=True)
        return matrix.clip_ids, means / np.maximum(norms, 1e-12)

    def check(self) -> list[str]:
        """What is wrong with the library's file, one line each; empty when it is sound.

        Reads all of it: about a second for each gigabyte.
        """
        try:
            store = self._reader.store()
            store.verify()
        except DamagedLibraryError as error:
            return [str(error)]
        records = dict(store.clip_rows())
        return [
            f"{self.folder / records[clip_id].path if clip_id in records else clip_id}: "
            "its row or embeddings do not match their checksum; index the folder again."
            for clip_id in store.damaged_clips()
        ]

    def repair(self) -> SalvageReport:
        """Rebuild a damaged library from every clip that can still be read.

        The damaged file is kept beside it. Index the folder afterwards for what was lost.

        Raises:
            DamagedLibraryError: No clip can be read; nothing was changed.
        """
        if not self.path.exists():
            raise LibraryError(f"{self.path}: no such library.", help="Make one: wavtext index")
        models: list[tuple[str, str, int, str]] = []
        with contextlib.suppress(WavtextError):
            model = self._load_model("compact") if self._wanted is None else self.model
            models.append((model.identity, model.name, model.dim, self._source(model)))
        with self._lock, IndexLock(self.path):
            self.close()
            return salvage(self.path, models)

    def duplicates(
        self, *, threshold: float = SAME_COSINE, tolerance: float = SAME_DURATION
    ) -> list[list[LibraryClip]]:
        """Groups of clips that sound the same, largest first.

        Args:
            threshold: Least cosine between two clips' embeddings.
            tolerance: Share by which their durations may differ.
        """
        ids, embeddings = self.embeddings()
        records = dict(self._reader.store().clip_rows(ids.tolist()))
        keep = np.array([clip_id in records for clip_id in ids.tolist()], bool)
        ids, embeddings = ids[keep], embeddings[keep]
        kept = [records[clip_id] for clip_id in ids.tolist()]
        groups = same_sounds(
            embeddings,
            np.array([record.duration for record in kept], np.float32),
            [record.content for record in kept],
            threshold=threshold,
            tolerance=tolerance,
        )
        clips = {clip.clip_id: clip for clip in self.clips()}
        named = [[clips[int(ids[i])] for i in group if int(ids[i]) in clips] for group in groups]
        return sorted(named, key=lambda group: -len(group))

    def export_embeddings(self, path: str | Path, *, windows: bool = True) -> int:
        """Write the embeddings as Parquet or .npz, by the suffix; how many rows.

        Args:
            path: The file.
            windows: One row for each window; else one for each clip, from 0 to its duration.
        """
        stored = self._reader.model()
        records = dict(self._reader.store().clip_rows())
        if windows:
            matrix = self._reader.matrix().compacted()
            ids = np.repeat(matrix.clip_ids, np.diff(matrix.offsets))
            spans, vectors = matrix.spans, matrix.vectors
        else:
            ids, vectors = self.embeddings()
            ends = [records[each].duration if each in records else 0.0 for each in ids.tolist()]
            spans = np.array([(0.0, end) for end in ends], np.float32).reshape(-1, 2)
        known = np.isin(ids, np.fromiter(records, np.int64, len(records)))
        ids, spans, vectors = ids[known], spans[known], vectors[known]
        paths = [records[each].path for each in ids.tolist()]
        write_embeddings(Path(path), ids, paths, spans, vectors, model=stored.identity)
        return len(ids)

    def import_embeddings(self, path: str | Path) -> tuple[int, list[Failure]]:
        """Add clips of the folder whose embeddings a Parquet file holds, without decoding them.

        Returns:
            How many clips were added, and those that could not be.
        """
        model, source = self.model, self._source(self.model)
        self._make_place()
        with IndexLock(self.path), contextlib.closing(Store(self.path, write=True)) as store:
            self._claim(store)
            return import_embeddings(Path(path), self.folder, store, model, source)

    def watch(
        self,
        stop: threading.Event,
        report: Callable[[IndexReport], None],
        *,
        progress: Progress | None = None,
        interval: float = 2.0,
    ) -> None:
        """Index now and whenever the folder has changed, until `stop` is set.

        Args:
            stop: Ends the watch, and an indexing run under way.
            report: Called after each run.
            progress: Called after each file.
            interval: Seconds between looks at the folder.
        """
        watch_folder(
            self.folder,
            lambda: report(self.index(progress, stop=stop)),
            stop,
            interval=interval,
        )

    # Inside

    def _load_model(self, default: str | None = None) -> Embedder:
        if self._wanted is not None and not isinstance(self._wanted, str | Path):
            return self._wanted
        from wavtext.model.model import load_model

        name = self._wanted or default
        if name is None:
            stored = self._reader.store().active_model() if self.path.exists() else None
            name = stored.source if stored else "compact"
        return cast(Embedder, load_model(name))

    def _source(self, model: Embedder) -> str:
        """What `load_model` takes to get the model again."""
        from wavtext.model.model import EMBEDDED

        folder = getattr(model, "folder", None)
        for name, place in EMBEDDED.items():
            if folder is not None and Path(folder).resolve() == place.resolve():
                return name
        return str(Path(folder).resolve()) if folder is not None else model.name

    def _make_place(self) -> None:
        """Make the folder that the library's file is kept in."""
        if not self.folder.is_dir():
            raise LibraryError(f"{self.folder}: no such folder.", help="Check the spelling.")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LibraryError(
                f"{self.path.parent}: cannot be made: {error.strerror}.",
                help="Keep the library elsewhere: --library FILE",
            ) from error

    def _claim(self, store: Store) -> None:
        """Tie a library outside its folder to that folder, so that another cannot empty it."""
        if self.path == self.folder / LIBRARY_FILE:
            return
        root = store.meta("folder")
        if root is not None and root != str(self.folder) and Path(root).is_dir():
            raise LibraryError(
                f"{self.path}: holds the sounds of {root}, not of {self.folder}.",
                help="Name another file with --library.",
            )
        if root != str(self.folder):
            store.set_meta(folder=str(self.folder))

    def _index(self) -> Index:
        """The embeddings, made by the model in use."""
        self._check_model(self._reader.model())
        return self._reader.index()

    def _own_clips(self, sounds: Sequence[Like]) -> frozenset[int]:
        """The library's clips among sounds that others should resemble."""
        clips = {sound for sound in sounds if isinstance(sound, int)}
        paths: set[str] = set()
        for sound in sounds:
            if isinstance(sound, str | Path):
                path = Path(os.path.abspath(read_part(sound)[0]))
                if path.is_relative_to(self.folder):
                    paths.add(path.relative_to(self.folder).as_posix())
        return frozenset(clips | set(self._reader.store().clips_at(paths)))

    def _check_model(self, stored: ModelRecord) -> None:
        model = self.model
        if model.identity == stored.identity:
            return
        asked = ModelRecord(0, model.identity, model.name, model.dim)
        raise ModelMismatchError(
            f"{self.path} was made by model {_label(stored)} ({stored.dim}-d); "
            f"you asked with {_label(asked)} ({model.dim}-d).",
            help=f"Re-index: wavtext index {self.folder} --model {model.name}",
        )

    def _clips(self, clip_ids: Iterable[int] | None) -> Iterator[LibraryClip]:
        store = self._reader.store()
        matrix = self._reader.matrix()
        counts = dict(
            zip(
                matrix.clip_ids[matrix.alive].tolist(),
                np.diff(matrix.offsets)[matrix.alive].tolist(),
                strict=True,
            )
        )
        for clip_id, record in store.clip_rows(clip_ids):
            if record.format:
                yield _clip(self.folder, clip_id, record, counts.get(clip_id, 0))


def _clip(folder: Path, clip_id: int, record: ClipRecord, num_windows: int) -> LibraryClip:
    return LibraryClip(
        clip_id=clip_id,
        path=folder / record.path,
        duration=record.duration,
        sample_rate=record.sample_rate,
        channels=record.channels,
        format=record.format,
        size=record.size,
        modified=record.mtime_ns / 1e9,
        num_windows=num_windows,
    )


def _label(model: ModelRecord) -> str:
    return f"{model.name}@{model.identity[:6]}"
