"""A collection as a library's search sees it: names, notes and records; embeddings and scores.

Every search is exact (Qdrant's `exact`): its graph loses text queries, which lie off the
distribution of sounds (docs/decisions/0076-qdrant.md). Scores shown are computed here from the
windows themselves, as for any library.
"""

import base64
import contextlib
import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, Int64

from wavtext.library.exact import Vector, Windows
from wavtext.library.filters import Filters
from wavtext.library.matrix import Matrix
from wavtext.library.qdrant.address import Client
from wavtext.library.qdrant.points import (
    LIBRARY_POINT,
    VECTOR,
    Stemmer,
    any_of,
    condition_of,
    equal,
    point_id,
    record_of,
)
from wavtext.library.records import VECTOR_TYPE, ClipRecord, ModelRecord
from wavtext.library.relevance import background_key
from wavtext.library.typical import SAMPLE, Typical

PAGE = 1000  # points of one answer
FEW = 100  # clips that a search looks at closely at a time, at most
HELD = 500  # clips whose windows wait to be asked for

Clips = Int64[np.ndarray, " clips"]
Scores = Float32[np.ndarray, " clips"]


class Collection:
    """The clips of one collection; thread-safe.

    Args:
        client: Of the collection.
    """

    def __init__(self, client: Client) -> None:
        self.client = client
        self.stem = Stemmer()
        self._lock = threading.Lock()
        self._held: dict[int, Windows] = {}  # read together with records, asked for next
        self._typical: Typical | None = None

    # The library

    def about(self) -> dict[str, Any] | None:
        """What the library knows of itself; None when nothing was imported yet."""
        if not self.client.exists():
            return None
        found = self.client.call("retrieve", ids=[LIBRARY_POINT], with_payload=True)
        return found[0].payload if found else None

    def active_model(self) -> ModelRecord | None:
        """The model that made the embeddings."""
        about = self.about()
        if about is None:
            return None
        return ModelRecord(0, about["identity"], about["name"], about["dim"], about["source"])

    def background(self) -> Float32[np.ndarray, "captions dim"] | None:
        """The general captions' embeddings."""
        about = self.about()
        if about is None or about["background_key"] != background_key(about["identity"]):
            return None
        steps = np.frombuffer(base64.b64decode(about["background"]), VECTOR_TYPE)
        return steps.reshape(-1, about["dim"]).astype(np.float32)

    @contextlib.contextmanager
    def reading(self) -> Generator[None]:
        """Nothing: Qdrant has no view of several requests."""
        yield

    # Names, notes and records

    def allowed(self, filters: Filters) -> Any | None:
        """The filter as Qdrant's condition; None when everything passes."""
        return condition_of(filters, self.stem)

    def passing(self, clip_ids: Clips, allowed: Any) -> Clips:
        """Those clips that a condition lets pass."""
        condition = _both(any_of("clip_id", clip_ids.tolist()), allowed)
        found = {int(each.payload["clip_id"]) for each in self.scroll(condition, ["clip_id"])}
        return clip_ids[np.isin(clip_ids, list(found))]

    def clips_with_word(self, word: str) -> Int64[np.ndarray, " clips"]:
        """Clips whose name, captions or tags hold a word in any of its forms."""
        stems = self.stem.words(word)
        if not stems:
            return np.zeros(0, np.int64)
        conditions = [equal("words", stem) for stem in sorted(stems)]
        points = self.scroll(_both(equal("window", 0), *conditions), ["clip_id"])
        return np.array([int(each.payload["clip_id"]) for each in points], np.int64)

    def count(self, table: str) -> int:
        """Clips, or windows."""
        condition = _windows() if table == "windows" else _both(equal("window", 0))
        return int(self.client.call("count", count_filter=condition, exact=True).count)

    def clip_rows(self, clip_ids: Iterable[int] | None = None) -> Iterator[tuple[int, ClipRecord]]:
        """(clip id, record) of all clips or of those asked for; of few, their windows are held."""
        wanted = None if clip_ids is None else list(clip_ids)
        if wanted is None or len(wanted) > FEW:
            for payload in self.heads(wanted):
                yield int(payload["clip_id"]), record_of(payload)
            return
        found: dict[int, list[Any]] = {}
        if wanted:
            for each in self.scroll(_both(any_of("clip_id", wanted)), True, vectors=True):
                found.setdefault(int(each.payload["clip_id"]), []).append(each)
        with self._lock:
            if len(self._held) > HELD:
                self._held.clear()
            self._held.update({clip_id: _windows_of(each) for clip_id, each in found.items()})
        for clip_id in wanted:
            if clip_id in found:
                yield clip_id, record_of(found[clip_id][0].payload)

    def clips_at(self, paths: Iterable[str]) -> list[int]:
        """The clips with these paths, given as below /."""
        wanted = [f"/{path}" for path in paths]
        if not wanted:
            return []
        points = self.scroll(_both(equal("window", 0), any_of("uri", wanted)), ["clip_id"])
        return [int(each.payload["clip_id"]) for each in points]

    def heads(self, clip_ids: Iterable[int] | None = None) -> Iterator[dict[str, Any]]:
        """The payloads of all clips' first windows, or of those asked for that are there."""
        if clip_ids is None:
            for each in self.scroll(_both(equal("window", 0)), True):
                yield each.payload
            return
        ids = [point_id(clip_id, 0) for clip_id in clip_ids]
        for begin in range(0, len(ids), PAGE):
            some = ids[begin : begin + PAGE]
            for each in self.client.call("retrieve", ids=some, with_payload=True):
                yield each.payload

    def window_counts(self, clip_ids: Iterable[int], model_id: int) -> dict[int, int]:
        """Clip -> how many windows it has."""
        return {int(each["clip_id"]): each["windows"] for each in self.heads(clip_ids)}

    # Embeddings

    def best(self, query: Vector, count: int, allowed: Any | None) -> tuple[Clips, Scores]:
        """(clip ids, score of the best window), best first, among the clips allowed."""
        found = self._best_windows(query, max(64, 2 * count), allowed, count)
        ids = np.array(list(found), np.int64)[:count]
        return ids, np.array(list(found.values()), np.float32)[:count]

    def best_of(self, clip_ids: Clips, query: Vector) -> Scores:
        """The best window's score of given clips; -inf for clips that are not there."""
        if not len(clip_ids):
            return np.empty(0, np.float32)
        condition = _both(any_of("clip_id", clip_ids.tolist()))
        found = self._best_windows(query, 4 * len(clip_ids), condition, len(clip_ids))
        return np.array([found.get(each, -np.inf) for each in clip_ids.tolist()], np.float32)

    def typical(self) -> Typical | None:
        """How cosines spread over some windows: the first by their numbers, which are hashes."""
        with self._lock:
            held = self._typical
        if held is None:
            points = self.scroll(_windows(), ["window"], vectors=True, most=SAMPLE)
            vectors = [each.vector[VECTOR] for each in points]
            held = Typical.of(np.array(vectors, np.float32)) if vectors else None
            with self._lock:
                self._typical = held
        return held

    def windows(self, clip_ids: Sequence[int]) -> list[Windows | None]:
        """The windows of each clip; None for those that are not there."""
        return [self._windows_of_clip(clip_id) for clip_id in clip_ids]

    def _windows_of_clip(self, clip_id: int) -> Windows | None:
        with self._lock:
            held = self._held.pop(clip_id, None)
        if held is not None:
            return held
        condition = _both(equal("clip_id", clip_id))
        points = list(self.scroll(condition, ["window", "start", "end"], vectors=True))
        return _windows_of(points) if points else None

    def matrix(self) -> Matrix:
        """All embeddings, for what needs all of them: duplicates, export."""
        rows = [
            (int(each.payload["clip_id"]), each.payload["window"], each)
            for each in self.scroll(_windows(), ["clip_id", "window", "start", "end"], vectors=True)
        ]
        rows.sort(key=lambda row: row[:2])
        ids = np.array([row[0] for row in rows], np.int64)
        clip_ids, firsts = np.unique(ids, return_index=True)
        about = self.about()
        spans, vectors = _windows_of([row[2] for row in rows], about["dim"] if about else 0)
        alive = np.ones(len(clip_ids), bool)
        offsets = np.concatenate([firsts, [len(ids)]]).astype(np.int64)
        return Matrix(vectors, spans, clip_ids, offsets, alive, 0, 0)

    def changed(self) -> None:
        """Forget what is held of an earlier state."""
        with self._lock:
            self._held.clear()
            self._typical = None

    def scroll(
        self,
        condition: Any,
        payload: list[str] | bool,
        *,
        vectors: bool = False,
        most: int | None = None,
    ) -> Iterator[Any]:
        """Points that meet a condition, by their numbers."""
        place, given = None, 0
        while True:
            points, place = self.client.call(
                "scroll",
                scroll_filter=condition,
                limit=PAGE if most is None else min(PAGE, most - given),
                offset=place,
                with_payload=payload,
                with_vectors=[VECTOR] if vectors else False,
            )
            yield from points
            given += len(points)
            if place is None or (most is not None and given >= most):
                return

    def _best_windows(
        self, query: Vector, limit: int, condition: Any | None, count: int
    ) -> dict[int, float]:
        """Clip -> its best score, best first; asks for more windows until `count` clips are in."""
        from qdrant_client import models

        exact = None if self.client.local else models.SearchParams(exact=True)  # local always is
        while True:
            hits = self.client.call(
                "query_points",
                query=query.tolist(),
                using=VECTOR,
                query_filter=condition,
                limit=limit,
                with_payload=["clip_id"],
                search_params=exact,
            ).points
            found: dict[int, float] = {}
            for hit in hits:
                found.setdefault(int(hit.payload["clip_id"]), float(hit.score))
            if len(found) >= count or len(hits) < limit:
                return found
            limit *= 4


def _windows_of(points: list[Any], dim: int = 0) -> Windows:
    """Spans and embeddings of points, by the number of their window."""
    if not points:
        return np.empty((0, 2), np.float32), np.empty((0, dim), np.float32)
    if len({each.payload.get("clip_id") for each in points}) == 1:
        points = sorted(points, key=lambda each: each.payload["window"])
    spans = [(each.payload["start"], each.payload["end"]) for each in points]
    vectors = np.array([each.vector[VECTOR] for each in points], np.float32)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.array(spans, np.float32), vectors / np.maximum(norms, 1e-12)


def _both(*conditions: Any) -> Any:
    """All of some conditions; one of them may be a filter that was made before."""
    from qdrant_client import models

    return models.Filter(must=list(conditions))


def _windows() -> Any:
    """The condition that a point is a window, not what the library knows of itself."""
    from qdrant_client import models

    return _both(models.FieldCondition(key="window", range=models.Range(gte=0)))
