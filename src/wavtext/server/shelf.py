"""Several libraries asked as one: the served folder's, and those of folders added from the page.

A clip's public id is its library's place times 2^40 plus its number there, so that the first
library's ids are the library's own.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.errors import DamagedLibraryError, LibraryError, ModelMismatchError
from wavtext.library.library import SoundLibrary
from wavtext.library.results import (
    Failure,
    IndexReport,
    LibraryClip,
    LibraryStats,
    SearchResult,
)
from wavtext.server.indexing import index_apart

Sound = int | np.ndarray  # a clip's public id, or an embedding: (dim,) float32
SHIFT = 2**40  # ids of one library; two libraries' stay below 2^53, what JSON's readers hold


class Shelf:
    """Libraries of the same model behind one surface.

    Args:
        library: The served one; its model embeds for all.
        folders: Folders that may be added; each has, or will have, a library of its own.
    """

    def __init__(self, library: SoundLibrary, folders: tuple[Path, ...] = ()) -> None:
        own = library.folder.resolve()
        self.libraries = [library]
        self._ready: set[int] = set()
        for folder in folders:
            # A folder inside the library is there to be read through links, not to be added.
            if folder.is_dir() and not folder.resolve().is_relative_to(own):
                self.libraries.append(SoundLibrary.open(folder, model=library.model))

    @property
    def model(self) -> Any:
        """What embeds queries."""
        return self.libraries[0].model

    @property
    def folders(self) -> list[Path]:
        """The libraries' folders, by their place."""
        return [library.folder for library in self.libraries]

    def index(self, place: int, progress: Any, stop: threading.Event) -> IndexReport:
        """Bring one library up to date."""
        return index_apart(self.libraries[place], progress, stop)

    def search(
        self,
        text: str,
        *,
        limit: int,
        like: Sequence[Sound] = (),
        unlike: Sequence[Sound] = (),
        **options: Any,
    ) -> list[SearchResult]:
        """The best of all libraries.

        Args:
            text: What to find, in words; may be empty beside `like`.
            limit: How many clips at most.
            like: Sounds to resemble: public ids, or embeddings.
            unlike: Sounds not to resemble.
            options: As `SoundLibrary.search` takes them.
        """
        found: list[SearchResult] = []
        for place, library in self._indexed():
            results = library.search(
                text,
                limit=limit,
                like=[self._seen_from(place, sound) for sound in like],
                unlike=[self._seen_from(place, sound) for sound in unlike],
                **options,
            )
            found += [
                replace(result, clip_id=place * SHIFT + result.clip_id) if place else result
                for result in results
            ]
        if len(self.libraries) > 1:
            known = all(result.relevance is not None for result in found)
            found.sort(key=lambda each: -((each.relevance or 0.0) if known else each.score))
        return found[:limit]

    def clip(self, clip_id: int) -> LibraryClip:
        """One clip by its public id."""
        place, own_id = divmod(clip_id, SHIFT)
        if not 0 <= place < len(self.libraries):
            raise LibraryError(f"no clip {clip_id}.")
        clip = self.libraries[place].clip(own_id)
        return replace(clip, clip_id=clip_id) if place else clip

    def relative(self, clip: LibraryClip) -> Path:
        """A clip's path below its library's folder."""
        return clip.path.relative_to(self.libraries[clip.clip_id // SHIFT].folder)

    def clips(self) -> Iterator[LibraryClip]:
        """All clips."""
        for place, library in self._indexed():
            for clip in library.clips():
                yield replace(clip, clip_id=place * SHIFT + clip.clip_id) if place else clip

    def embeddings(self) -> tuple[Int64[np.ndarray, " clips"], Float32[np.ndarray, "clips dim"]]:
        """Public ids, and one embedding for each clip."""
        parts = [
            (place * SHIFT + ids, matrix)
            for place, library in self._indexed()
            for ids, matrix in [library.embeddings()]
            if len(ids)
        ]
        if not parts:
            return np.zeros(0, np.int64), np.zeros((0, self.model.dim), np.float32)
        return np.concatenate([ids for ids, _ in parts]), np.concatenate([m for _, m in parts])

    def failures(self) -> list[Failure]:
        """Files that could not be indexed."""
        return [failure for _, library in self._indexed() for failure in library.failures()]

    def stats(self) -> LibraryStats:
        """What the libraries hold together; nothing yet is all zero."""
        parts = [library.stats() for _, library in self._indexed()]
        return LibraryStats(
            clips=sum(part.clips for part in parts),
            windows=sum(part.windows for part in parts),
            duration=sum(part.duration for part in parts),
            failures=sum(part.failures for part in parts),
            model=parts[0].model if parts else self.model.name,
            dim=parts[0].dim if parts else self.model.dim,
            size=sum(part.size for part in parts),
            damaged=sum(part.damaged for part in parts),
            adapted=any(part.adapted for part in parts),
        )

    def revision(self) -> str:
        """Changes when any library does: size and time of the files behind them."""
        marks: list[str] = []
        for library in self.libraries:
            for suffix in ("", "-wal"):
                try:
                    stat = Path(f"{library.path}{suffix}").stat()
                except OSError:
                    continue
                marks.append(f"{stat.st_size:x}.{stat.st_mtime_ns:x}")
        return "-".join(marks)

    def close(self) -> None:
        """Close all libraries."""
        for library in self.libraries:
            library.close()

    def _seen_from(self, place: int, sound: Sound) -> Sound:
        """A sound as one library knows it: its own by number, those of others by embedding."""
        if not isinstance(sound, int):
            return sound
        home, own_id = divmod(sound, SHIFT)
        if home == place:
            return own_id
        ids, embeddings = self.libraries[home].embeddings()
        return embeddings[int(np.flatnonzero(ids == own_id)[0])]

    def _indexed(self) -> list[tuple[int, SoundLibrary]]:
        """The libraries that hold anything yet."""
        for place, library in enumerate(self.libraries):
            if place in self._ready or not library.path.exists():
                continue
            try:
                if next(library.clips(), None) is not None:
                    self._ready.add(place)
            except (ModelMismatchError, DamagedLibraryError):
                raise  # the asker must know
            except LibraryError:
                continue  # not indexed yet
        return [(place, self.libraries[place]) for place in sorted(self._ready)]
