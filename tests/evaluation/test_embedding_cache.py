"""Embedding a manifest: once, by model and content, and honest about what cannot be read."""

from dataclasses import replace

import numpy as np
import pytest
from tone_model import ToneModel

from wavtext.errors import EvaluationError
from wavtext.evaluation.embedding import embed_captions, embed_clips


def test_a_second_run_embeds_nothing(tone_model, tone_clips, tmp_path):
    cache = tmp_path / "cache.sqlite"
    first, failed = embed_clips(tone_model, tone_clips, cache=cache)
    texts = embed_captions(tone_model, ["tone 1", "tone 2", "tone 1"], cache=cache)
    assert (tone_model.sounds, tone_model.texts, failed) == (12, 2, [])
    second, _ = embed_clips(tone_model, tone_clips, cache=cache)
    assert np.array_equal(embed_captions(tone_model, ["tone 1", "tone 2"], cache=cache), texts[:2])
    assert (tone_model.sounds, tone_model.texts) == (12, 2)
    assert np.array_equal(first, second)


def test_the_cache_goes_by_content_not_by_name(tone_model, tone_clips, tmp_path):
    cache = tmp_path / "cache.sqlite"
    embed_clips(tone_model, tone_clips, cache=cache)
    renamed = tone_clips[0].path.rename(tmp_path / "renamed.wav")
    embed_clips(tone_model, [replace(tone_clips[0], path=renamed)], cache=cache)
    assert tone_model.sounds == 12
    renamed.write_bytes(tone_clips[1].path.read_bytes()[:-200])
    embed_clips(tone_model, [replace(tone_clips[0], path=renamed)], cache=cache)
    assert tone_model.sounds == 13


def test_another_model_does_not_take_its_embeddings(tone_clips, tmp_path):
    cache = tmp_path / "cache.sqlite"
    one, _ = embed_clips(ToneModel(), tone_clips, cache=cache)
    other, _ = embed_clips(ToneModel("tone-2", blur=1.0), tone_clips, cache=cache)
    assert not np.allclose(one, other)


def test_unreadable_clips_are_named_and_left_out(tone_model, tone_clips, tmp_path):
    tone_clips[3].path.write_text("not a sound")
    tone_clips[5].path.unlink()
    rows, failed = embed_clips(tone_model, tone_clips, cache=tmp_path / "cache.sqlite")
    assert rows.shape == (10, 12)
    assert [each.clip_id for each in failed] == ["clip03", "clip05"]
    assert all(each.reason for each in failed)


def test_nothing_readable_and_no_captions_are_errors(tone_model, tone_clips):
    for clip in tone_clips:
        clip.path.unlink()
    with pytest.raises(EvaluationError, match="none of 12"):
        embed_clips(tone_model, tone_clips)
    with pytest.raises(EvaluationError, match="no captions"):
        embed_captions(tone_model, [])


def test_a_file_that_is_no_cache_is_refused(tone_model, tone_clips, tmp_path):
    (tmp_path / "cache.sqlite").write_text("these are not embeddings, " * 100)
    with pytest.raises(EvaluationError, match="not an embedding cache"):
        embed_clips(tone_model, tone_clips, cache=tmp_path / "cache.sqlite")


def test_progress_ends_at_the_number_of_clips(tone_model, tone_clips, tmp_path):
    seen = []
    embed_clips(tone_model, tone_clips, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (12, 12)
    assert len(seen) == 12
