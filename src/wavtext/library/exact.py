"""Exact search: every window's cosine, then the best window of every clip."""

import numpy as np
from jaxtyping import Bool, Float32, Int64

from wavtext.library.matrix import Matrix


def window_scores(
    matrix: Matrix, query: Float32[np.ndarray, " dim"]
) -> Float32[np.ndarray, " windows"]:
    """Cosine of the query with every window."""
    return matrix.vectors @ query


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
