"""Intervals, tests and seeds: against closed forms, enumeration, and data of known difference."""

import itertools
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavtext.errors import EvaluationError
from wavtext.evaluation.statistics import (
    bootstrap,
    compare,
    holm,
    permutation_test,
    pool_seeds,
    sign_test,
)


def test_the_interval_of_independent_queries_is_the_binomial_one():
    hits = (np.arange(2000) % 10 < 3).astype(float)
    found = bootstrap(hits, np.arange(2000), resamples=4000)
    half = 1.96 * math.sqrt(0.3 * 0.7 / 2000)
    assert found.estimate == pytest.approx(0.3)
    assert found.low == pytest.approx(0.3 - half, abs=0.003)
    assert found.high == pytest.approx(0.3 + half, abs=0.003)


def test_five_equal_captions_a_clip_widen_the_interval_by_the_root_of_five():
    hits = np.repeat((np.arange(400) % 10 < 3).astype(float), 5)
    clustered = bootstrap(hits, np.repeat(np.arange(400), 5), resamples=4000)
    naive = bootstrap(hits, np.arange(2000), resamples=4000)
    ratio = (clustered.high - clustered.low) / (naive.high - naive.low)
    assert ratio == pytest.approx(math.sqrt(5), rel=0.1)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    generator = np.random.default_rng(3)
    clips = np.repeat(np.arange(150), 3)
    covered = 0
    for trial in range(200):
        difficulty = generator.normal(0.0, 1.0, 150)
        values = np.repeat(difficulty, 3) + generator.normal(0.0, 1.0, 450)
        found = bootstrap(values, clips, resamples=400, seed=trial)
        covered += found.low <= 0 <= found.high
    assert 180 <= covered <= 199


def test_clips_with_more_captions_weigh_more_as_in_the_mean_over_queries():
    values = np.array([1.0, 1.0, 1.0, 0.0])
    assert bootstrap(values, ["a", "a", "a", "b"]).estimate == 0.75


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(100)
    clips = np.arange(100)
    assert bootstrap(values, clips, seed=7) == bootstrap(values, clips, seed=7)
    assert bootstrap(values, clips, seed=7) != bootstrap(values, clips, seed=8)


def test_the_median_interval_holds_the_median():
    ranks = np.random.default_rng(0).geometric(0.1, 500)
    found = bootstrap(ranks, np.arange(500), statistic="median", resamples=500)
    assert found.estimate == np.median(ranks)
    assert found.low <= found.estimate <= found.high
    assert found.high - found.low < 5
    two_clips = bootstrap(np.array([1, 1, 9, 9]), [0, 0, 1, 1], statistic="median", resamples=200)
    assert (two_clips.low, two_clips.estimate) == (1, 5)


@given(st.lists(st.integers(-2, 2), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_the_sign_test_is_the_binomial_tail(differences):
    better, worse = sum(d > 0 for d in differences), sum(d < 0 for d in differences)
    total, fewer = better + worse, min(better, worse)
    tail = sum(math.comb(total, i) for i in range(fewer + 1)) / 2**total
    assert sign_test(np.array(differences)) == pytest.approx(min(1.0, 2 * tail))


def test_the_sign_test_is_exact_for_thousands_of_pairs():
    assert sign_test(np.repeat([1.0, -1.0], [3000, 2000])) == pytest.approx(1.17e-45, rel=0.1)
    assert sign_test(np.zeros(4)) == 1.0


@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
@settings(max_examples=40, deadline=None)
def test_the_permutation_test_enumerates_all_flips_of_a_few(differences):
    values = [d for d in differences if d]
    flips = itertools.product((1, -1), repeat=len(values))
    totals = [abs(sum(s * d for s, d in zip(signs, values, strict=True))) for signs in flips]
    expected = np.mean([total >= abs(sum(values)) for total in totals]) if values else 1.0
    assert permutation_test(np.array(differences, float)) == pytest.approx(expected)


def test_a_drawn_permutation_test_comes_near_the_enumeration():
    differences = np.random.default_rng(0).normal(0.3, 1, 16)
    exact = permutation_test(differences, permutations=2**16)
    drawn = permutation_test(differences, permutations=20_000)
    assert drawn == pytest.approx(exact, abs=0.01)
    assert permutation_test(np.ones(100)) == 1 / 10_001


def test_two_equal_models_do_not_differ():
    values = np.random.default_rng(0).random(300)
    found = compare(values, values, np.arange(300))
    assert (found.difference.low, found.difference.estimate, found.difference.high) == (0, 0, 0)
    assert (found.bootstrap_p, found.sign_p, found.permutation_p) == (1, 1, 1)
    assert (found.better, found.worse) == (0, 0)


def test_pairing_finds_a_difference_that_separate_intervals_hide():
    generator = np.random.default_rng(0)
    difficulty = generator.normal(0, 1, 400)
    b = difficulty + generator.normal(0, 0.1, 400)
    a = difficulty + 0.05 + generator.normal(0, 0.1, 400)
    clips = np.arange(400)
    separate = [bootstrap(each, clips) for each in (a, b)]
    assert separate[0].low < separate[1].high
    found = compare(a, b, clips)
    assert found.difference.low > 0
    assert max(found.bootstrap_p, found.sign_p, found.permutation_p) < 0.01
    assert compare(b, a, clips).difference.estimate == -found.difference.estimate


def test_tests_between_equally_good_models_reject_as_often_as_they_say():
    generator = np.random.default_rng(1)
    rejected = np.zeros(3)
    clips = np.repeat(np.arange(60), 5)
    for trial in range(150):
        a, b = (generator.normal(0, 1, 60)[clips] for _ in range(2))
        found = compare(a, b, clips, resamples=200, seed=trial)
        p_values = (found.bootstrap_p, found.sign_p, found.permutation_p)
        rejected += np.array(p_values) < 0.05
    assert (rejected <= 17).all()  # 7.5 expected; without clusters some 70


def test_holm_by_hand():
    adjusted = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert adjusted == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert list(adjusted) == ["a", "b", "c", "d"]
    assert holm({"a": 0.6, "b": 0.7}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
    with pytest.raises(EvaluationError, match="'a'"):
        holm({"a": 1.2})


def test_seeds_widen_the_interval_and_one_seed_says_so():
    generator = np.random.default_rng(0)
    base = generator.random(500)
    clips = np.arange(500)
    one = pool_seeds([base], clips)
    same = pool_seeds([base, base, base], clips)
    spread = pool_seeds([base - 0.1, base, base + 0.1], clips)
    assert one.seed_deviation is None
    assert same.seed_deviation == 0
    assert same.interval.low == pytest.approx(one.interval.low)
    assert spread.seed_deviation == pytest.approx(0.1)
    half = math.hypot(1.96 * spread.clip_deviation, 4.303 * 0.1 / math.sqrt(3))
    assert spread.interval.high - spread.interval.estimate == pytest.approx(half)
    assert len(spread.per_seed) == 3


def test_the_pooled_p_belongs_to_the_pooled_interval():
    values = np.random.default_rng(0).normal(0.1, 1, (3, 400))
    found = pool_seeds(values, np.arange(400))
    half = found.interval.high - found.interval.estimate
    edge = pool_seeds(values - found.interval.estimate + half, np.arange(400))
    assert edge.interval.low == pytest.approx(0, abs=1e-12)
    assert edge.p == pytest.approx(0.05, abs=1e-4)
    assert pool_seeds(values - values.mean(), np.arange(400)).p == pytest.approx(1)
    assert pool_seeds(np.zeros((2, 5)), np.arange(5)).p == 1
    assert pool_seeds(np.ones((2, 5)), np.arange(5)).p == 0


def test_a_thousand_resamples_of_five_thousand_queries_are_no_wait():
    start = time.process_time()
    bootstrap(np.random.default_rng(0).random(5000), np.arange(5000) // 5)
    compare(np.zeros(5000), np.ones(5000), np.arange(5000))
    bootstrap(np.arange(5000), np.arange(5000) // 5, statistic="median")
    assert time.process_time() - start < 10.0  # bound: 10 s


def test_values_without_meaning_are_refused():
    with pytest.raises(EvaluationError, match="not finite"):
        bootstrap(np.array([1.0, np.nan]), [0, 1])
    with pytest.raises(EvaluationError, match="3 cluster labels"):
        bootstrap(np.ones(2), [0, 1, 2])
    with pytest.raises(EvaluationError, match="at least one"):
        bootstrap(np.ones(0), [])
    with pytest.raises(EvaluationError, match="same queries"):
        compare(np.ones(2), np.ones(3), [0, 1])
    with pytest.raises(EvaluationError, match="level"):
        bootstrap(np.ones(2), [0, 1], level=95)
    with pytest.raises(EvaluationError, match="seeds"):
        pool_seeds(np.ones(5), np.arange(5))
