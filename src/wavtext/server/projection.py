"""The map: embeddings -> points on a plane, near when they sound alike.

In: (n, dim) float32.  Out: (n, 2) uint16.

Principal components to 32 dimensions, a graph of each clip's nearest neighbours (FAISS, exact), and
then attraction along its edges against repulsion between random pairs, as in UMAP (McInnes et al.
2018, section 3), with the gradient in closed form and NumPy alone.  Differs: all edges are weighted
alike, and updates are made in whole sweeps; the seed is fixed, so a library always looks the same.
"""

from collections.abc import Callable

import faiss
import numpy as np
from jaxtyping import Float32, Int64, UInt16

COMPONENTS = 32
NEIGHBOURS = 12
SWEEPS = 200
# The curve 1 / (1 + A d^(2B)) for UMAP's min_dist = 0.1.
A, B = 1.577, 0.895
SCALE = 10.0  # spread of the start
REPULSION = 5.0  # random pairs to one edge, UMAP's negative samples


def project(
    embeddings: Float32[np.ndarray, "n dim"],
    *,
    sweeps: int = SWEEPS,
    progress: Callable[[float], None] = lambda share: None,
) -> UInt16[np.ndarray, "n 2"]:
    """Points from 0 to 65535 on both axes; clips with near embeddings come near each other."""
    count = len(embeddings)
    if count == 0:
        return np.zeros((0, 2), np.uint16)
    reduced = _principal_components(embeddings, COMPONENTS)
    points = _start(reduced)
    if count > 3:
        heads, tails = _edges(reduced, min(NEIGHBOURS, count - 1))
        points = _unfold(points, heads, tails, sweeps, progress)
    progress(1.0)
    return _quantise(points)


def _principal_components(embeddings: np.ndarray, components: int) -> Float32[np.ndarray, "n c"]:
    centred = embeddings - embeddings.mean(axis=0)
    covariance = centred.T @ centred / len(centred)
    _, vectors = np.linalg.eigh(covariance.astype(np.float64))
    axes = vectors[:, ::-1][:, :components]
    axes = axes * np.where(axes.sum(axis=0) < 0, -1.0, 1.0)  # a sign that does not depend on LAPACK
    return np.ascontiguousarray(centred @ axes.astype(np.float32))


def _start(reduced: np.ndarray) -> np.ndarray:
    points = np.zeros((len(reduced), 2), np.float32)
    width = min(2, reduced.shape[1])
    points[:, :width] = reduced[:, :width]
    spread = float(np.abs(points).max()) or 1.0
    jitter = np.random.default_rng(0).normal(0, 1e-2, points.shape)
    return (points / spread * SCALE + jitter).astype(np.float32)


def _edges(
    reduced: np.ndarray, neighbours: int
) -> tuple[Int64[np.ndarray, " edges"], Int64[np.ndarray, " edges"]]:
    index = faiss.IndexFlatL2(reduced.shape[1])
    index.add(reduced)  # pyright: ignore[reportCallIssue]
    nearest = index.search(reduced, neighbours + 1)[1]  # pyright: ignore[reportCallIssue]
    heads = np.repeat(np.arange(len(reduced)), neighbours + 1)
    tails = nearest.ravel().astype(np.int64)
    keep = (heads != tails) & (tails >= 0)
    return heads[keep], tails[keep]


def _unfold(
    points: np.ndarray,
    heads: np.ndarray,
    tails: np.ndarray,
    sweeps: int,
    progress: Callable[[float], None],
) -> np.ndarray:
    count = len(points)
    rng = np.random.default_rng(0)
    own = np.arange(count)
    pulls = 2.0 * len(heads) / count  # edges that pull a point, in the mean
    repulsions = 4  # random others that push each point in a sweep
    for sweep in range(sweeps):
        rate = 1.0 - sweep / sweeps
        move = np.zeros_like(points)
        delta = points[heads] - points[tails]
        squared = np.einsum("ij,ij->i", delta, delta) + 1e-6
        power = squared ** (B - 1.0)
        weight = (-2.0 * A * B * power) / (1.0 + A * power * squared)
        pull = _bounded(weight[:, None] * delta)
        for axis in range(2):
            move[:, axis] += np.bincount(heads, pull[:, axis], count)
            move[:, axis] -= np.bincount(tails, pull[:, axis], count)
        move /= pulls
        for _ in range(repulsions):
            other = rng.integers(0, count, count)
            delta = points - points[other]
            squared = np.einsum("ij,ij->i", delta, delta)
            weight = 2.0 * B / ((0.001 + squared) * (1.0 + A * squared**B))
            push = _bounded(weight[:, None] * delta)
            push[other == own] = 0.0
            move += push * (REPULSION / repulsions)
        points = points + rate * move
        if sweep % 10 == 0:
            progress(sweep / sweeps)
    return points


def _bounded(forces: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.einsum("ij,ij->i", forces, forces))[:, None]
    return forces * np.minimum(1.0, 4.0 / np.maximum(size, 1e-9))


def _quantise(points: np.ndarray) -> UInt16[np.ndarray, "n 2"]:
    # A few far outliers must not squeeze the rest: the frame is the middle 99.8 %, and a margin.
    low, high = np.percentile(points, [0.1, 99.9], axis=0)
    centre, half = (low + high) / 2, float((high - low).max()) * 0.52 or 1.0
    scaled = (points - centre) / half * 0.5 + 0.5
    return np.rint(np.clip(scaled, 0.0, 1.0) * 65_535).astype(np.uint16)
