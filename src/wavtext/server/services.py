"""What the routes share, made once for each application, and the threads that long work runs in."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar, cast

import numpy as np
from fastapi import Depends
from starlette.requests import HTTPConnection

from wavtext.errors import LibraryError
from wavtext.library.library import SoundLibrary
from wavtext.library.results import LibraryClip
from wavtext.server.decoding import Decoder
from wavtext.server.jobs import Jobs
from wavtext.server.media import Media
from wavtext.server.metrics import Metrics
from wavtext.server.problems import Problem
from wavtext.server.projection import project
from wavtext.server.queries import CachedModel
from wavtext.server.reveal import Launch, launch
from wavtext.server.sessions import Sessions
from wavtext.server.settings import ServerSettings
from wavtext.server.shelf import Shelf
from wavtext.server.uploads import Uploads

T = TypeVar("T")
P = ParamSpec("P")
CLIPS_KEPT = 50_000
MAX_FACETS = 2000


class Services:
    """Library, decoder, caches and jobs of one application.

    Args:
        library: The sounds to serve.
        settings: Limits.
    """

    def __init__(self, library: SoundLibrary, settings: ServerSettings) -> None:
        self.settings = settings
        self.shelf = Shelf(library, settings.allowed_folders)
        self.model = self.shelf.model
        self.sessions = Sessions(settings)
        self.decoder = Decoder(settings)
        self.media = Media(self.decoder, [*self.shelf.folders, *settings.allowed_folders])
        self.uploads = Uploads()
        self.metrics = Metrics()
        self.map = MapMaker(self.shelf, settings.map_points)
        self.jobs = Jobs(self.shelf.index, self.map.forget)
        self.launch: Launch = launch
        self.closing = threading.Event()
        self._clips: tuple[str, dict[int, LibraryClip]] = ("", {})
        self._facets: tuple[str, dict[str, list[str]]] = ("", {})
        self._search_threads = ThreadPoolExecutor(settings.search_threads, "wavtext-search")
        self._text_thread = ThreadPoolExecutor(1, "wavtext-text")
        self._slow_threads = ThreadPoolExecutor(settings.decode_workers * 4, "wavtext-slow")
        self.metrics.gauge(
            "wavtext_decoder_deaths", "Decoders that a file killed.", lambda: self.decoder.deaths
        )

    async def quick(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a search or look-up in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._search_threads, lambda: call(*args, **kwargs))

    async def embed_texts(self, texts: list[str]) -> None:
        """Have texts embedded, with those of other requests, before a search needs them."""
        if isinstance(self.model, CachedModel) and self.model.announce(texts):
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._text_thread, self.model.embed_text, texts)

    async def slow(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run decoding, counting or long embedding in other threads, so that searches go on."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._slow_threads, lambda: call(*args, **kwargs))

    def clip(self, clip_id: int) -> LibraryClip:
        """A clip, or a 404."""
        revision = self.shelf.revision()
        if self._clips[0] != revision:
            self._clips = (revision, {})
        known = self._clips[1]
        if clip_id in known:
            return known[clip_id]
        try:
            clip = self.shelf.clip(clip_id)
        except LibraryError as error:
            raise Problem(404, "There is no such clip.") from error
        if len(known) < CLIPS_KEPT:
            known[clip_id] = clip
        return clip

    def file(self, clip_id: int) -> tuple[LibraryClip, Path]:
        """A clip and the real file behind it."""
        clip = self.clip(clip_id)
        return clip, self.media.file_of(clip.path)

    def folder_of(self, clip: LibraryClip) -> str:
        """The clip's folder, below the library's."""
        return self.shelf.relative(clip).parent.as_posix()

    def facets(self) -> dict[str, list[str]]:
        """The values that filters can take: folders (two levels) and formats."""
        revision = self.shelf.revision()
        if self._facets[0] != revision:
            folders: set[str] = set()
            formats: set[str] = set()
            for clip in self.shelf.clips():
                parts = self.shelf.relative(clip).parts[:-1]
                folders.update("/".join(parts[:depth]) for depth in (1, 2) if len(parts) >= depth)
                formats.add(clip.format)
            self._facets = (
                revision,
                {"folders": sorted(folders)[:MAX_FACETS], "formats": sorted(formats)},
            )
        return self._facets[1]

    def embed_file(self, path: Path) -> tuple[float, list[Any], np.ndarray]:
        """Decode in the limited process, embed here: duration, windows, their mean (dim,)."""
        waveform = self.decoder.samples(path, self.model.sample_rate)
        windows = self.model.embed_windows(waveform)
        mean = np.mean([window.embedding for window in windows], axis=0)
        return waveform.duration, windows, (mean / np.linalg.norm(mean)).astype(np.float32)

    def close(self) -> None:
        """End threads, workers and runs; delete temporary files."""
        self.closing.set()
        self.jobs.close()
        self._text_thread.shutdown(wait=True, cancel_futures=True)
        self._search_threads.shutdown(wait=True, cancel_futures=True)
        self._slow_threads.shutdown(wait=False, cancel_futures=True)
        self.map.close()
        self.decoder.close()
        self.media.close()
        self.shelf.close()


class MapMaker:
    """Makes the map in a thread when it is first asked for, and again when the library changed.

    Args:
        shelf: The sounds.
        max_points: Clips drawn.
    """

    def __init__(self, shelf: Shelf, max_points: int) -> None:
        self._shelf, self._max_points = shelf, max_points
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._made: dict[str, Any] | None = None
        self._progress = 0.0
        self._closed = False

    def get(self) -> dict[str, Any]:
        """The map, or how far it has come."""
        with self._lock:
            if self._made is not None and self._made["revision"] == self._shelf.revision():
                return self._made
            if self._thread is None or not self._thread.is_alive():
                self._progress = 0.0
                self._thread = threading.Thread(target=self._make, name="wavtext-map", daemon=True)
                self._thread.start()
            return {"state": "computing", "progress": round(self._progress, 3)}

    def forget(self) -> None:
        """The library changed."""
        self._made = None

    def close(self) -> None:
        """Stop making it."""
        self._closed = True
        if self._thread is not None:
            self._thread.join()

    def _make(self) -> None:
        revision = self._shelf.revision()
        ids, embeddings = self._shelf.embeddings()
        if len(ids) > self._max_points:
            chosen = np.linspace(0, len(ids) - 1, self._max_points).astype(np.int64)
            ids, embeddings = ids[chosen], embeddings[chosen]
        try:
            points = project(embeddings.astype(np.float32), progress=self._watch)
        except _StoppedError:
            return
        group, groups = self._groups(ids)
        self._made = {
            "state": "ready",
            "progress": 1.0,
            "revision": revision,
            "clip_ids": ids.tolist(),
            "x": points[:, 0].tolist(),
            "y": points[:, 1].tolist(),
            "group": group,
            "groups": groups,
        }

    def _watch(self, share: float) -> None:
        self._progress = share
        if self._closed:
            raise _StoppedError

    def _groups(self, ids: np.ndarray) -> tuple[list[int], list[str]]:
        """The first folder below the library's of each clip: the ten with most clips by name."""
        names: dict[int, str] = {}
        for clip in self._shelf.clips():
            parts = self._shelf.relative(clip).parts
            names[clip.clip_id] = parts[0] if len(parts) > 1 else ""
        each = [names.get(clip_id, "") for clip_id in cast(list[int], ids.tolist())]
        counts: dict[str, int] = {}
        for name in each:
            counts[name] = counts.get(name, 0) + 1
        groups = sorted(counts, key=lambda name: (-counts[name], name))[:10]
        if len(counts) > 10:
            groups.append("other")
        place = {name: i for i, name in enumerate(groups)}
        return [place.get(name, len(groups) - 1) for name in each], groups


class _StoppedError(Exception):
    """The server ends."""


async def get_services(connection: HTTPConnection) -> Services:
    """The application's services, for FastAPI's `Depends`; async, or it would cost a thread."""
    return connection.app.state.services


Shared = Annotated[Services, Depends(get_services)]
