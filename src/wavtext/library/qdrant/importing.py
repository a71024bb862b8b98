"""Parquet of `wavtext embed` -> points of a collection, whoever imports and how often.

A clip's number follows from where it lies, a point's from clip and window, so that two imports at
once, or one that is begun again, write the same points. A clip's first window is written last:
where it is, the clip is whole.
"""

import base64
from pathlib import Path
from typing import Any

from wavtext.errors import AudioError, LibraryError, ModelMismatchError
from wavtext.library.bulk.parts import EmbeddedClip, ModelLabel
from wavtext.library.bulk.places import is_remote, join, local_path
from wavtext.library.importing import ImportReport, check_embeddings, check_model, open_parts
from wavtext.library.pipeline import Embedder
from wavtext.library.qdrant.collection import Collection
from wavtext.library.qdrant.points import (
    INDEXES,
    LIBRARY_POINT,
    VECTOR,
    clip_number,
    equal,
    points_of,
)
from wavtext.library.records import VECTOR_TYPE, ClipRecord
from wavtext.library.relevance import background_captions, background_key
from wavtext.library.results import Failure

AT_ONCE = 256  # windows in a request: 2 MB of JSON at 384 dimensions


def import_parts(
    source: str, collection: Collection, model: Embedder, place: str, root: str | None = None
) -> ImportReport:
    """Add the clips of Parquet files to a collection, which is made when it is missing.

    Args:
        source: A Parquet file, or a folder or address of some.
        collection: Where they go.
        model: Must be the one that made the embeddings, and the collection's.
        place: What `load_model` takes to get the model again.
        root: Where the sounds lie now; when None, where they lay when they were embedded.

    Raises:
        LibraryError: A file cannot be read, or the collection cannot be written.
        ModelMismatchError: Another model made the embeddings.
    """
    label = ModelLabel(model.identity, model.name, place, model.dim)
    run = _Run(collection)
    prepared = False
    for part in open_parts(source):
        check_model(part, label)
        if not prepared:
            _prepare(collection, model, label)
            prepared = True
        for clip in part.clips():
            try:
                check_embeddings(clip, model.dim)
                run.add(clip, *_placed(clip, root))
            except (AudioError, LibraryError) as error:
                run.failures.append(Failure(path=Path(clip.path), reason=str(error)))
    run.flush()
    collection.changed()
    return ImportReport(run.added, run.unchanged, tuple(run.failures))


class _Run:
    """What waits to be written, and what was."""

    def __init__(self, collection: Collection) -> None:
        self.added = self.unchanged = 0
        self.failures: list[Failure] = []
        self._collection = collection
        self._waiting: dict[int, tuple[EmbeddedClip, ClipRecord, str]] = {}
        self._windows = 0

    def add(self, clip: EmbeddedClip, record: ClipRecord, uri: str) -> None:
        """Have a clip written."""
        self._waiting[clip_number(uri)] = (clip, record, uri)
        self._windows += len(clip.embeddings)
        if self._windows >= AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Write what waits and is not there."""
        there = {int(each["clip_id"]): each for each in self._collection.heads(self._waiting)}
        others: list[Any] = []
        firsts: list[Any] = []
        replaced: list[tuple[int, str]] = []
        for clip_id, (clip, record, uri) in self._waiting.items():
            old = there.get(clip_id)
            if old is not None and old["uri"] != uri:
                reason = f"has the number of {old['uri']}; rename it"
                self.failures.append(Failure(path=Path(clip.path), reason=reason))
                continue
            now: dict[str, Any] = {"content": record.content.hex(), "path": record.path}
            now["windows"] = len(clip.embeddings)
            if old is not None and all(old[key] == value for key, value in now.items()):
                self.unchanged += 1
                continue
            first, *rest = points_of(clip, record, uri, self._collection.stem)
            firsts.append(first)
            others += rest
            self.added += 1
            if old is not None:
                replaced.append((clip_id, record.content.hex()))
        points = others + firsts
        for begin in range(0, len(points), AT_ONCE):
            self._collection.client.call("upsert", points=points[begin : begin + AT_ONCE])
        for clip_id, content in replaced:
            self._forget_windows(clip_id, content)
        self._waiting, self._windows = {}, 0

    def _forget_windows(self, clip_id: int, content: str) -> None:
        """Remove windows of a clip as it was before it changed."""
        from qdrant_client import models

        older = models.Filter(
            must=[equal("clip_id", clip_id)], must_not=[equal("content", content)]
        )
        self._collection.client.call("delete", points_selector=models.FilterSelector(filter=older))


def _placed(clip: EmbeddedClip, root: str | None) -> tuple[ClipRecord, str]:
    """A clip's record and where it lies."""
    if clip.record is None:
        raise LibraryError("the file does not say what the sound is; make it with wavtext embed")
    if root is None:
        return clip.record, clip.uri
    return clip.record, join(root if is_remote(root) else local_path(root), clip.path)


def _prepare(collection: Collection, model: Embedder, label: ModelLabel) -> None:
    """Make the collection and what the library knows of itself, or check that they are there."""
    from qdrant_client import models

    client = collection.client
    if not client.exists():
        shape = models.VectorParams(size=label.dim, distance=models.Distance.COSINE)
        client.call("create_collection", vectors_config={VECTOR: shape})
        for field, kind in INDEXES.items() if not client.local else ():
            client.call("create_payload_index", field_name=field, field_schema=kind, wait=True)
    about = collection.about()
    if about is not None and about["identity"] != label.identity:
        raise ModelMismatchError(
            f"{client.address.text} was made by model {about['name']}@{about['identity'][:6]}, "
            f"not by {label.name}@{label.identity[:6]}.",
            help="Name another collection.",
        )
    key = background_key(label.identity)
    if about is not None and about["background_key"] == key:
        return
    captions = model.embed_text(background_captions()).astype(VECTOR_TYPE).tobytes()
    payload = {
        "identity": label.identity,
        "name": label.name,
        "dim": label.dim,
        "source": label.source,
        "background": base64.b64encode(captions).decode(),
        "background_key": key,
    }
    point = models.PointStruct(id=LIBRARY_POINT, vector={}, payload=payload)
    client.call("upsert", points=[point])
