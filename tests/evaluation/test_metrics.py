"""Metrics on scores small enough to check by hand, and what they refuse."""

import time
import tracemalloc

import numpy as np
import pytest

from wavtext.errors import EvaluationError
from wavtext.evaluation import metrics
from wavtext.evaluation.metrics import ExcludedQueriesWarning, per_query, ranks, ranks_of

# Two clips of three captions each as queries; captions 0-2 belong to clip 0, 3-5 to clip 1.
SCORE = np.array(
    [
        [0.1, 0.9, -0.5, 0.8, 0.3, -0.9],  # ranks of captions 0, 1, 2: 4, 1, 5
        [0.7, 0.6, 0.5, 0.4, 0.9, 0.1],  # ranks of captions 3, 4, 5: 5, 1, 6
    ]
)
RELEVANT = np.array([[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], bool)


def test_recall_counts_queries_with_any_relevant_clip():
    assert metrics.recall_at(SCORE, RELEVANT, 1) == 1.0
    assert metrics.recall_at(-SCORE, RELEVANT, 1) == 0.5
    assert metrics.mteb_cv_recall_at(-SCORE, RELEVANT, 1) == 0.5


def test_fraction_recall_counts_relevant_clips():
    assert metrics.fraction_recall_at(SCORE, RELEVANT, 1) == pytest.approx(1 / 3)
    assert metrics.fraction_recall_at(SCORE, RELEVANT, 5) == pytest.approx((3 / 3 + 2 / 3) / 2)
    assert metrics.mteb_recall_at(SCORE, RELEVANT, 5) == pytest.approx(5 / 6)


def test_average_precision_divides_by_the_number_of_relevant_clips():
    first, second = (1 / 1 + 2 / 4 + 3 / 5) / 3, (1 / 1 + 2 / 5) / 3  # rank 6 is beyond k = 5
    expected = (first + second) / 2
    assert metrics.average_precision_at(SCORE, RELEVANT, 5) == pytest.approx(expected)
    assert metrics.audio_to_text_map_at(SCORE, RELEVANT, 5) == pytest.approx(expected)


def test_text_to_audio_map_is_the_reciprocal_rank_inside_k():
    score = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.0, -0.1, -0.2]])
    relevant = np.eye(3, dtype=bool)  # ranks 3, 2, 3
    assert metrics.text_to_audio_map_at(score, relevant) == pytest.approx(
        (1 / 3 + 1 / 2 + 1 / 3) / 3
    )
    assert metrics.text_to_audio_map_at(score, relevant, 2) == pytest.approx(1 / 6)


def test_laions_map_forgets_the_sort_and_is_inflated():
    first = (1 / 4 + 2 / 1 + 3 / 5) / 3  # captions in their own order
    second = (1 / 5 + 2 / 1) / 3  # the third is beyond k = 5
    assert metrics.laion_map_at(SCORE, RELEVANT, 5) == pytest.approx((first + second) / 2)
    assert metrics.laion_map_at(SCORE, RELEVANT, 5) > metrics.average_precision_at(
        SCORE, RELEVANT, 5
    )


def test_laions_map_counts_only_captions_inside_the_cut_off():
    score = np.array([[-1.0, 0.9, 0.5, 0.4]])
    relevant = np.array([[True, True, False, False]])  # ranks 4 and 1
    assert metrics.laion_map_at(score, relevant, 2) == pytest.approx((1 / 1) / 2)


def test_ndcg_by_hand():
    gain = 1 / np.log2(2) + 1 / np.log2(5) + 1 / np.log2(6)
    ideal = 1 / np.log2(2) + 1 / np.log2(3) + 1 / np.log2(4)
    assert metrics.ndcg_at(SCORE[:1], RELEVANT[:1], 10) == pytest.approx(gain / ideal)
    assert metrics.ndcg_at(SCORE[:1], RELEVANT[:1], 1) == pytest.approx(1.0)


def test_median_and_mean_rank_are_of_the_best_relevant_clip():
    score = np.array([[3.0, 2, 1, 0], [3, 2, 1, 0], [3, 2, 1, 0]])
    relevant = np.array([[1, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]], bool)
    assert metrics.median_rank(score, relevant) == 2
    assert metrics.mean_rank(score, relevant) == pytest.approx(7 / 3)


def test_ties_are_settled_against_the_model():
    score = np.zeros((1, 4))
    relevant = np.array([[False, True, False, True]])
    assert ranks_of(score, relevant).ascending.tolist() == [3, 4]
    assert metrics.recall_at(score, relevant, 2) == 0.0


def test_a_collapsed_model_never_hits_before_the_end_of_the_pool():
    score, relevant = np.ones((8, 8)), np.eye(8, dtype=bool)
    assert metrics.recall_at(score, relevant, 7) == 0.0
    assert metrics.recall_at(score, relevant, 8) == 1.0


def test_negative_scores_rank_like_positive_ones():
    assert metrics.average_precision_at(SCORE - 10, RELEVANT, 10) == pytest.approx(
        metrics.average_precision_at(SCORE, RELEVANT, 10)
    )


def test_k_beyond_the_pool_is_the_whole_pool():
    assert metrics.recall_at(SCORE, RELEVANT, 1000) == 1.0
    whole = metrics.average_precision_at(SCORE, RELEVANT, 6)
    assert metrics.average_precision_at(SCORE, RELEVANT, 1000) == whole


@pytest.mark.parametrize("k", [0, -1, 1.5, True, None])
def test_a_k_that_is_no_positive_whole_number_is_refused(k):
    for metric in (metrics.recall_at, metrics.average_precision_at, metrics.ndcg_at):
        with pytest.raises(EvaluationError, match="k is"):
            metric(SCORE, RELEVANT, k)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_with_their_place(bad):
    score = SCORE.copy()
    score[1, 2] = bad
    with pytest.raises(EvaluationError, match="query 1, clip 2"):
        metrics.recall_at(score, RELEVANT, 1)


def test_different_shapes_are_refused():
    with pytest.raises(EvaluationError, match="transpose"):
        metrics.recall_at(SCORE, RELEVANT.T, 1)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (4,)])
def test_no_queries_and_no_clips_are_refused(shape):
    with pytest.raises(EvaluationError, match="shape"):
        metrics.recall_at(np.zeros(shape), np.zeros(shape, bool), 1)


def test_relevance_must_be_boolean():
    with pytest.raises(EvaluationError, match="boolean"):
        metrics.recall_at(SCORE, RELEVANT * 0.5, 1)
    assert metrics.recall_at(SCORE, RELEVANT.astype(int), 1) == 1.0


def test_a_query_without_relevant_clip_is_an_error_unless_excluded_and_reported():
    relevant = RELEVANT.copy()
    relevant[0] = False
    with pytest.raises(EvaluationError, match="1 of 2 queries"):
        metrics.recall_at(SCORE, relevant, 1)
    with pytest.warns(ExcludedQueriesWarning, match="1 of 2"):
        found = ranks_of(SCORE, relevant, no_relevant="exclude")
    assert found.excluded.tolist() == [0]
    assert found.kept.tolist() == [1]
    assert found.hits_at(1).tolist() == [1.0]


def test_nothing_relevant_at_all_is_an_error_under_every_rule():
    with pytest.raises(EvaluationError, match="nothing to measure"):
        metrics.recall_at(SCORE, np.zeros_like(RELEVANT), 1, no_relevant="exclude")
    with pytest.raises(EvaluationError, match="no_relevant"):
        metrics.recall_at(SCORE, RELEVANT, 1, no_relevant="zero")  # type: ignore[arg-type]


def test_per_query_values_average_to_the_metrics():
    values = per_query(ranks_of(SCORE, RELEVANT))
    assert values["mAP@10"].mean() == metrics.average_precision_at(SCORE, RELEVANT, 10)
    assert values["R@5"].mean() == metrics.recall_at(SCORE, RELEVANT, 5)
    assert values["mean rank"].mean() == metrics.mean_rank(SCORE, RELEVANT)
    assert all(each.shape == (2,) for each in values.values())


def embeddings(queries=60, clips=40, dim=16, seed=0):
    """Embeddings whose products are exact in float32, with ties."""
    generator = np.random.default_rng(seed)
    return (
        generator.integers(-3, 4, (queries, dim)).astype(np.float32),
        generator.integers(-3, 4, (clips, dim)).astype(np.float32),
    )


@pytest.mark.parametrize("block_bytes", [1, 4 * 40 * 7, 2**20])
def test_streamed_ranks_equal_those_of_the_matrix(block_bytes):
    queries, clips = embeddings()
    relevant = np.random.default_rng(1).random((60, 40)) < 0.1
    relevant[np.arange(60), np.arange(60) % 40] = True
    rows = [np.flatnonzero(each) for each in relevant]
    streamed = ranks(queries, clips, rows, block_bytes=block_bytes)
    whole = ranks_of(queries @ clips.T, relevant)
    for name in ("ascending", "in_order", "offsets"):
        assert np.array_equal(getattr(streamed, name), getattr(whole, name))
    assert streamed.pool == whole.pool == 40


def test_streamed_ranks_take_one_row_a_query_half_precision_and_memory_maps(tmp_path):
    queries, clips = embeddings()
    np.save(tmp_path / "clips.npy", clips.astype(np.float16))
    mapped = np.load(tmp_path / "clips.npy", mmap_mode="r")
    found = ranks(queries.astype(np.float16), mapped, np.arange(60) % 40)
    expected = ranks_of(queries @ clips.T, np.arange(60)[:, None] % 40 == np.arange(40))
    assert np.array_equal(np.asarray(found), expected.best)
    assert len(found) == 60


def test_clothos_matrix_takes_no_second():
    score = np.random.default_rng(0).standard_normal((5225, 1045), np.float32)
    relevant = np.repeat(np.arange(1045), 5)[:, None] == np.arange(1045)
    start = time.process_time()
    per_query(ranks_of(score, relevant))
    per_query(ranks_of(score.T, relevant.T))
    assert time.process_time() - start < 3  # 0.2-0.4 s where it was written; the bound is 1 s


def test_streamed_ranks_never_hold_the_matrix():
    generator = np.random.default_rng(0)
    queries = generator.standard_normal((200, 8), np.float32)
    pool = generator.standard_normal((50_000, 8), np.float32)
    tracemalloc.start()
    ranks(queries, pool, np.arange(200), block_bytes=2**20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20  # the matrix would be 40 MB


def test_rows_with_label_finds_every_clip_of_the_title():
    rows = metrics.rows_with_label(["dog", "cat", "cow"], ["cat", "dog", "cat"])
    assert [each.tolist() for each in rows] == [[1], [0, 2], []]


def test_streamed_ranks_refuse_what_they_cannot_rank():
    queries, clips = embeddings()
    good = list(np.arange(60) % 40)
    with pytest.raises(EvaluationError, match="pool has 40"):
        ranks(queries, clips, [*good[:-1], 40])
    with pytest.raises(EvaluationError, match="names clip -1"):
        ranks(queries, clips, [*good[:-1], -1])
    with pytest.raises(EvaluationError, match="twice"):
        ranks(queries, clips, [[each] for each in good[:-1]] + [[3, 3]])
    with pytest.raises(EvaluationError, match="60 queries but relevance for 2"):
        ranks(queries, clips, [[0], [1]])
    with pytest.raises(EvaluationError, match="no relevant clip"):
        ranks(queries, clips, [[each] for each in good[:-1]] + [[]])
    with pytest.raises(EvaluationError, match="dimensions"):
        ranks(queries[:, :8], clips, good)
    clips[7, 3] = np.nan
    with pytest.raises(EvaluationError, match="clip 7 is not finite"):
        ranks(queries, clips, good)
    with pytest.raises(EvaluationError, match="row numbers"):
        ranks(queries, embeddings()[1], np.array(good) * 1.0)
