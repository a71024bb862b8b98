"""Classification by caption and audio-to-audio retrieval by label."""

import numpy as np
import pytest
from tone_model import tone

from wavtext.errors import EvaluationError
from wavtext.evaluation.metrics import ExcludedQueriesWarning
from wavtext.evaluation.zero_shot import audio_to_audio, class_embeddings, classify

NAMES = [f"tone {pitch}" for pitch in range(12)]


def test_tones_are_told_apart_by_name(tone_model):
    sounds = [tone(pitch, seed=pitch) for pitch in (0, 3, 3, 7)]
    classes = class_embeddings(tone_model, NAMES, templates=["This is a sound of {}."])
    found = classify(
        tone_model.embed_audio(sounds), classes, ["tone 0", "tone 3", "tone 3", "tone 7"], NAMES
    )
    assert found.accuracy.estimate == 1.0
    assert found.mean_average_precision == 1.0
    assert set(found.average_precision) == {"tone 0", "tone 3", "tone 7"}
    assert len(found.absent) == 9


def test_a_clip_half_way_between_two_classes_is_wrong():
    clips = np.array([[1.0, 1.0], [1.0, 0.0]]) / np.array([[np.sqrt(2)], [1.0]])
    found = classify(clips, np.eye(2), ["a", "b"], ["a", "b"])
    assert found.correct.tolist() == [False, False]
    assert found.accuracy.estimate == 0.0


def test_average_precision_of_a_class_ranks_the_clips():
    clips = np.array([[0.9, 0.1], [0.5, 0.2], [0.7, 0.9]])
    found = classify(clips, np.eye(2), ["a", "a", "b"], ["a", "b"])
    assert found.average_precision == pytest.approx({"a": (1 + 2 / 3) / 2, "b": 1.0})


def test_an_ensemble_is_the_normalised_mean_of_its_templates(tone_model):
    one = class_embeddings(tone_model, ["tone_1"], templates=["{}", "{} 0"])
    parts = tone_model.embed_text(["tone 1", "tone 1 0"]).mean(axis=0)
    assert one[0] == pytest.approx(parts / np.linalg.norm(parts))
    assert np.linalg.norm(one) == pytest.approx(1)


def test_classes_and_templates_are_checked(tone_model):
    with pytest.raises(EvaluationError, match="different"):
        class_embeddings(tone_model, ["a", "a"])
    with pytest.raises(EvaluationError, match="once"):
        class_embeddings(tone_model, ["a"], templates=["a sound"])
    with pytest.raises(EvaluationError, match="no template"):
        class_embeddings(tone_model, ["a"], templates=[])
    with pytest.raises(EvaluationError, match="'c'"):
        classify(np.eye(2), np.eye(2), ["a", "c"], ["a", "b"])


def test_a_clip_is_never_ranked_for_itself():
    clips = np.array([[1.0, 0], [1.0, 0], [0, 1.0], [0.8, 0.6]])
    found = audio_to_audio(clips, ["x", "x", "y", "y"])
    assert found.pool == 3
    assert found.best.tolist() == [1, 1, 1, 3]


def test_identical_clips_of_other_labels_rank_first():
    found = audio_to_audio(np.ones((4, 2)), ["x", "x", "y", "y"])
    assert found.best.tolist() == [3, 3, 3, 3]


def test_a_label_without_company_is_reported():
    clips = np.eye(3)
    with pytest.raises(EvaluationError, match="1 of 3"):
        audio_to_audio(clips, ["x", "x", "lonely"])
    with pytest.warns(ExcludedQueriesWarning):
        found = audio_to_audio(clips, ["x", "x", "lonely"], no_relevant="exclude")
    assert found.excluded.tolist() == [2]
    with pytest.raises(EvaluationError, match="3 clips and 2 labels"):
        audio_to_audio(clips, ["x", "x"])
