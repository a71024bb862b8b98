"""Scores or embeddings -> the rank of every relevant clip of every query; metrics follow from them.

A rank starts at 1.  Ties are settled against the model: of clips with equal scores, those that are
not relevant come first.  A query without a relevant clip has no rank: an error, or left out.
"""

import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from wavtext.errors import EvaluationError
from wavtext.evaluation.validation import (
    Relevant,
    check_embeddings,
    check_k,
    check_relevant,
    check_rows,
    check_score,
)

NoRelevant = Literal["error", "exclude"]

_BLOCK_BYTES = 128 * 2**20  # of scores held at once when streaming


class ExcludedQueriesWarning(UserWarning):
    """Queries without a relevant clip were left out of a metric, as the caller allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranks:
    """The ranks of the relevant clips, query after query; as an array, the best rank of each query.

    Query q owns `ascending[offsets[q]:offsets[q + 1]]`, at least one rank.
    Made by `ranks_of` and `ranks`.
    """

    ascending: Int[np.ndarray, " relevant"]  # each query's ranks, best first
    in_order: Int[np.ndarray, " relevant"]  # the same in the order of the clips
    offsets: Int[np.ndarray, " queries+1"]
    pool: int  # clips that each query ranks
    kept: Int[np.ndarray, " queries"]  # row of each query in the scores that were ranked
    excluded: Int[np.ndarray, " excluded"] = field(  # rows left out: they have no relevant clip
        default_factory=lambda: np.zeros(0, np.int64)
    )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.best.astype(dtype if dtype is not None else np.int64)

    @property
    def best(self) -> Int[np.ndarray, " queries"]:
        """Rank of each query's first relevant clip."""
        return self.ascending[self.offsets[:-1]]

    @property
    def counts(self) -> Int[np.ndarray, " queries"]:
        """Number of relevant clips of each query."""
        return np.diff(self.offsets)

    def hits_at(self, k: int) -> Float[np.ndarray, " queries"]:
        """1 where a relevant clip is in the top k, else 0; the mean is the field's R@k."""
        return (self.best <= check_k(k)).astype(np.float64)

    def fractions_at(self, k: int) -> Float[np.ndarray, " queries"]:
        """Share of each query's relevant clips in the top k."""
        return self._sum(self.ascending <= check_k(k)) / self.counts

    def average_precisions_at(self, k: int) -> Float[np.ndarray, " queries"]:
        """(1/relevant)·Σ i/rank_i over the ranks <= k in ascending order."""
        inside = self.ascending <= check_k(k)
        return self._sum(np.where(inside, self._position() / self.ascending, 0.0)) / self.counts

    def unsorted_average_precisions_at(self, k: int) -> Float[np.ndarray, " queries"]:
        """As `average_precisions_at` with the ranks <= k taken in caption order: LAION's."""
        inside = self.in_order <= check_k(k)
        running = np.cumsum(inside)
        before = np.repeat(running[self.offsets[:-1]] - inside[self.offsets[:-1]], self.counts)
        position = running - before  # counts only the captions that are inside, in caption order
        return self._sum(np.where(inside, position / self.in_order, 0.0)) / self.counts

    def ndcgs_at(self, k: int) -> Float[np.ndarray, " queries"]:
        """Normalised discounted cumulative gain at k with gain 1 and discount log2(rank + 1)."""
        inside = self.ascending <= check_k(k)
        gain = self._sum(np.where(inside, 1 / np.log2(self.ascending + 1.0), 0.0))
        most = int(self.counts.max(initial=1))
        ideal = np.cumsum(1 / np.log2(np.arange(1, min(k, most) + 1) + 1.0))
        return gain / ideal[np.minimum(self.counts, k) - 1]

    def _position(self) -> Int[np.ndarray, " relevant"]:
        """1, 2, ... within each query."""
        return np.arange(1, len(self.ascending) + 1) - np.repeat(self.offsets[:-1], self.counts)

    def _sum(self, values: np.ndarray) -> Float[np.ndarray, " queries"]:
        return np.add.reduceat(values.astype(np.float64), self.offsets[:-1])


def ranks_of(
    score: Float[np.ndarray, "query clip"],
    relevant: Bool[np.ndarray, "query clip"],
    *,
    no_relevant: NoRelevant = "error",
) -> Ranks:
    """The ranks of all relevant clips in a score matrix.

    Args:
        score: Cosines or any scores, higher is better, negative allowed.
        relevant: True where the clip answers the query.
        no_relevant: What to do with a query that has no relevant clip: an error, or leave it out,
            with an ExcludedQueriesWarning and its row in `Ranks.excluded`.

    Raises:
        EvaluationError: The shapes differ, a score is not finite, or nothing is left to rank.
    """
    score, relevant = check_score(score), check_relevant(relevant)
    if score.shape != relevant.shape:
        raise EvaluationError(
            f"scores have the shape {score.shape}, relevance {relevant.shape}.",
            help="Both are (queries, clips); transpose the one that is (clips, queries).",
        )
    queries, clips = np.nonzero(relevant)
    counts = np.bincount(queries, minlength=len(score))
    kept, excluded = _split_queries(counts, no_relevant)
    ragged = np.split(clips, np.cumsum(counts)[:-1])
    in_order = [_row_ranks(score[row], ragged[row]) for row in kept]
    return _assemble(in_order, pool=score.shape[1], kept=kept, excluded=excluded)


def ranks(
    query_embeddings: Float[np.ndarray, "query dim"],
    clip_embeddings: Float[np.ndarray, "clip dim"],
    relevant: Relevant,
    *,
    itself: Int[np.ndarray, " queries"] | None = None,
    no_relevant: NoRelevant = "error",
    block_bytes: int = _BLOCK_BYTES,
) -> Ranks:
    """The ranks of all relevant clips by dot product, without ever holding the score matrix.

    Gives what `ranks_of(queries @ clips.T, ...)` gives, up to the last bit of the products.
    Embeddings may be memory-mapped or float16; a block of queries is scored at a time.

    Args:
        query_embeddings: One row a query, of length 1 for cosines.
        clip_embeddings: One row a clip of the pool.
        relevant: The relevant clips' rows: an integer array with one for each query, or a sequence
            with an integer array for each query.  From labels: `rows_with_label`.
        itself: The row of each query's own clip, which is not ranked (audio to audio).
        no_relevant: As in `ranks_of`.
        block_bytes: Memory for the scores of one block of queries.

    Raises:
        EvaluationError: The dimensions differ, a value is not finite, or a row is repeated or
            outside the pool.
    """
    queries, pool = check_embeddings(query_embeddings, clip_embeddings)
    wanted = check_rows(relevant, queries, pool)
    counts = np.array([len(rows) for rows in wanted])
    kept, excluded = _split_queries(counts, no_relevant)
    step = max(1, block_bytes // (4 * pool))
    in_order: list[np.ndarray] = []
    for first in range(0, len(kept), step):
        block = kept[first : first + step]
        score = dot(np.asarray(query_embeddings[block], np.float32), clip_embeddings)
        if itself is not None:
            score[np.arange(len(block)), itself[block]] = -np.inf
        in_order += [_row_ranks(row, wanted[q]) for row, q in zip(score, block, strict=True)]
    pool -= itself is not None
    return _assemble(in_order, pool=pool, kept=kept, excluded=excluded)


def rows_with_label(
    query_labels: Sequence[Hashable], clip_labels: Sequence[Hashable]
) -> list[Int[np.ndarray, " relevant"]]:
    """For each query the rows of the clips with its label (a clip id, a title, a class)."""
    rows: dict[Hashable, list[int]] = {}
    for row, label in enumerate(clip_labels):
        rows.setdefault(label, []).append(row)
    arrays = {label: np.array(each) for label, each in rows.items()}
    nothing = np.zeros(0, np.int64)
    return [arrays.get(label, nothing) for label in query_labels]


def _row_ranks(score: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Ranks of the clips in `rows`: i + the number of irrelevant clips that score no less."""
    own = score[rows]
    order = np.argsort(-own, kind="stable")
    descending = own[order]
    if len(rows) <= 4:  # comparing is faster than sorting for a few
        at_least = np.array([np.count_nonzero(score >= each) for each in descending])
    else:
        at_least = len(score) - np.searchsorted(np.sort(score), descending, side="left")
    own_at_least = len(own) - np.searchsorted(descending[::-1], descending, side="left")
    result = np.empty(len(rows), np.int64)
    result[order] = np.arange(1, len(rows) + 1) + at_least - own_at_least
    return result


def _assemble(
    in_order: list[np.ndarray], *, pool: int, kept: np.ndarray, excluded: np.ndarray
) -> Ranks:
    offsets = np.concatenate([[0], np.cumsum([len(each) for each in in_order])])
    return Ranks(
        ascending=np.concatenate([np.sort(each) for each in in_order]),
        in_order=np.concatenate(in_order),
        offsets=offsets.astype(np.int64),
        pool=pool,
        kept=kept,
        excluded=excluded,
    )


def dot(
    queries: Float[np.ndarray, "query dim"], clips: Float[np.ndarray, "clip dim"]
) -> Float[np.ndarray, "query clip"]:
    """Scores of a block of queries, clips taken in blocks (float16 and memory maps stay small)."""
    step = 16_384
    score = np.empty((len(queries), len(clips)), np.float32)
    for first in range(0, len(clips), step):
        block = np.asarray(clips[first : first + step], np.float32)
        np.matmul(queries, block.T, out=score[:, first : first + len(block)])
    return score


def _split_queries(counts: np.ndarray, no_relevant: NoRelevant) -> tuple[np.ndarray, np.ndarray]:
    if no_relevant not in ("error", "exclude"):
        raise EvaluationError(f"no_relevant is {no_relevant!r}; it must be 'error' or 'exclude'.")
    kept, excluded = np.flatnonzero(counts), np.flatnonzero(counts == 0)
    if len(kept) == 0:
        raise EvaluationError("no query has a relevant clip: there is nothing to measure.")
    if len(excluded) and no_relevant == "error":
        raise EvaluationError(
            f"{len(excluded)} of {len(counts)} queries have no relevant clip; the first is query "
            f"{excluded[0]}.",
            help="Mend the labels, or leave such queries out with no_relevant='exclude'.",
        )
    if len(excluded):
        message = (
            f"{len(excluded)} of {len(counts)} queries have no relevant clip and are left out."
        )
        warnings.warn(message, ExcludedQueriesWarning, stacklevel=4)
    return kept, excluded
