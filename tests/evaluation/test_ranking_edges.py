"""What scripts/mutation_walk.py found no test for: the query's own clip, pools of many blocks."""

import numpy as np

from wavtext.evaluation.metrics import ranks, ranks_of


def test_a_query_s_own_clip_is_not_ranked_and_not_in_the_pool():
    clips = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [0.6, 0.8]])
    labels = [[1], [0], [3], [2]]  # the other clip of the same sound
    found = ranks(clips, clips, labels, itself=np.arange(4))
    assert found.pool == 3
    # by hand: from clip 0 the others score 0.8, 0, 0.6; from clip 1: 0.8, 0.6, 0.96; ...
    assert found.best.tolist() == [1, 2, 1, 2]
    assert ranks(clips, clips, labels).best.tolist() == [2, 3, 2, 3]  # each behind itself


def test_a_pool_of_several_blocks_of_clips_ranks_as_one_matrix_does():
    generator = np.random.default_rng(0)
    clips = generator.normal(size=(40_000, 3)).astype(np.float16)
    queries = generator.normal(size=(4, 3)).astype(np.float32)
    relevant = [[0, 39_999], [16_384], [16_383, 20_000], [32_768]]
    mask = np.zeros((4, 40_000), bool)
    for query, rows in enumerate(relevant):
        mask[query, rows] = True
    whole = ranks_of(queries @ clips.astype(np.float32).T, mask)
    assert ranks(queries, clips, relevant).in_order.tolist() == whole.in_order.tolist()
