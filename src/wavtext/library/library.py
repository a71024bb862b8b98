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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.errors import LibraryError, WavtextError
from wavtext.library import contents
from wavtext.library.adapt.keeping import adapt_library, forget
from wavtext.library.adapt.learn import AdaptReport
from wavtext.library.adapt.vocabulary import Source
from wavtext.library.asking import answer
from wavtext.library.candidates import SearchOptions
from wavtext.library.choice import ModelChoice, model_source
from wavtext.library.choosing import SAME_COSINE, SAME_DURATION
from wavtext.library.filters import Filters
from wavtext.library.importing import ImportReport, import_embeddings
from wavtext.library.indexing import Progress, index_folder, open_for_indexing
from wavtext.library.lock import IndexLock
from wavtext.library.pipeline import Embedder
from wavtext.library.place import LIBRARY_FILE, claim, is_qdrant, make_place
from wavtext.library.query import Like, Query
from wavtext.library.reader import Reader
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
from wavtext.library.store import Store
from wavtext.library.watch import watch_folder

__all__ = [
    "AdaptReport",
    "Failure",
    "Filters",
    "ImportReport",
    "IndexProgress",
    "IndexReport",
    "LibraryClip",
    "LibraryStats",
    "MatchingWindow",
    "SearchResult",
    "SoundLibrary",
]


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
        self._reader = Reader(folder, path)
        self._choice = ModelChoice(self._reader, model)
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
            folder: The folder of sounds, or a collection: qdrant://host:6333/sounds.
            library: Where the library is kept; FOLDER/.wavtext/library.sqlite when None.
            model: A loaded model, the name of one, or a model folder; None takes the model that
                made the library, and "compact" for a new one.

        Raises:
            LibraryError: There is neither such a folder nor such a library.
        """
        if is_qdrant(folder):
            if library is not None:
                raise LibraryError(f"{folder}: is the library; no file can be named beside it.")
            from wavtext.library.qdrant.library import QdrantLibrary

            return cast(Self, QdrantLibrary(str(folder), model))
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
        return self._choice.model

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
        make_place(self.folder, self.path)
        source = model_source(model)
        with IndexLock(self.path):
            store, notes = open_for_indexing(self.path, model, source)
            with contextlib.closing(store):
                claim(self.folder, self.path, store)
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
        adapted: bool = True,
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
            names: Let words found in file names, captions and tags count, in searches by text
                alone.
            group: Fold clips that sound the same into one result, the others in its `duplicates`.
            diversity: 0 ranks by fit alone; towards 1, results differ more among each other.
            explain: Fill `heat` (every window's score along time) and `why` (each word's share).
            adapted: Use what `adapt` learned, where it has.

        Returns:
            Results, best first: by `relevance` where text alone was asked, else by `score`.

        Raises:
            LibraryError: There is no library yet, or nothing was asked.
            ModelMismatchError: The library was made by another model.
        """
        query = Query.make(text, like, without, unlike)
        options = SearchOptions(
            limit=limit,
            filters=filters or Filters(),
            names=names,
            group=group,
            diversity=diversity,
            explain=explain,
        )
        self._choice.check(self._reader.model())
        return answer(self._reader, self.model, query, options, adapted=adapted)

    def adapt(self, *, source: Source = "auto", dry_run: bool = False) -> AdaptReport:
        """Learn what clips are called, for better searches; kept only where that is better.

        Queries move, the embeddings of sounds do not; `undo_adapt` takes it back.

        Args:
            source: What to learn from: names, captions, tags or folders; "auto" takes the first
                that says something about a clip.
            dry_run: Measure on held-out names, and keep nothing.

        Returns:
            Held-out measures before and after; `saved` says whether it was kept.

        Raises:
            LibraryError: Too few clips have a name that says something.
        """
        self._choice.check(self._reader.model())
        return adapt_library(self._reader, self.model, source=source, dry_run=dry_run)

    def undo_adapt(self) -> bool:
        """Search as before `adapt`; False when nothing had been learned."""
        return forget(self._reader)

    def clip(self, clip_id: int) -> LibraryClip:
        """One clip by its number.

        Raises:
            LibraryError: There is no such clip.
        """
        for clip in contents.list_clips(self._reader, [clip_id]):
            return clip
        raise LibraryError(f"{self.path}: no clip {clip_id}.")

    def clips(self) -> Iterator[LibraryClip]:
        """All clips, in the order they were added."""
        return contents.list_clips(self._reader)

    def failures(self) -> list[Failure]:
        """The files that could not be indexed, and why."""
        return contents.list_failures(self._reader)

    def stats(self) -> LibraryStats:
        """What the library holds."""
        return contents.count_contents(self._reader)

    def embeddings(
        self,
    ) -> tuple[Int64[np.ndarray, " clips"], Float32[np.ndarray, "clips dim"]]:
        """Clip ids, and one embedding for each: the mean of its windows, of length 1."""
        return contents.clip_embeddings(self._reader)

    def check(self) -> list[str]:
        """What is wrong with the library's file, one line each; empty when it is sound.

        Reads all of it: about a second for each gigabyte.
        """
        return contents.find_problems(self._reader)

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
            model = self._choice.without_library()
            models.append((model.identity, model.name, model.dim, model_source(model)))
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
        return contents.find_duplicates(self._reader, threshold=threshold, tolerance=tolerance)

    def export_embeddings(self, path: str | Path, *, windows: bool = True) -> int:
        """Write the embeddings as Parquet or .npz, by the suffix; how many rows.

        Args:
            path: The file.
            windows: One row for each window; else one for each clip, from 0 to its duration.
        """
        return contents.export_embeddings(self._reader, Path(path), windows=windows)

    def import_embeddings(
        self, source: str | Path, *, root: str | Path | None = None
    ) -> ImportReport:
        """Add clips whose embeddings Parquet files hold, without decoding them.

        Args:
            source: A file of `wavtext embed` or `wavtext export`, or a folder or address of some.
            root: What the paths in the files are relative to; when None, the folder that was
                embedded if it is there, else the library's.

        Raises:
            ModelMismatchError: Another model made the embeddings.
            LibraryError: The files cannot be read.
        """
        model = self.model
        make_place(self.folder, self.path)
        with IndexLock(self.path), contextlib.closing(Store(self.path, write=True)) as store:
            claim(self.folder, self.path, store)
            return import_embeddings(
                str(source),
                self.folder,
                store,
                model,
                model_source(model),
                None if root is None else Path(root),
            )

    def watch(
        self,
        stop: threading.Event,
        report: Callable[[IndexReport], None],
        *,
        progress: Progress | None = None,
        trouble: Callable[[LibraryError], None] = lambda error: None,
        interval: float = 2.0,
    ) -> None:
        """Index now and whenever the folder has changed, until `stop` is set.

        A library that another process writes, a folder without sounds and a disk that is away do
        not end the watch.

        Args:
            stop: Ends the watch, and an indexing run under way.
            report: Called after each run.
            progress: Called after each file.
            trouble: Called with what kept a run from being made.
            interval: Seconds between looks at the folder.
        """
        watch_folder(
            self.folder,
            lambda: report(self.index(progress, stop=stop)),
            stop,
            trouble=trouble,
            interval=interval,
        )
