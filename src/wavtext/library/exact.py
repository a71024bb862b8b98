"""Exact search: every window's cosine, then the best window of every clip."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int64

from wavtext.library.matrix import Matrix, padded
from wavtext.library.typical import SAMPLE, Typical

Vector = Float32[np.ndarray, " dim"]
# spans in seconds and embeddings of one clip's windows
Windows = tuple[Float32[np.ndarray, "windows 2"], Float32[np.ndarray, "windows dim"]]
MOST = 16  # queries in one pass
COARSE_FROM = 20_000  # windows; below, a full pass is quick
COARSE_AFTER = 32  # searches
PAIR = 2  # dimensions that share one 4-bit product code


class Index(Protocol):
    """What a search needs of the embeddings, however they are kept."""

    def best(
        self, query: Vector, count: int, allowed: Any
    ) -> tuple[Int64[np.ndarray, " best"], Float32[np.ndarray, " best"]]:
        """(clip ids, score of the best window), best first, among the clips allowed."""
        ...

    def best_of(
        self, clip_ids: Int64[np.ndarray, " clips"], query: Vector
    ) -> Float32[np.ndarray, " clips"]:
        """The best window's score of given clips; -inf for clips that are not there."""
        ...

    def typical(self) -> Typical | None:
        """How cosines spread over the library's windows; None when it has none."""
        ...

    def windows(self, clip_ids: Sequence[int]) -> list[Windows | None]:
        """The windows of each clip; None for those that are not there."""
        ...


class ExactIndex:
    """The embeddings in memory, compared one by one."""

    def __init__(self, matrix: Matrix) -> None:
        self.matrix = matrix
        self._scan = SharedScan(matrix.vectors)
        self._coarse: CoarseScan | None = None
        self._coarse_lock = threading.Lock()
        self._searches = 0
        self._positions: tuple[np.ndarray, np.ndarray] | None = None
        self._typical: Typical | None = None

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
        there, positions = self._positions_of(clip_ids)
        scores[there] = self._exact_scores(positions, query)
        return scores

    def typical(self) -> Typical | None:
        """How cosines spread over windows evenly taken from the library."""
        vectors = self.matrix.vectors
        if self._typical is None and len(vectors):
            self._typical = Typical.of(vectors[:: max(1, -(-len(vectors) // SAMPLE))])
        return self._typical

    def windows(self, clip_ids: Sequence[int]) -> list[Windows | None]:
        """The windows of each clip; None for those that are not there."""
        matrix = self.matrix
        there, positions = self._positions_of(np.asarray(clip_ids, np.int64))
        rows = zip(
            matrix.offsets[positions].tolist(), matrix.offsets[positions + 1].tolist(), strict=True
        )
        found = ((matrix.spans[begin:end], matrix.vectors[begin:end]) for begin, end in rows)
        return [next(found) if known else None for known in there.tolist()]

    def _coarse_best(
        self, query: Vector, count: int
    ) -> tuple[Int64[np.ndarray, " best"], Float32[np.ndarray, " best"]] | None:
        """The best clips by way of 4-bit codes, as `best`; None where a full pass is better.

        Codes are made, in the background, once a large matrix has been searched often enough to
        pay for them.
        """
        matrix = self.matrix
        if len(matrix.vectors) < COARSE_FROM:
            return None
        self._searches += 1
        if self._coarse is None:
            if self._searches > COARSE_AFTER and self._coarse_lock.acquire(blocking=False):
                threading.Thread(target=self._make_coarse, daemon=True).start()
            return None
        rows = np.sort(self._coarse.candidates(query, max(1000, 4 * count)))
        owners = np.searchsorted(matrix.offsets, rows, side="right") - 1
        rows, owners = rows[matrix.alive[owners]], owners[matrix.alive[owners]]
        firsts = np.flatnonzero(np.diff(owners, prepend=-1))
        if len(firsts) < count:
            return None  # few clips hold most candidates
        cosines = np.einsum("ij,j->i", matrix.vectors[rows], query)
        best = np.maximum.reduceat(cosines, firsts)
        order = np.argsort(-best, kind="stable")[:count]
        return matrix.clip_ids[owners[firsts[order]]], best[order]

    def _make_coarse(self) -> None:
        """Code the embeddings; the lock stays taken, so that it happens once."""
        self._coarse = CoarseScan(self.matrix.vectors)

    def _positions_of(
        self, clip_ids: Int64[np.ndarray, " clips"]
    ) -> tuple[Bool[np.ndarray, " clips"], Int64[np.ndarray, " there"]]:
        """(which clips are there, the positions of those)."""
        if self._positions is None:
            alive = np.flatnonzero(self.matrix.alive)
            ids = self.matrix.clip_ids[alive]
            order = np.argsort(ids, kind="stable")
            self._positions = (ids[order], alive[order])
        known, positions = self._positions
        places = places_in(known, clip_ids)
        there = places >= 0
        return there, positions[places[there]]

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
    """4-bit codes of the embeddings, a sixteenth of their size, that a search reads in their place.

    Product quantisation of pairs of dimensions, read by FAISS's in-register look-ups ("fast scan").
    The best 20 of 100,000 random vectors, the hardest case, are among its first 1,000 for 2,000 of
    2,000 (docs/decisions/0063-many-askers.md); these are ranked exactly afterwards.
    """

    def __init__(self, vectors: Float32[np.ndarray, "windows dim"]) -> None:
        import faiss

        dim = padded(vectors[:1], PAIR).shape[1]
        self._index: Any = faiss.IndexPQFastScan(dim, dim // PAIR, 4, faiss.METRIC_INNER_PRODUCT)
        self._index.pq.cp.niter = 6
        self._index.train(padded(vectors[:: max(1, len(vectors) // 5000)], PAIR))
        for begin in range(0, len(vectors), 20_000):
            self._index.add(padded(vectors[begin : begin + 20_000], PAIR))

    def candidates(self, query: Vector, count: int) -> Int64[np.ndarray, " rows"]:
        """Rows of about the highest scores."""
        rows = self._index.search(padded(query[None], PAIR), count)[1][0]
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


def places_in(
    rising: Int64[np.ndarray, " known"], values: Int64[np.ndarray, " values"]
) -> Int64[np.ndarray, " values"]:
    """Where each value stands among rising ones; -1 for those that are not there."""
    if not len(rising):
        return np.full(len(values), -1, np.int64)
    places = np.searchsorted(rising, values)
    places[places == len(rising)] = 0
    return np.where(rising[places] == values, places, -1)


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
