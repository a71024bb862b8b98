"""Per-query values -> intervals, tests between two models, seeds pooled.  Pure NumPy.

The unit of resampling is the cluster: the clip, with all values of its queries (its captions, or
itself). The pool stays fixed: intervals answer "had the test's clips been drawn anew", ranks
unchanged. All randomness comes from the seed that is passed.
"""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from wavtext.errors import EvaluationError

_STUDENT_95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)  # 1..10 d.f.


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 95 % interval (or of the level it was asked for)."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.4f} [{self.low:.4f}, {self.high:.4f}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Model A minus model B on one metric and one pool."""

    difference: Interval  # bootstrap over clips
    bootstrap_p: float  # two-sided, from the same resamples
    sign_p: float  # exact sign test over clips, ties left out
    permutation_p: float  # paired sign-flip test over clips
    better: int  # clips on which A is better
    worse: int
    clusters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """One metric over several seeds."""

    interval: Interval  # of the mean over seeds, for new clips and new seeds
    per_seed: tuple[float, ...]
    seed_deviation: float | None  # standard deviation between seeds; None for one seed
    clip_deviation: float  # bootstrap standard error from the clips alone

    @property
    def p(self) -> float:
        """Two-sided, of a value of 0: the interval's half width taken as 1.96 standard errors."""
        half = self.interval.high - self.interval.estimate
        if half == 0:
            return 1.0 if self.interval.estimate == 0 else 0.0
        return math.erfc(abs(self.interval.estimate) / half * 1.96 / math.sqrt(2))


def bootstrap(
    values: Float[np.ndarray, " queries"],
    clusters: Sequence[Hashable] | np.ndarray,
    *,
    statistic: Literal["mean", "median"] = "mean",
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Mean or median over queries with a percentile interval; clips are drawn as clusters.

    Args:
        values: One metric's value (or the best rank) for each query.
        clusters: The clip of each query; values of one clip are drawn together.
        statistic: What is estimated.
        resamples: Bootstrap resamples.
        level: Coverage of the interval.
        seed: Of the resampling.
    """
    values, codes = _check(values, clusters)
    if statistic == "mean":
        sums, sizes = np.bincount(codes, weights=values), np.bincount(codes)
        return Interval(
            float(values.mean()),
            *_percentiles(_resampled_means(sums, sizes, resamples, seed), level),
        )
    order = np.argsort(values, kind="stable")
    medians = _resampled_medians(values[order], codes[order], resamples, seed)
    return Interval(float(np.median(values)), *_percentiles(medians, level))


def compare(
    a: Float[np.ndarray, " queries"],
    b: Float[np.ndarray, " queries"],
    clusters: Sequence[Hashable] | np.ndarray,
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Two models' values for the same queries on the same pool: difference, interval, tests.

    Positive means A has the larger values.  The sign test looks at how many clips prefer which
    model, the permutation test at the mean over queries; both treat a clip as one observation.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise EvaluationError(
            f"the models have {len(a)} and {len(b)} values.",
            help="Compare them on the same queries, in the same order.",
        )
    sums, sizes = _by_cluster(a - b, clusters)
    means = _resampled_means(sums, sizes, resamples, seed)
    return Comparison(
        difference=Interval(float(sums.sum() / sizes.sum()), *_percentiles(means, level)),
        bootstrap_p=_two_sided(means),
        sign_p=sign_test(sums),
        permutation_p=permutation_test(sums, seed=seed),
        better=int(np.count_nonzero(sums > 0)),
        worse=int(np.count_nonzero(sums < 0)),
        clusters=len(sums),
    )


def sign_test(differences: Float[np.ndarray, " pairs"]) -> float:
    """Exact two-sided sign test: how likely so uneven a split is if both signs are equally likely.

    Differences of 0 are left out; without any other, 1.
    """
    differences = np.asarray(differences)
    positive, negative = int((differences > 0).sum()), int((differences < 0).sum())
    total, fewer = positive + negative, min(positive, negative)
    term, tail = 1, 1
    for i in range(fewer):
        term = term * (total - i) // (i + 1)
        tail += term
    return min(1.0, (2 * tail) / 2**total) if total else 1.0


def permutation_test(
    differences: Float[np.ndarray, " pairs"], *, permutations: int = 10_000, seed: int = 0
) -> float:
    """Two-sided paired permutation test of a zero sum: the signs of the differences are flipped.

    Exact, over all flips, when that takes no more than `permutations`; otherwise drawn with the
    seed, the observed assignment counted as one of them, so that p is never 0.
    """
    differences = np.asarray(differences, np.float64)
    differences = differences[differences != 0]
    observed = abs(differences.sum()) - 1e-12 * np.abs(differences).sum()
    count = len(differences)
    if count == 0:
        return 1.0
    if count < 63 and 2**count <= permutations:
        bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float(np.mean(np.abs((1 - 2 * bits) @ differences) >= observed))
    generator = np.random.default_rng(seed)
    extreme, left = 0, permutations
    step = max(1, 2**22 // count)
    while left:
        rows = min(step, left)
        signs = generator.integers(0, 2, (rows, count), np.int8)
        total = differences.sum() - 2 * (signs @ differences)
        extreme += int(np.count_nonzero(np.abs(total) >= observed))
        left -= rows
    return (extreme + 1) / (permutations + 1)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p-values for a table that makes many comparisons, under the same names."""
    for name, p in p_values.items():
        if not 0 <= p <= 1:
            raise EvaluationError(f"the p-value of '{name}' is {p}; it must be between 0 and 1.")
    adjusted: dict[str, float] = {}
    largest = 0.0
    for i, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (len(p_values) - i) * p))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def pool_seeds(
    values: Float[np.ndarray, "seeds queries"] | Sequence[np.ndarray],
    clusters: Sequence[Hashable] | np.ndarray,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Pooled:
    """One metric over training seeds, scored on the same queries: for new seeds and new clips.

    The two sources add in quadrature: 1.96 times the clips' bootstrap error of the seed-averaged
    values, and Student's t times the seeds' standard error, s/√seeds.  With one seed only the clips
    are known, and `seed_deviation` is None: say so.  Slightly wide, never narrow: the seeds'
    deviation on these clips is counted in both.
    """
    table = np.asarray(values, np.float64)
    if table.ndim != 2 or 0 in table.shape:
        raise EvaluationError(f"seeds have values of shape {table.shape}, not (seeds, queries).")
    sums, sizes = _by_cluster(table.mean(axis=0), clusters)
    clip_deviation = float(_resampled_means(sums, sizes, resamples, seed).std(ddof=1))
    per_seed, count = table.mean(axis=1), len(table)
    deviation = float(per_seed.std(ddof=1)) if count > 1 else None
    half = 1.96 * clip_deviation
    if deviation is not None:
        student = _STUDENT_95[count - 2] if count - 2 < len(_STUDENT_95) else _STUDENT_95[-1]
        half = math.hypot(half, student * deviation / math.sqrt(count))
    mean = float(table.mean())
    return Pooled(
        interval=Interval(mean, mean - half, mean + half),
        per_seed=tuple(float(each) for each in per_seed),
        seed_deviation=deviation,
        clip_deviation=clip_deviation,
    )


def _by_cluster(values: Any, clusters: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sum of the values and number of queries of each cluster."""
    values, codes = _check(values, clusters)
    return np.bincount(codes, weights=values), np.bincount(codes)


def _check(values: Any, clusters: Any) -> tuple[np.ndarray, np.ndarray]:
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or len(values) == 0 or len(values) != len(clusters):
        raise EvaluationError(
            f"there are values of shape {values.shape} for {len(clusters)} cluster labels.",
            help="Give one value and one label (its clip) for each query, at least one.",
        )
    if not np.isfinite(values).all():
        raise EvaluationError("a query's value is not finite.")
    codes: dict[Hashable, int] = {}
    return values, np.array([codes.setdefault(each, len(codes)) for each in clusters])


def _resampled_means(
    sums: np.ndarray, sizes: np.ndarray, resamples: int, seed: int
) -> Float[np.ndarray, " resamples"]:
    """Mean over queries in each resample of the clusters."""
    blocks = _draws(len(sums), resamples, seed)
    return np.concatenate([sums[each].sum(axis=1) / sizes[each].sum(axis=1) for each in blocks])


def _resampled_medians(
    ordered: np.ndarray, codes: np.ndarray, resamples: int, seed: int
) -> Float[np.ndarray, " resamples"]:
    """Median over queries in each resample; `ordered` values ascend, `codes` are their clusters."""
    count, medians = int(codes.max()) + 1, np.empty(resamples)
    drawn = (row for block in _draws(count, resamples, seed) for row in block)
    for i, row in enumerate(drawn):
        running = np.cumsum(np.bincount(row, minlength=count)[codes])
        low, high = np.searchsorted(running, [(running[-1] + 1) // 2, running[-1] // 2 + 1])
        medians[i] = (ordered[low] + ordered[high]) / 2
    return medians


def _draws(count: int, resamples: int, seed: int) -> Iterator[Int[np.ndarray, "some clusters"]]:
    """The clusters of each resample, some resamples at a time."""
    if resamples < 2:
        raise EvaluationError(f"{resamples} resamples give no interval; take at least 2.")
    generator = np.random.default_rng(seed)
    step = max(1, 2**22 // count)
    for first in range(0, resamples, step):
        yield generator.integers(count, size=(min(step, resamples - first), count))


def _percentiles(samples: np.ndarray, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise EvaluationError(f"the level is {level}; it must be between 0 and 1, as 0.95.")
    low, high = np.quantile(samples, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _two_sided(means: np.ndarray) -> float:
    """Twice the smaller tail beyond 0, the observed sample counted, at most 1."""
    tail = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    return min(1.0, 2 * (tail + 1) / (len(means) + 1))
