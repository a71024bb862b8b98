"""Search among millions of windows: a quantised scan finds candidates, exact cosines rank them.

A scan of 4-bit product codes finds the windows worth a look, vectors of 4 bits a dimension rank
their clips (codes.py), and the library's own embeddings rank the best again, so that every score
handed out is exact. Nothing is routed to cells, so a query far from all sounds, as texts are, loses
nothing (docs/decisions/0052, 0077). Clips written since the codes were made are searched exactly.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int64

from wavtext.library.codes import Codes
from wavtext.library.exact import ExactIndex, Vector, Windows
from wavtext.library.matrix import Matrix
from wavtext.library.records import SPAN_TYPE, VECTOR_TYPE
from wavtext.library.store import Store
from wavtext.library.typical import Typical

EXACT_UP_TO = 100_000  # windows; below, memory is cheap and exact search fast
REBUILD_AT = 0.1  # share of windows written since, from which the codes are made anew
CANDIDATES = 2000  # windows that the scan hands on, at least
SPARSE = 100_000  # windows of allowed clips up to which a filter is searched without the scan
EXACT_CLIPS = 50  # best clips that are ranked by their exact embeddings, at least

Clips = Int64[np.ndarray, " clips"]
Scores = Float32[np.ndarray, " clips"]


class QuantisedIndex:
    """The derived files, and an exact index over what was written since."""

    def __init__(self, store: Store, codes: Codes, tail: Matrix, removed: list[int]) -> None:
        self.store = store
        self.codes = codes
        self.tail = ExactIndex(tail)
        self._typical: Typical | None = None
        gone = np.concatenate([tail.clip_ids, np.array(removed, np.int64)])
        self.alive: Bool[np.ndarray, " clips"] = ~np.isin(codes.clip_ids, gone)

    def best(self, query: Vector, count: int, allowed: Clips | None) -> tuple[Clips, Scores]:
        """(clip ids, score of the best window), best first, among the clips allowed."""
        codes = self.codes
        passing = self.alive
        if allowed is not None:
            passing = passing & np.isin(codes.clip_ids, allowed)
        most = max(count, EXACT_CLIPS)
        ids = codes.clip_ids[self._search(query, most, passing, everything=allowed is None)]
        scores = self._exact_scores(ids, query)
        if len(self.tail.matrix.clip_ids):
            late_ids, late_scores = self.tail.best(query, count, allowed)
            ids = np.concatenate([ids, late_ids])
            scores = np.concatenate([scores, late_scores])
        order = np.argsort(-scores, kind="stable")[:count]
        order = order[np.isfinite(scores[order])]
        return ids[order], scores[order]

    def best_of(self, clip_ids: Clips, query: Vector) -> Scores:
        """The best window's score of given clips; -inf for clips that are not there."""
        return self._exact_scores(clip_ids, query)

    def typical(self) -> Typical | None:
        """How cosines spread over windows evenly taken from the library."""
        if self._typical is None and len(self.codes.sample):
            self._typical = Typical.of(self.codes.sample)
        return self._typical

    def windows(self, clip_ids: Sequence[int]) -> list[Windows | None]:
        """The windows of each clip, from the library itself; None for those not there."""
        found: dict[int, Windows] = {}
        for row in self.store.embeddings_of(clip_ids, self.codes.model_id):
            if row.intact:
                spans = np.frombuffer(row.spans, SPAN_TYPE).reshape(-1, 2)
                found[row.clip_id] = spans, self._vectors(row.vectors)
        return [found.get(clip_id) for clip_id in clip_ids]

    def _search(
        self, query: Vector, count: int, passing: Bool[np.ndarray, " clips"], *, everything: bool
    ) -> Int64[np.ndarray, " best"]:
        """Positions of about the best clips, best first."""
        codes = self.codes
        total = len(codes.nibbles)
        if not total:
            return np.empty(0, np.int64)
        if not everything:
            counts = np.diff(codes.offsets)
            if counts[passing].sum() <= SPARSE:
                return self._rank(np.flatnonzero(np.repeat(passing, counts)), query, count, passing)
        reach = max(CANDIDATES, 5 * count)
        while True:
            positions = self._rank(codes.candidates(query, reach), query, count, passing)
            if len(positions) >= count or reach >= total or len(positions) == passing.sum():
                return positions
            reach *= 8  # few clips hold most candidates, or most are filtered out

    def _rank(
        self,
        rows: Int64[np.ndarray, " rows"],
        query: Vector,
        count: int,
        passing: Bool[np.ndarray, " clips"],
    ) -> Int64[np.ndarray, " best"]:
        """The best clips among those of the rows, which rise."""
        owners = self.codes.owners[rows]
        keep = passing[owners]
        rows, owners = rows[keep], owners[keep]
        if not len(rows):
            return owners
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        best = np.maximum.reduceat(self.codes.scores(rows, query), firsts)
        return owners[firsts][np.argsort(-best, kind="stable")[:count]]

    def _exact_scores(self, clip_ids: Clips, query: Vector) -> Scores:
        """The best window's cosine by the library's own embeddings."""
        scores = np.full(len(clip_ids), -np.inf, np.float32)
        places = {clip_id: place for place, clip_id in enumerate(clip_ids.tolist())}
        rows = self.store.embeddings_of(places, self.codes.model_id)
        found = [row for row in rows if row.intact and row.vectors]
        if found:
            vectors = self._vectors(b"".join([row.vectors for row in found]))
            sizes = np.array([len(row.vectors) for row in found])
            firsts = (np.cumsum(sizes) - sizes) // (VECTOR_TYPE.itemsize * vectors.shape[1])
            best = np.maximum.reduceat(vectors @ query, firsts)
            scores[[places[row.clip_id] for row in found]] = best
        return scores

    def _vectors(self, stored: bytes) -> Float32[np.ndarray, "windows dim"]:
        vectors = np.frombuffer(stored, VECTOR_TYPE).reshape(-1, self.codes.sample.shape[1])
        return vectors.astype(np.float32)
