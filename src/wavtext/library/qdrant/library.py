"""A library kept in Qdrant, behind the same SoundLibrary.

    library = SoundLibrary.open("qdrant://localhost:6333/sounds")
    library.import_embeddings("s3://bucket/embeddings")  # of wavtext embed
    library.search("a dog barking")

Searching, listing, duplicates and export work as for any library. The sounds need not be on this
machine, so nothing that reads them does: index, watch, repair and adapt are LibraryErrors.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, RLock
from typing import Any, NoReturn, cast

import numpy as np
from jaxtyping import Float32

from wavtext.errors import LibraryError, ModelMismatchError
from wavtext.library.choice import ModelChoice, model_label, model_source
from wavtext.library.exact import Index
from wavtext.library.importing import ImportReport
from wavtext.library.library import SoundLibrary
from wavtext.library.matrix import Matrix
from wavtext.library.pipeline import Embedder
from wavtext.library.qdrant.address import Address, Client, nothing_there
from wavtext.library.qdrant.collection import Collection
from wavtext.library.qdrant.importing import import_parts
from wavtext.library.qdrant.points import record_of, uri_of
from wavtext.library.query import Like
from wavtext.library.reader import Reader
from wavtext.library.records import ModelRecord
from wavtext.library.results import Failure, IndexReport, LibraryClip, LibraryStats, SearchResult
from wavtext.library.store import Store


class QdrantReader(Reader):
    """The reading side of a collection: what Reader is of a file.

    Args:
        address: Of the collection.
    """

    def __init__(self, address: Address) -> None:
        self.folder = Path("/")  # paths in a collection are whole
        self.path = Path(address.text)
        self.address = address
        self._lock = RLock()
        self._collection: Collection | None = None
        self._captions: Float32[np.ndarray, "captions dim"] | None = None

    def close(self) -> None:
        """End the connection; the next use opens it again."""
        with self._lock:
            if self._collection is not None:
                self._collection.client.close()
            self._collection = self._captions = None

    def collection(self) -> Collection:
        """The collection, connected to."""
        with self._lock:
            if self._collection is None:
                self._collection = Collection(Client(self.address))
            return self._collection

    def store(self) -> Store:
        """The collection, which has what a search asks of a store (search.Catalogue)."""
        return cast(Store, self.collection())

    def index(self) -> Index:
        """The collection."""
        return self.collection()

    def matrix(self) -> Matrix:
        """All embeddings."""
        return self.collection().matrix()

    def adapted(self) -> None:
        """Nothing: what names teach is kept with a library's file only."""
        return

    def model(self) -> ModelRecord:
        """The model that made the embeddings.

        Raises:
            LibraryError: Nothing was imported yet.
        """
        stored = self.collection().active_model()
        if stored is None:
            raise nothing_there(self.address)
        return stored

    def stored(self) -> ModelRecord | None:
        """The model that made the embeddings; None when nothing was imported yet."""
        folder = self.address.folder
        if folder and not Path(folder).is_dir():
            return None
        return self.collection().active_model()

    def background(self) -> Float32[np.ndarray, "captions dim"] | None:
        """The general captions' embeddings."""
        with self._lock:
            if self._captions is None:
                self._captions = self.collection().background()
            return self._captions


class QdrantChoice(ModelChoice):
    """Which model a collection uses."""

    def __init__(self, reader: QdrantReader, wanted: Embedder | str | Path | None) -> None:
        super().__init__(reader, wanted)
        self._address = reader.address.text
        self._stored = reader.stored

    def check(self, stored: ModelRecord) -> None:
        """Refuse a model that did not make the collection."""
        model = self.model
        if model.identity != stored.identity:
            asked = ModelRecord(0, model.identity, model.name, model.dim)
            raise ModelMismatchError(
                f"{self._address} was made by model {model_label(stored)} ({stored.dim}-d); "
                f"you asked with {model_label(asked)} ({model.dim}-d).",
                help="Embed the sounds with it into another collection.",
            )

    def _load(self, default: str | None) -> Embedder:
        if self._wanted is None and default is None:
            stored = self._stored()
            default = stored.source if stored else "compact"
        return super()._load(default)


class QdrantLibrary(SoundLibrary):
    """The sounds of one collection; made by `SoundLibrary.open("qdrant://...")`.

    Args:
        address: As in address.py.
        model: As `SoundLibrary.open` takes it.
    """

    def __init__(self, address: str, model: Embedder | str | Path | None) -> None:
        self._source = QdrantReader(Address.parse(address))
        self._reader: Reader = self._source
        self._choice: ModelChoice = QdrantChoice(self._source, model)
        self._lock = RLock()
        self.folder, self.path = self._source.folder, self._source.path

    def search(
        self,
        text: str | None = None,
        *,
        like: Like | Sequence[Like] | None = None,
        **options: Any,
    ) -> list[SearchResult]:
        """As `SoundLibrary.search`; `uri` tells where sounds lie that are not on this machine."""
        return [_placed(each) for each in super().search(text, like=like, **options)]

    def clip(self, clip_id: int) -> LibraryClip:
        """One clip by its number."""
        for payload in self._source.collection().heads([clip_id]):
            return _clip(payload)
        raise LibraryError(f"{self._source.address.text}: no clip {clip_id}.")

    def clips(self) -> Iterator[LibraryClip]:
        """All clips, by the hash of where they lie."""
        return map(_clip, self._source.collection().heads())

    def duplicates(self, **options: Any) -> list[list[LibraryClip]]:
        """As `SoundLibrary.duplicates`; all embeddings are read."""
        groups = super().duplicates(**options)
        return [[replace(clip, path=_path(clip.path)) for clip in group] for group in groups]

    def failures(self) -> list[Failure]:
        """None: the Parquet files list them."""
        return []

    def stats(self) -> LibraryStats:
        """What the collection holds; its size on disk is known in local mode only."""
        model, collection = self._reader.model(), self._source.collection()
        records = [record for _, record in collection.clip_rows()]
        folder = self._source.address.folder
        files = Path(folder).rglob("*") if folder else ()
        return LibraryStats(
            clips=len(records),
            windows=collection.count("windows"),
            duration=sum(record.duration for record in records),
            failures=0,
            model=model_label(model),
            dim=model.dim,
            size=sum(file.stat().st_size for file in files if file.is_file()),
            damaged=0,
        )

    def check(self) -> list[str]:
        """Clips that are not whole, as after an import that was killed."""
        wanted: dict[int, list[Any]] = {}
        collection = self._source.collection()
        for point in collection.scroll(None, ["clip_id", "windows", "uri"]):
            if "clip_id" in point.payload:
                each = point.payload
                held = wanted.setdefault(each["clip_id"], [each["uri"], each["windows"], 0])
                held[2] += 1
        return [
            f"{uri}: {there} of {windows} windows are there; import it again."
            for uri, windows, there in wanted.values()
            if there != windows
        ]

    def import_embeddings(
        self, source: str | Path, *, root: str | Path | None = None
    ) -> ImportReport:
        """Add clips whose embeddings Parquet files of `wavtext embed` hold.

        Args:
            source: A file, or a folder or address of some.
            root: Where the sounds lie now, a folder or an address; when None, where they lay when
                they were embedded.
        """
        if self._source.address.folder:
            Path(self._source.address.folder).mkdir(parents=True, exist_ok=True)
        return import_parts(
            str(source),
            self._source.collection(),
            self.model,
            model_source(self.model),
            None if root is None else str(root),
        )

    def index(self, *arguments: Any, **options: Any) -> IndexReport:
        """Not here: `wavtext embed` reads the sounds."""
        self._refuse("index")

    def watch(self, stop: Event, report: Callable[[IndexReport], None], **options: Any) -> None:
        """Not here."""
        self._refuse("watch")

    def repair(self) -> NoReturn:
        """Not here."""
        self._refuse("repair")

    def adapt(self, **options: Any) -> NoReturn:
        """Not here."""
        self._refuse("adapt")

    def undo_adapt(self) -> bool:
        """Nothing was learned."""
        return False

    def _refuse(self, what: str) -> NoReturn:
        raise LibraryError(
            f"{self._source.address.text}: a library in Qdrant has no '{what}'.",
            help="Make it of Parquet files: wavtext embed, then wavtext library import.",
        )


def _path(path: Path) -> Path:
    """A path as results give it: of an address, without the / before it."""
    return Path(uri_of(path) or path)


def _placed(result: SearchResult) -> SearchResult:
    """A result with the address of a sound that is not on this machine."""
    copies = tuple(map(_path, result.duplicates))
    return replace(result, path=_path(result.path), uri=uri_of(result.path), duplicates=copies)


def _clip(payload: dict[str, Any]) -> LibraryClip:
    record = record_of(payload)
    return LibraryClip(
        clip_id=int(payload["clip_id"]),
        path=_path(Path("/", record.path)),
        duration=record.duration,
        sample_rate=record.sample_rate,
        channels=record.channels,
        format=record.format,
        size=record.size,
        modified=record.mtime_ns / 1e9,
        num_windows=payload["windows"],
    )
