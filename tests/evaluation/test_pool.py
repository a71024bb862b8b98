"""Pool-matched recall against enumeration of every smaller pool."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavtext.errors import EvaluationError
from wavtext.evaluation.metrics import recall_at
from wavtext.evaluation.pool import (
    clips_above,
    expected_map_at,
    expected_recall_at,
    recall_curve,
    subsampled,
)


def enumerated(score, query_clips, item_clips, k, size):
    """Mean hit and mean 1/rank within k, over queries and all pools that hold the query's clip."""
    clips = sorted(set(item_clips.tolist()))
    hits, reciprocal = [], []
    for row, own in zip(score, query_clips, strict=True):
        others = [clip for clip in clips if clip != own]
        for drawn in itertools.combinations(others, size - 1):
            rivals = row[np.isin(item_clips, drawn)]
            rank = 1 + np.count_nonzero(rivals >= row[item_clips == own].max())
            hits.append(rank <= k)
            reciprocal.append(1 / rank if rank <= k else 0.0)
    return np.mean(hits), np.mean(reciprocal)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 6), st.integers(1, 3))
def test_the_expectation_is_the_mean_over_every_smaller_pool(seed, k, size, captions):
    generator = np.random.default_rng(seed)
    item_clips = np.repeat(np.arange(6), captions)
    score = generator.integers(-3, 4, (6, len(item_clips))).astype(float)
    relevant = np.arange(6)[:, None] == item_clips
    above = clips_above(score, relevant, item_clips)
    hits, reciprocal = enumerated(score, np.arange(6), item_clips, k, size)
    assert expected_recall_at(above, k, size) == pytest.approx(hits)
    assert expected_map_at(above, k, size) == pytest.approx(reciprocal)


@pytest.mark.parametrize("captions", [1, 5])
def test_the_whole_pool_gives_the_plain_metric(captions):
    score, relevant, items = example(captions)
    above = clips_above(score, relevant, items)
    for k in (1, 10, 50):
        assert expected_recall_at(above, k, 200) == pytest.approx(recall_at(score, relevant, k))


@pytest.mark.parametrize("captions", [1, 5])
def test_drawn_pools_agree_with_the_expectation(captions):
    score, relevant, items = example(captions)
    expected = expected_recall_at(clips_above(score, relevant, items), 5, 60)
    drawn = subsampled(
        score, relevant, np.arange(200), items, lambda r: r.hits_at(5), size=60, draws=80
    )
    error = drawn.std(ddof=1) / np.sqrt(len(drawn))
    assert abs(drawn.mean() - expected) < 4 * error
    again = subsampled(
        score, relevant, np.arange(200), items, lambda r: r.hits_at(5), size=60, draws=80
    )
    assert np.array_equal(drawn, again)


def test_recall_falls_as_the_pool_grows():
    above = clips_above(*example(5))
    curve = recall_curve(above, 10, [1, 20, 50, 100, 200])
    assert curve[0] == 1.0
    assert (np.diff(curve) < 0).all()


def test_742_clips_are_a_point_or_more_easier_than_975():
    generator = np.random.default_rng(0)
    score = generator.standard_normal((975, 975))
    score[np.arange(975), np.arange(975)] += 2.9
    above = clips_above(score, np.eye(975, dtype=bool), np.arange(975))
    larger, smaller = expected_recall_at(above, 1, 975), expected_recall_at(above, 1, 742)
    assert 0.005 < smaller - larger < 0.05


def test_what_cannot_be_matched_is_refused():
    score, relevant, items = example(5)
    above = clips_above(score, relevant, items)
    with pytest.raises(EvaluationError, match="smaller pools only"):
        expected_recall_at(above, 1, 201)
    with pytest.raises(EvaluationError, match="smaller pools only"):
        expected_recall_at(above, 1, 0)
    with pytest.raises(EvaluationError, match="several clips"):
        clips_above(score, relevant, np.arange(len(items)))
    with pytest.raises(EvaluationError, match="clip labels"):
        clips_above(score, relevant, items[:-1])
    with pytest.raises(EvaluationError, match="different sizes"):
        expected_recall_at(np.array([[3, 1], [3, 2]]), 1, 2)
    with pytest.raises(EvaluationError, match="no item"):
        subsampled(score, relevant, np.arange(1, 201), items, lambda r: r.hits_at(1), size=10)


def example(captions):
    generator = np.random.default_rng(0)
    items = np.repeat(np.arange(200), captions)
    relevant = np.arange(200)[:, None] == items
    score = generator.standard_normal((200, len(items)))
    score[relevant] += 2.0
    return score, relevant, items
