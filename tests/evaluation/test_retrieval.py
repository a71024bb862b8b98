"""A manifest as a task: what is relevant for what, what is refused, what the report says."""

from dataclasses import replace

import numpy as np
import pytest
from tone_model import ToneModel

from wavtext.corpora.manifest import Clip
from wavtext.errors import EvaluationError
from wavtext.evaluation.metrics import recall_at
from wavtext.evaluation.pool import expected_recall_at
from wavtext.evaluation.retrieval import compare_evaluations, evaluate, retrieval_task


def clip(name, *captions, group=""):
    return Clip(clip_id=name, path=f"{name}.wav", captions=captions, group=group)


def measured(task, score_noise=0.0, seed=0):
    """An evaluation of embeddings that know the right answers, with noise."""
    generator = np.random.default_rng(seed)
    number = len(task.clips)
    audio = np.eye(number)
    text = np.stack([audio[rows].mean(axis=0) for rows in task.clips_of])
    audio = audio + score_noise * generator.standard_normal(audio.shape)
    text = text + score_noise * generator.standard_normal(text.shape)
    audio, text = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (audio, text))
    return evaluate(
        task, audio, text, name=f"m{score_noise}", identity="i" * 16, resamples=50, seed=0
    )


def test_a_caption_asks_for_its_own_clip():
    task = retrieval_task([clip("a", "Dog", "bark"), clip("b", "dog")])
    assert task.captions == ("Dog", "bark", "dog")
    assert [rows.tolist() for rows in task.clips_of] == [[0], [0], [1]]
    assert [rows.tolist() for rows in task.captions_of] == [[0, 1], [2]]


def test_equal_captions_become_one_query_with_several_clips():
    clips = [clip("a", "Dog", "bark"), clip("b", " dog "), clip("c", "cat", "Cat")]
    task = retrieval_task(clips, relevance="same-caption")
    assert task.captions == ("Dog", "bark", "cat")
    assert [rows.tolist() for rows in task.clips_of] == [[0, 1], [0], [2]]
    assert [rows.tolist() for rows in task.captions_of] == [[0, 1], [0], [2]]


def test_families_are_the_clusters():
    clips = [clip("a", "x", group="g"), clip("b", "x", "y", group="g"), clip("c", "x", "z")]
    own = retrieval_task(clips)
    assert own.audio_clusters == [("group", "g"), ("group", "g"), ("clip", "c")]
    assert own.text_clusters == [("group", "g")] * 3 + [("clip", "c")] * 2
    same = retrieval_task(clips, relevance="same-caption")
    assert same.text_clusters == [("caption", "x"), ("group", "g"), ("clip", "c")]


def test_what_cannot_be_a_task_is_refused():
    with pytest.raises(EvaluationError, match="'a' comes twice"):
        retrieval_task([clip("a", "x"), clip("a", "y")])
    with pytest.raises(EvaluationError, match="no clips"):
        retrieval_task([])
    with pytest.raises(EvaluationError, match="1 of 2 clips have no caption"):
        retrieval_task([clip("a", "x"), clip("b", " ")])
    assert retrieval_task([clip("a", "x"), clip("b", " ")], no_captions="exclude").uncaptioned == (
        "b",
    )
    with pytest.raises(EvaluationError, match="no clips with captions"):
        retrieval_task([clip("b")], no_captions="exclude")
    with pytest.raises(EvaluationError, match="relevance is"):
        retrieval_task([clip("a", "x")], relevance="any")


def test_both_directions_agree_with_the_matrix():
    task = retrieval_task([clip(f"c{i}", f"one {i}", f"two {i}") for i in range(60)])
    found = measured(task, 0.4)
    score = found.text @ found.audio.T
    relevant = np.repeat(np.arange(60), 2)[:, None] == np.arange(60)
    text, audio = found.text_to_audio, found.audio_to_text
    assert text.intervals["R@5"].estimate == pytest.approx(recall_at(score, relevant, 5))
    assert audio.intervals["R@5"].estimate == pytest.approx(recall_at(score.T, relevant.T, 5))
    assert (text.ranks.pool, audio.ranks.pool) == (60, 120)
    assert text.intervals["R@5"].low < text.intervals["R@5"].estimate < text.intervals["R@5"].high


def test_pool_matched_recall_comes_for_one_clip_a_caption_only():
    clips = [clip(f"c{i}", f"one {i}", f"two {i}") for i in range(60)]
    found = measured(retrieval_task(clips), 0.6)
    best = found.text_to_audio.ranks.best
    above = np.stack([60 - best, best - 1], axis=1)
    assert found.text_to_audio.pool_matched["R@5"][50] == pytest.approx(
        expected_recall_at(above, 5, 50)
    )
    assert (
        found.audio_to_text.pool_matched["R@1"][50] >= found.audio_to_text.intervals["R@1"].estimate
    )
    same = retrieval_task(clips, relevance="same-caption")
    assert measured(same, 0.6).text_to_audio.pool_matched == {}


def test_a_better_model_is_found_better_and_holm_never_lowers_p():
    task = retrieval_task([clip(f"c{i}", f"one {i}") for i in range(80)])
    compared = compare_evaluations(measured(task, 0.1), measured(task, 1.0), resamples=100)
    comparison, adjusted = compared["text_to_audio"]["R@1"]
    assert comparison.difference.low > 0
    assert adjusted >= comparison.permutation_p
    assert adjusted < 0.05


def test_a_collapsed_model_scores_worse_than_chance_and_shuffled_captions_score_chance():
    clips = [clip(f"c{i}", f"one {i}") for i in range(100)]
    task = retrieval_task(clips)
    flat = np.ones((100, 4)) / 2
    assert (
        evaluate(task, flat, flat, name="flat", identity="0", resamples=20)
        .text_to_audio.intervals["R@10"]
        .estimate
        == 0
    )
    audio = np.eye(100)
    text = audio[np.random.default_rng(0).permutation(100)]
    # ties of the identity matrix are broken against it: only a fixed point hits
    found = evaluate(task, audio, text, name="shuffled", identity="0", resamples=20)
    assert found.text_to_audio.intervals["R@1"].estimate <= 0.05


def test_identity_and_names_reach_the_result(tone_model):
    task = retrieval_task([replace(clip("a", "tone 1")), clip("b", "tone 2")])
    rows = ToneModel().embed_text(["tone 1", "tone 2"])
    found = evaluate(task, rows, rows, name="tone", identity="abc", resamples=20)
    assert (found.name, found.identity) == ("tone", "abc")
    assert found.text_to_audio.intervals["median rank"].estimate == 1
