"""Scores and relevance -> retrieval metrics, each under the name of its definition.  Pure NumPy.

Every function takes `score` and boolean `relevant` of shape (query, clip) and gives one number.
From audio to text the clips are the queries and the captions are ranked: pass both transposed.
Values for each query, for intervals and tests, come from `per_query` over `ranks_of` (a matrix) or
`ranks` (embeddings, streamed).

recall_at             any relevant clip in the top k: the paper, Mei, WavCaps, LAION;
                      MTEB's `cv_recall_at_k`
fraction_recall_at    share of the relevant clips in the top k: DCASE baseline; MTEB's `recall_at_k`
average_precision_at  (1/relevant)·Σ i/rank_i over rank_i <= k, ascending: the paper in both
                      directions (Mei), DCASE; trec_eval's `map_cut`
laion_map_at          the same with ranks in caption order, not sorted: LAION-CLAP; inflated
ndcg_at               gain 1, discount log2(rank + 1): MTEB; trec_eval's `ndcg_cut`

Conventions: rank starts at 1; of equal scores the irrelevant rank first; k beyond the pool means
the whole pool; a query without a relevant clip is an error unless `no_relevant="exclude"`, which
warns and leaves it out.
"""

import numpy as np
from jaxtyping import Bool, Float

from wavtext.evaluation.ranking import (
    ExcludedQueriesWarning,
    NoRelevant,
    Ranks,
    ranks,
    ranks_of,
    rows_with_label,
)

__all__ = [
    "ExcludedQueriesWarning",
    "Ranks",
    "audio_to_text_map_at",
    "average_precision_at",
    "fraction_recall_at",
    "laion_map_at",
    "mean_rank",
    "median_rank",
    "mteb_cv_recall_at",
    "mteb_recall_at",
    "ndcg_at",
    "per_query",
    "ranks",
    "ranks_of",
    "recall_at",
    "rows_with_label",
    "text_to_audio_map_at",
]

Score = Float[np.ndarray, "query clip"]
Relevance = Bool[np.ndarray, "query clip"]


def per_query(ranks: Ranks) -> dict[str, Float[np.ndarray, " queries"]]:
    """What a report prints, for each query; the mean over queries is the metric of that name."""
    values = {"mAP@10": ranks.average_precisions_at(10)}
    values |= {f"R@{k}": ranks.hits_at(k) for k in (1, 5, 10, 50)}
    values |= {"mAP@16": ranks.average_precisions_at(16), "nDCG@10": ranks.ndcgs_at(10)}
    values |= {f"fraction R@{k}": ranks.fractions_at(k) for k in (1, 5, 10)}
    values |= {"LAION mAP@10": ranks.unsorted_average_precisions_at(10)}
    return values | {"mean rank": ranks.best.astype(np.float64)}


def recall_at(
    score: Score, relevant: Relevance, k: int, *, no_relevant: NoRelevant = "error"
) -> float:
    """Share of queries with at least one relevant clip in the top k (the field's R@k)."""
    return float(ranks_of(score, relevant, no_relevant=no_relevant).hits_at(k).mean())


def fraction_recall_at(
    score: Score, relevant: Relevance, k: int, *, no_relevant: NoRelevant = "error"
) -> float:
    """Mean share of a query's relevant clips that are in the top k (DCASE baseline's R@k).

    With five captions a clip, R@1 from audio to text is at most 0.2.
    """
    return float(ranks_of(score, relevant, no_relevant=no_relevant).fractions_at(k).mean())


def average_precision_at(
    score: Score, relevant: Relevance, k: int, *, no_relevant: NoRelevant = "error"
) -> float:
    """Mean over queries of (1/relevant)·Σ i/rank_i over relevant clips with rank_i <= k, ascending.

    Divides by the number of relevant clips, also when it exceeds k (trec_eval's `map_cut`).
    """
    return float(ranks_of(score, relevant, no_relevant=no_relevant).average_precisions_at(k).mean())


def text_to_audio_map_at(
    score: Score, relevant: Relevance, k: int = 10, *, no_relevant: NoRelevant = "error"
) -> float:
    """Mean of 1/rank where rank <= k: mAP@k of the paper's tables from captions (rows) to clips.

    A special case of `average_precision_at`, which it is where several clips share the title.
    """
    return average_precision_at(score, relevant, k, no_relevant=no_relevant)


def audio_to_text_map_at(
    score: Score, relevant: Relevance, k: int = 10, *, no_relevant: NoRelevant = "error"
) -> float:
    """(1/n)·Σ i/rank_i over a clip's n captions with rank_i <= k: the paper's, clips to captions.

    Source: Mei et al. 2022, whose code the paper's numbers agree with; there n = 5.
    """
    return average_precision_at(score, relevant, k, no_relevant=no_relevant)


def laion_map_at(
    score: Score, relevant: Relevance, k: int = 10, *, no_relevant: NoRelevant = "error"
) -> float:
    """`audio_to_text_map_at` as LAION computes it: captions in the top k stay in caption order.

    Not a mean average precision: it can exceed 1.  Only to compare with what LAION's code prints.
    """
    found = ranks_of(score, relevant, no_relevant=no_relevant)
    return float(found.unsorted_average_precisions_at(k).mean())


def ndcg_at(
    score: Score, relevant: Relevance, k: int, *, no_relevant: NoRelevant = "error"
) -> float:
    """Mean normalised discounted cumulative gain at k, gain 1, discount log2(rank + 1)."""
    return float(ranks_of(score, relevant, no_relevant=no_relevant).ndcgs_at(k).mean())


def mteb_recall_at(
    score: Score, relevant: Relevance, k: int, *, no_relevant: NoRelevant = "error"
) -> float:
    """What MTEB prints as `recall_at_k`: `fraction_recall_at`."""
    return fraction_recall_at(score, relevant, k, no_relevant=no_relevant)


def mteb_cv_recall_at(
    score: Score, relevant: Relevance, k: int, *, no_relevant: NoRelevant = "error"
) -> float:
    """What MTEB prints as `cv_recall_at_k`: `recall_at`."""
    return recall_at(score, relevant, k, no_relevant=no_relevant)


def median_rank(score: Score, relevant: Relevance, *, no_relevant: NoRelevant = "error") -> float:
    """Median over queries of the best relevant clip's rank; 1 is best."""
    return float(np.median(ranks_of(score, relevant, no_relevant=no_relevant).best))


def mean_rank(score: Score, relevant: Relevance, *, no_relevant: NoRelevant = "error") -> float:
    """Mean over queries of the best relevant clip's rank; 1 is best."""
    return float(ranks_of(score, relevant, no_relevant=no_relevant).best.mean())
