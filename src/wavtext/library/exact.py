"""Exact search: every window's cosine, then the best window of every clip."""

import threading
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int64

from wavtext.library.matrix import Matrix

Vector = Float32[np.ndarray, " dim"]
MOST = 16  # queries in one pass
COARSE_FROM = 20_000  # windows; below, a full pass is quick
COARSE_AFTER = 16  # searches


class Index(Protocol):
    """What a search needs of the embeddings, however they are kept."""

    def best(
        self, query: Vector, count: int, allowed: Int64[np.ndarray, " clips"] | None
    ) -> tuple[Int64[np.ndarray, " best"], Float32[np.ndarray, " best"]]:
        """(clip ids, score of the best window), best first, among the clips allowed."""
        ...

    def best_of(
        self, clip_ids: Int64[np.ndarray, " clips"], query: Vector
    ) -> Float32[np.ndarray, " clips"]:
        """The best window's score of given clips; -inf for clips that are not there."""
        ...

    def sample(self, count: int) -> Float32[np.ndarray, "windows dim"]:
        """Up to `count` windows, always the same ones."""
        ...

    def windows(
        self, clip_id: int
    ) -> tuple[Float32[np.ndarray, "windows 2"], Float32[np.ndarray, "windows dim"]] | None:
        """Spans and embeddings of one clip's windows; None when it is not there."""
        ...


class ExactIndex:
    """The embeddings in memory, compared one by one."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self._scan = SharedScan(matrix.vectors)
        self._coarse: CoarseScan | None = None
        self._coarse_lock = threading.Lock()
        self._searches = 0
        self._positions: dict[int, int] | None = None
        self._sample: tuple[int, Float32[np.ndarray, "windows dim"]] | None = None

    def best(
        self, query: Vector, count: int, allowed: Int64[np.ndarray, " clips"] | None
    ) -> tuple[Int64[np.ndarray, " best"], Float32[np.ndarray, " best"]]:
        """(clip ids, score of the best window), best first, among the clips allowed."""
        matrix = self.matrix
        coarse = self._coarse_best(query, count) if allowed is None else None
        if coarse is not None:
            return coarse
        scores = clip_scores(self._scan.scores(query), matrix.offsets)
        alive = matrix.alive
        if allowed is not None:
            alive = alive & np.isin(matrix.clip_ids, allowed)
        positions = best_clips(scores, alive, count)
        exact = self._exact_scores(positions, query)
        order = np.argsort(-exact, kind="stable")
        return matrix.clip_ids[positions[order]], exact[order]

    def best_of(
        self, clip_ids: Int64[np.ndarray, " clips"], query: Vector
    ) -> Float32[np.ndarray, " clips"]:
        """The best window's score of given clips; -inf for clips that are not there."""
        scores = np.full(len(clip_ids), -np.inf, np.float32)
        positions = self._known_positions()
        found = [(i, positions.get(each)) for i, each in enumerate(clip_ids.tolist())]
        there = [(i, position) for i, position in found if position is not None]
        if there:
            rows, places = zip(*there, strict=True)
            scores[list(rows)] = self._exact_scores(np.array(places, np.int64), query)
        return scores

    def sample(self, count: int) -> Float32[np.ndarray, "windows dim"]:
        """Up to `count` windows, evenly spread; kept side by side, for every search asks."""
        if self._sample is None or self._sample[0] != count:
            vectors = self.matrix.vectors
            step = max(1, -(-len(vectors) // count))
            self._sample = (count, np.ascontiguousarray(vectors[::step]))
        return self._sample[1]

    def windows(
        self, clip_id: int
    ) -> tuple[Float32[np.ndarray, "windows 2"], Float32[np.ndarray, "windows dim"]] | None:
        """Spans and embeddings of one clip's windows; None when it is not there."""
        matrix = self.matrix
        position = self._known_positions().get(clip_id)
        if position is None:
            return None
        begin, end = matrix.offsets[position : position + 2]
        return matrix.spans[begin:end], matrix.vectors[begin:end]

    def _coarse_best(
        self, query: Vector, count: int
    ) -> tuple[Int64[np.ndarray, " best"], Float32[np.ndarray, " best"]] | None:
        """The best clips by way of 8-bit copies, as `best`; None where a full pass is better.

        Copies are made once a large matrix has been searched often enough to pay for them.
        """
        matrix = self.matrix
        if len(matrix.vectors) < COARSE_FROM:
            return None
        with self._coarse_lock:
            self._searches += 1
            if self._coarse is None and self._searches > COARSE_AFTER:
                self._coarse = CoarseScan(matrix.vectors)
        if self._coarse is None:
            return None
        rows = np.sort(self._coarse.candidates(query, max(400, 2 * count)))
        owners = np.searchsorted(matrix.offsets, rows, side="right") - 1
        rows, owners = rows[matrix.alive[owners]], owners[matrix.alive[owners]]
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        if len(firsts) < count:
            return None  # few clips hold most candidates
        cosines = np.einsum("ij,j->i", matrix.vectors[rows], query)
        best = np.maximum.reduceat(cosines, firsts)
        order = np.argsort(-best, kind="stable")[:count]
        return matrix.clip_ids[owners[firsts[order]]], best[order]

    def _known_positions(self) -> dict[int, int]:
        """Where each clip is."""
        if self._positions is None:
            alive = np.flatnonzero(self.matrix.alive)
            ids = self.matrix.clip_ids[alive]
            self._positions = dict(zip(ids.tolist(), alive.tolist(), strict=True))
        return self._positions

    def _exact_scores(
        self, positions: Int64[np.ndarray, " clips"], query: Vector
    ) -> Float32[np.ndarray, " clips"]:
        """The best window's cosine, summed row by row: it does not depend on what else is asked."""
        if not len(positions):
            return np.empty(0, np.float32)
        offsets = self.matrix.offsets
        begins, counts = offsets[positions], offsets[positions + 1] - offsets[positions]
        firsts = np.cumsum(counts) - counts
        rows = np.arange(int(counts.sum())) + np.repeat(begins - firsts, counts)
        cosines = np.einsum("ij,j->i", self.matrix.vectors[rows], query)
        return np.maximum.reduceat(cosines, firsts)


class CoarseScan:
    """8-bit copies of the embeddings, a quarter of their size, that a search reads in their place.

    A rounded cosine is off by about 0.001, far less than the few hundred candidates span, so what
    is ranked exactly afterwards holds the best.
    """

    def __init__(self, vectors: Float32[np.ndarray, "windows dim"]) -> None:
        import faiss

        kind = faiss.ScalarQuantizer.QT_8bit_direct_signed
        self._index: Any = faiss.IndexScalarQuantizer(
            vectors.shape[1], kind, faiss.METRIC_INNER_PRODUCT
        )
        step = 127.0 / max(float(np.abs(vectors).max()), 1e-9)
        for begin in range(0, len(vectors), 20_000):
            self._index.add(np.rint(vectors[begin : begin + 20_000] * step))

    def candidates(self, query: Vector, count: int) -> Int64[np.ndarray, " rows"]:
        """Rows of about the highest scores."""
        steps = np.rint(query * (127.0 / max(float(np.abs(query).max()), 1e-9)))
        rows = self._index.search(steps[None].astype(np.float32), count)[1][0]
        return rows[rows >= 0]


class SharedScan:
    """Scores of all windows; threads that ask at the same time share one pass over memory.

    A scan is bound by memory, so a pass for eight queries costs little more than for one. Whoever
    gets the turn answers all who wait.
    """

    def __init__(self, vectors: Float32[np.ndarray, "windows dim"]) -> None:
        self._vectors = vectors
        self._waiting: list[_Ask] = []
        self._lock = threading.Lock()
        self._turn = threading.Lock()

    def scores(self, query: Vector) -> Float32[np.ndarray, " windows"]:
        """The query's dot product with every vector."""
        ask = _Ask(query)
        with self._lock:
            self._waiting.append(ask)
        with self._turn:
            while ask.scores is None:
                with self._lock:
                    batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                if len(batch) == 1:
                    batch[0].scores = self._vectors @ batch[0].query
                    continue
                together = self._vectors @ np.stack([each.query for each in batch], axis=1)
                for column, each in enumerate(batch):
                    each.scores = np.ascontiguousarray(together[:, column])
        return ask.scores


@dataclass(slots=True, eq=False)
class _Ask:
    query: Vector
    scores: Float32[np.ndarray, " windows"] | None = None


def clip_scores(
    scores: Float32[np.ndarray, " windows"], offsets: Int64[np.ndarray, " clips+1"]
) -> Float32[np.ndarray, " clips"]:
    """The best window of each clip; every clip has at least one."""
    if len(offsets) < 2:
        return np.empty(0, np.float32)
    return np.maximum.reduceat(scores, offsets[:-1])


def best_clips(
    scores: Float32[np.ndarray, " clips"], allowed: Bool[np.ndarray, " clips"], limit: int
) -> Int64[np.ndarray, " best"]:
    """Positions of the `limit` highest scores among those allowed; ties by position."""
    positions = np.flatnonzero(allowed)
    if limit < len(positions):
        chosen = scores[positions]
        threshold = np.partition(chosen, len(chosen) - limit)[len(chosen) - limit]
        positions = positions[chosen >= threshold]
    return positions[np.argsort(-scores[positions], kind="stable")][:limit]
