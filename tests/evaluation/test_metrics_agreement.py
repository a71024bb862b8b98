"""Metrics against a slow independent implementation, trec_eval, and the paper's own rows."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from wavtext.evaluation import metrics
from wavtext.evaluation.metrics import per_query, ranks_of


def slow_ranks(score, relevant):
    """Sort the pool of each query in plain Python, irrelevant first among equals."""
    found = []
    for row, good in zip(score.tolist(), relevant.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda clip: (-row[clip], good[clip]))
        found.append({clip: place for place, clip in enumerate(order, 1) if good[clip]})
    return found


def slow_metrics(score, relevant, k):
    """Every metric by its definition, one query and one clip at a time."""
    total = dict.fromkeys(("recall", "fraction", "map", "ndcg", "laion", "mean"), 0.0)
    everything = slow_ranks(score, relevant)
    for places in everything:
        ascending = sorted(places.values())
        inside = [rank for rank in ascending if rank <= k]
        total["recall"] += 1.0 if inside else 0.0
        total["fraction"] += len(inside) / len(places)
        total["map"] += sum(i / rank for i, rank in enumerate(inside, 1)) / len(places)
        best = sum(1 / math.log2(i + 1) for i in range(1, min(k, len(places)) + 1))
        total["ndcg"] += sum(1 / math.log2(rank + 1) for rank in inside) / best
        unsorted = [places[clip] for clip in sorted(places) if places[clip] <= k]
        total["laion"] += sum(i / rank for i, rank in enumerate(unsorted, 1)) / len(places)
        total["mean"] += ascending[0]
    return {name: value / len(everything) for name, value in total.items()}


@st.composite
def scored(draw, distinct=False):
    """Scores, mostly with ties, and relevance with at least one clip a query."""
    shape = (draw(st.integers(1, 6)), draw(st.integers(1, 12)))
    if distinct:
        order = draw(st.permutations(range(shape[0] * shape[1])))
        score = np.array(order, float).reshape(shape) - shape[0] * shape[1] / 2
    else:
        score = draw(hnp.arrays(np.int64, shape, elements=st.integers(-3, 3))) / 4.0
    relevant = draw(hnp.arrays(bool, shape))
    sure = draw(hnp.arrays(np.int64, shape[0], elements=st.integers(0, shape[1] - 1)))
    relevant[np.arange(shape[0]), sure] = True
    return score, relevant


@settings(max_examples=150, deadline=None)
@given(scored(), st.integers(1, 15))
def test_metrics_agree_with_the_slow_implementation(data, k):
    score, relevant = data
    slow = slow_metrics(score, relevant, k)
    fast = {
        "recall": metrics.recall_at(score, relevant, k),
        "fraction": metrics.fraction_recall_at(score, relevant, k),
        "map": metrics.average_precision_at(score, relevant, k),
        "ndcg": metrics.ndcg_at(score, relevant, k),
        "laion": metrics.laion_map_at(score, relevant, k),
        "mean": metrics.mean_rank(score, relevant),
    }
    assert fast == pytest.approx(slow, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(scored(), st.integers(1, 12))
def test_metrics_grow_with_k_and_ignore_the_order_of_clips(data, k):
    score, relevant = data
    order = np.random.default_rng(0).permutation(score.shape[1])
    for metric in (metrics.recall_at, metrics.fraction_recall_at, metrics.average_precision_at):
        assert metric(score, relevant, k) <= metric(score, relevant, k + 1)
        assert metric(score[:, order], relevant[:, order], k) == pytest.approx(
            metric(score, relevant, k)
        )


@settings(max_examples=40, deadline=None)
@given(scored(distinct=True), st.sampled_from([1, 3, 10]))
def test_metrics_agree_with_trec_eval_where_it_defines_them(data, k):
    ir_measures = pytest.importorskip("ir_measures", reason='needs "pip install ir-measures"')
    score, relevant = data
    judged = {
        f"q{q}": {f"d{d}": int(good) for d, good in enumerate(row)}
        for q, row in enumerate(relevant)
    }
    run = {f"q{q}": {f"d{d}": float(s) for d, s in enumerate(row)} for q, row in enumerate(score)}
    theirs = {
        str(measure): value
        for measure, value in ir_measures.calc_aggregate(
            [ir_measures.parse_measure(f"{name}@{k}") for name in ("AP", "nDCG", "R", "Success")],
            judged,
            run,
        ).items()
    }
    assert theirs == pytest.approx(
        {
            f"AP@{k}": metrics.average_precision_at(score, relevant, k),
            f"nDCG@{k}": metrics.ndcg_at(score, relevant, k),
            f"R@{k}": metrics.fraction_recall_at(score, relevant, k),
            f"Success@{k}": metrics.recall_at(score, relevant, k),
        },
        abs=1e-6,
    )


# The paper's Table 4, CNN14 + HTSAT: clips; R@1, 5, 10, 50 and mAP@10 from text to audio; the same
# from audio to text; and the parameters of `simulated`, fitted to the recalls, never to mAP.
# 3.6 points are two standard errors of a recall over 742 clips: the size of one draw's accident.
PAPER = {
    "AudioCaps": (
        742,
        ([34.69, 70.22, 82.00, 97.28], 49.45),
        ([41.91, 73.18, 84.64, 97.71], 30.81),
        (2.8626, 0.4898, 0.4532, 0.7468),
    ),
    "Clotho": (
        1045,
        ([16.75, 41.09, 54.07, 83.79], 27.12),
        ([20.00, 44.88, 58.66, 87.65], 13.65),
        (2.4516, 0.5424, 0.5058, 0.7476),
    ),
}


@pytest.mark.parametrize("corpus", PAPER)
def test_scores_with_the_papers_recalls_have_its_map_under_meis_definition_alone(corpus):
    clips, (text_recalls, text_map), (audio_recalls, audio_map), parameters = PAPER[corpus]
    text, audio = simulated(clips, *parameters)
    assert percent(text, "R@1", "R@5", "R@10", "R@50") == pytest.approx(text_recalls, abs=3.6)
    assert percent(audio, "R@1", "R@5", "R@10", "R@50") == pytest.approx(audio_recalls, abs=3.6)
    assert percent(text, "mAP@10") == pytest.approx([text_map], abs=1)
    assert percent(audio, "mAP@10") == pytest.approx([audio_map], rel=0.1)
    assert percent(audio, "LAION mAP@10")[0] > 1.3 * audio_map
    best = audio["mean rank"]
    assert 100 * np.where(best <= 10, 1 / best, 0).mean() > 1.7 * audio_map


def simulated(clips, separation, clip_spread, caption_spread, sibling_share):
    """Per-query values, both directions, of normal scores; five captions a clip score alike."""
    generator = np.random.default_rng(0)
    score = generator.standard_normal((clips, 5 * clips), dtype=np.float32)
    clip_part = generator.standard_normal((clips, 1))
    caption_part = generator.standard_normal((clips, 5))
    score *= np.sqrt(1 - sibling_share)
    siblings = generator.standard_normal((clips, clips), dtype=np.float32)
    score += np.sqrt(sibling_share) * np.repeat(siblings, 5, axis=1)
    relevant = np.arange(clips)[:, None] == np.repeat(np.arange(clips), 5)
    own = separation + clip_spread * clip_part + caption_spread * caption_part
    score[relevant] = own.ravel()
    return per_query(ranks_of(score.T, relevant.T)), per_query(ranks_of(score, relevant))


def percent(values, *names):
    return [100 * float(values[name].mean()) for name in names]
