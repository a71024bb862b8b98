"""Exact search: every window's cosine, then the best window of every clip."""

from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float32, Int64

from wavtext.library.matrix import Matrix

Vector = Float32[np.ndarray, " dim"]


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

    def best(
        self, query: Vector, count: int, allowed: Int64[np.ndarray, " clips"] | None
    ) -> tuple[Int64[np.ndarray, " best"], Float32[np.ndarray, " best"]]:
        """(clip ids, score of the best window), best first, among the clips allowed."""
        matrix = self.matrix
        scores = clip_scores(matrix.vectors @ query, matrix.offsets)
        alive = matrix.alive
        if allowed is not None:
            alive = alive & np.isin(matrix.clip_ids, allowed)
        positions = best_clips(scores, alive, count)
        return matrix.clip_ids[positions], scores[positions]

    def best_of(
        self, clip_ids: Int64[np.ndarray, " clips"], query: Vector
    ) -> Float32[np.ndarray, " clips"]:
        """The best window's score of given clips; -inf for clips that are not there."""
        scores = np.full(len(clip_ids), -np.inf, np.float32)
        for i, clip_id in enumerate(clip_ids.tolist()):
            found = self.windows(clip_id)
            if found is not None:
                scores[i] = (found[1] @ query).max()
        return scores

    def sample(self, count: int) -> Float32[np.ndarray, "windows dim"]:
        """Up to `count` windows, evenly spread."""
        vectors = self.matrix.vectors
        return vectors[:: max(1, -(-len(vectors) // count))]

    def windows(
        self, clip_id: int
    ) -> tuple[Float32[np.ndarray, "windows 2"], Float32[np.ndarray, "windows dim"]] | None:
        """Spans and embeddings of one clip's windows; None when it is not there."""
        matrix = self.matrix
        position = matrix.position_of(clip_id)
        if position is None:
            return None
        begin, end = matrix.offsets[position : position + 2]
        return matrix.spans[begin:end], matrix.vectors[begin:end]


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
