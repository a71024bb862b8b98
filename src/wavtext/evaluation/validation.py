"""What metrics refuse: scores, relevance, embeddings and cut-offs that mean nothing."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from wavtext.errors import EvaluationError

Relevant = Sequence[Sequence[int]] | Sequence[np.ndarray] | np.ndarray


def check_k(k: Any) -> int:
    """A cut-off of at least 1; beyond the pool is legal and means the whole pool."""
    if isinstance(k, bool) or not isinstance(k, int | np.integer) or k < 1:
        raise EvaluationError(f"k is {k!r}.", help="It must be a whole number of at least 1.")
    return int(k)


def check_score(score: Any) -> np.ndarray:
    """A matrix (queries, clips) of finite numbers."""
    score = np.asarray(score)
    if score.ndim != 2 or 0 in score.shape:
        raise EvaluationError(
            f"scores have the shape {score.shape}; they must be (queries, clips), both at least 1."
        )
    if score.dtype.kind not in "fiu":
        raise EvaluationError(f"scores are {score.dtype}; they must be numbers.")
    bad = np.argwhere(~np.isfinite(score))
    if len(bad):
        query, clip = bad[0]
        raise EvaluationError(
            f"{len(bad)} scores are not finite; the first is {score[query, clip]} at query "
            f"{query}, clip {clip}.",
            help="Look for sounds or captions whose embedding is NaN.",
        )
    return score.astype(np.float64) if score.dtype.kind in "iu" else score


def check_relevant(relevant: Any) -> np.ndarray:
    """A boolean array; of 0 and 1, the same as booleans."""
    relevant = np.asarray(relevant)
    if relevant.dtype == bool:
        return relevant
    if relevant.dtype.kind in "iu" and np.isin(relevant, (0, 1)).all():
        return relevant.astype(bool)
    raise EvaluationError(
        f"relevance is {relevant.dtype}; it must be boolean.",
        help="Graded relevance has no metric.",
    )


def check_embeddings(queries: np.ndarray, clips: np.ndarray) -> tuple[int, int]:
    """Number of queries and of clips of finite embeddings of one width."""
    for name, array in (("query", queries), ("clip", clips)):
        if array.ndim != 2 or 0 in array.shape:
            raise EvaluationError(
                f"{name} embeddings have the shape {array.shape}; they must be (rows, dimensions)."
            )
        for first in range(0, len(array), 16_384):
            finite = np.isfinite(array[first : first + 16_384]).all(axis=1)
            if not finite.all():
                row = first + int(np.argmin(finite))
                raise EvaluationError(f"the embedding of {name} {row} is not finite.")
    if queries.shape[1] != clips.shape[1]:
        raise EvaluationError(
            f"query embeddings have {queries.shape[1]} dimensions, clip embeddings "
            f"{clips.shape[1]}.",
            help="Embed both with the same model.",
        )
    return len(queries), len(clips)


def check_rows(relevant: Relevant, queries: int, pool: int) -> list[np.ndarray]:
    """Each query's relevant rows, ascending, all inside the pool and different."""
    if len(relevant) != queries:
        raise EvaluationError(f"there are {queries} queries but relevance for {len(relevant)}.")
    wanted = [np.sort(np.atleast_1d(np.asarray(rows))) for rows in relevant]
    for query, rows in enumerate(wanted):
        if rows.size == 0:
            wanted[query] = np.zeros(0, np.int64)
        elif rows.dtype.kind not in "iu" or rows.ndim != 1:
            raise EvaluationError(f"the relevant clips of query {query} are not row numbers.")
        elif rows[0] < 0 or rows[-1] >= pool:
            outside = rows[0] if rows[0] < 0 else rows[-1]
            raise EvaluationError(
                f"query {query} names clip {outside}, but the pool has {pool} clips."
            )
        elif (np.diff(rows) == 0).any():
            raise EvaluationError(f"query {query} names a relevant clip twice.")
    return wanted
