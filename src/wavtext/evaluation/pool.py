"""Ranks in a pool of M clips -> the metric expected had the pool only N: R@k(N).

A pool of 742 clips is easier than one of 957: numbers compare only at one pool size.  The smaller
pool keeps the query's own clip (with all its captions) and draws the N-1 others without
replacement.  The expectation over all such pools is exact; `subsampled` draws them, for metrics
that have no closed form.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from wavtext.errors import EvaluationError
from wavtext.evaluation.ranking import Ranks, ranks_of
from wavtext.evaluation.validation import check_k


def expected_recall_at(above: Int[np.ndarray, "query counts"], k: int, size: int) -> float:
    """R@k expected in a random pool of `size` clips.

    Args:
        above: How many other clips have 0, 1, 2, ... ranked items above the query's best relevant
            one (`clips_above`).  A row adds up to M - 1.
        k: Cut-off.
        size: N, the clips of the smaller pool; at most M.
    """
    return float(_items_above(above, check_k(k), size).sum(axis=1).mean())


def expected_map_at(above: Int[np.ndarray, "query counts"], k: int, size: int) -> float:
    """Text-to-audio mAP@k, 1/rank of the one relevant clip, expected in a pool of `size` clips."""
    weights = 1 / np.arange(1, check_k(k) + 1)
    return float((_items_above(above, k, size) @ weights).mean())


def recall_curve(
    above: Int[np.ndarray, "query counts"], k: int, sizes: Sequence[int]
) -> Float[np.ndarray, " sizes"]:
    """`expected_recall_at` for each pool size."""
    return np.array([expected_recall_at(above, k, size) for size in sizes])


def clips_above(
    score: Float[np.ndarray, "query item"],
    relevant: Bool[np.ndarray, "query item"],
    clips: Sequence[Hashable] | np.ndarray,
) -> Int[np.ndarray, "query counts"]:
    """How many other clips have 0, 1, 2, ... items above each query's best relevant item.

    Text to audio: the items are the clips, all different.  Audio to text: the items are captions
    and `clips` names the clip of each, so that a clip leaves the pool with all its captions.

    Args:
        score: As for the metrics.
        relevant: As for the metrics; a query's relevant items belong to one clip.
        clips: The clip of each item.

    Raises:
        EvaluationError: A query's relevant items belong to several clips: which of them a smaller
            pool keeps is then a matter of chance; use `subsampled`.
    """
    ranks_of(score, relevant)  # the same checks, the same errors
    codes = _codes(clips, score.shape[1])
    own = np.array([_one_clip(codes[row]) for row in relevant])
    best = np.where(relevant, score, -np.inf).max(axis=1)
    number, most = int(codes.max()) + 1, int(np.bincount(codes).max())
    result = np.zeros((len(score), most + 1), np.int64)
    for row in range(len(score)):
        higher = (score[row] >= best[row]) & (codes != own[row])
        items = np.bincount(codes[higher], minlength=number)
        result[row] = np.bincount(items, minlength=most + 1)
        result[row, 0] -= 1  # its own clip, which stays
    return result


def subsampled(
    score: Float[np.ndarray, "query item"],
    relevant: Bool[np.ndarray, "query item"],
    query_clips: Sequence[Hashable] | np.ndarray,
    item_clips: Sequence[Hashable] | np.ndarray,
    metric: Callable[[Ranks], Float[np.ndarray, " queries"]],
    *,
    size: int,
    draws: int = 100,
    seed: int = 0,
) -> Float[np.ndarray, " draws"]:
    """The metric's mean in `draws` random pools of `size` clips, queries of other clips left out.

    Differs from `expected_recall_at` in that one pool serves all its queries, as a real test set
    does; the mean over draws has the same expectation where each query has one clip.

    Args:
        score: As for the metrics.
        relevant: As for the metrics.
        query_clips: The clip that each query belongs to; a query is asked where its clip is in the
        pool.
        item_clips: The clip that each ranked item belongs to.
        metric: Per-query values of the ranks, as `lambda ranks: ranks.hits_at(10)`.
        size: Clips in the smaller pool.
        draws: Random pools.
        seed: Of the draws.
    """
    labels: dict[Hashable, int] = {}
    items = np.array([labels.setdefault(each, len(labels)) for each in item_clips])
    queries = np.array([labels.setdefault(each, len(labels)) for each in query_clips])
    number = len(set(items.tolist()))
    if len(labels) > number:
        raise EvaluationError("some queries belong to clips that have no item in the pool.")
    _check_size(size, number)
    generator = np.random.default_rng(seed)
    result = np.empty(draws)
    for i in range(draws):
        chosen = np.zeros(number, bool)
        chosen[generator.choice(number, size, replace=False)] = True
        rows, columns = np.flatnonzero(chosen[queries]), np.flatnonzero(chosen[items])
        part = np.ix_(rows, columns)
        result[i] = metric(ranks_of(score[part], relevant[part])).mean()
    return result


def _items_above(above: np.ndarray, k: int, size: int) -> Float[np.ndarray, "query k"]:
    """Probability that 0, 1, ..., k-1 items stay above the best relevant one.

    Each other clip is kept with probability p, given that N-1 are kept in all: then the numbers
    kept of clips with 1, 2, ... items above are independent binomials, given their sum with those
    that have none.  `state[query, clips, items]` adds one kind of clip after the other.
    """
    above = np.asarray(above)
    if above.ndim != 2 or above.shape[1] < 2 or (above < 0).any() or len(above) == 0:
        raise EvaluationError(
            f"counts of clips above have the shape {above.shape} or are negative."
        )
    others = above.sum(axis=1)
    if (others != others[0]).any():
        raise EvaluationError("queries rank pools of different sizes.")
    _check_size(size, int(others[0]) + 1)
    keep, total = size - 1, int(others[0])
    if keep == total:
        items = above @ np.arange(above.shape[1])
        return (items[:, None] == np.arange(k)).astype(np.float64)
    # log of n!, so that binomials of thousands of clips stay in range
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, total + 1)))])
    result = np.empty((len(above), k))
    step = max(1, 2**22 // (k * k))
    for first in range(0, len(above), step):
        block = above[first : first + step]
        state = np.zeros((len(block), k, k))
        state[:, 0, 0] = 1
        for items in range(1, block.shape[1]):
            grown = np.zeros_like(state)
            for kept in range((k - 1) // items + 1):
                weight = _binomial(log_factorial, block[:, items], kept, keep, total)
                grown[:, kept:, items * kept :] += (
                    weight[:, None, None] * state[:, : k - kept, : k - items * kept]
                )
            state = grown
        none = np.stack(
            [_binomial(log_factorial, block[:, 0], keep - kept, keep, total) for kept in range(k)],
            1,
        )
        whole = _binomial(log_factorial, np.array([total]), keep, keep, total)
        result[first : first + step] = np.einsum("qki,qk->qi", state, none) / whole
    return result


def _binomial(
    log_factorial: np.ndarray, number: np.ndarray, kept: int, keep: int, total: int
) -> Float[np.ndarray, " query"]:
    """Probability that `kept` of `number` clips are kept, each with probability keep/total."""
    possible = (number >= kept) & (kept >= 0)
    if not possible.any() or keep == 0:
        return ((number >= 0) & (kept == 0)).astype(np.float64)
    rest = np.where(possible, number - kept, 0)
    log = log_factorial[number] - log_factorial[max(kept, 0)] - log_factorial[rest]
    log = log + kept * np.log(keep / total) + rest * np.log1p(-keep / total)
    return np.where(possible, np.exp(log), 0.0)


def _check_size(size: int, pool: int) -> None:
    if not 1 <= size <= pool:
        raise EvaluationError(
            f"a pool of {size} clips cannot be drawn from one of {pool}.",
            help="Recall can be carried over to smaller pools only.",
        )


def _codes(clips: Sequence[Hashable] | np.ndarray, items: int) -> np.ndarray:
    if len(clips) != items:
        raise EvaluationError(f"there are {items} ranked items and {len(clips)} clip labels.")
    codes: dict[Hashable, int] = {}
    return np.array([codes.setdefault(each, len(codes)) for each in clips])


def _one_clip(codes: np.ndarray) -> int:
    if len(set(codes.tolist())) != 1:
        raise EvaluationError(
            "a query's relevant items belong to several clips; the exact expectation needs one.",
            help="Use wavtext.evaluation.pool.subsampled.",
        )
    return int(codes[0])
