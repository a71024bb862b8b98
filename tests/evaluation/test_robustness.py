"""Each damage does what its name says, and the report says what it does to results."""

import numpy as np
import pytest
from tone_model import RATE, tone

from wavtext.errors import EvaluationError
from wavtext.evaluation.robustness import (
    DAMAGES,
    gain,
    lead_in,
    mp3,
    noise,
    robustness,
    through_rate,
)


def decibels(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


def test_gain_scales_and_clips():
    clean = tone(3)
    assert decibels(gain(clean, -20).samples) == pytest.approx(
        decibels(clean.samples) - 20, abs=0.01
    )
    assert np.abs(gain(clean, 40).samples).max() == 1.0


def test_noise_has_the_ratio_asked_for_and_its_seed():
    clean = tone(3)
    for ratio in (0.0, 20.0):
        added = noise(clean, ratio).samples - clean.samples
        assert decibels(clean.samples) - decibels(added) == pytest.approx(ratio, abs=0.3)
    assert np.array_equal(noise(clean, 5).samples, noise(clean, 5).samples)


def test_resampling_loses_what_lies_above_half_the_rate():
    high, low = tone(11), tone(0)  # 2328 Hz and 200 Hz
    assert decibels(through_rate(high, 4000).samples) < decibels(high.samples) - 20
    assert decibels(through_rate(low, 4000).samples) == pytest.approx(
        decibels(low.samples), abs=0.2
    )


def test_lead_in_is_silence_before_the_sound():
    moved = lead_in(tone(3), 0.25)
    assert moved.duration == pytest.approx(0.75)
    assert not moved.samples[: RATE // 4].any()


def test_mp3_keeps_the_sound_and_not_the_samples():
    clean = tone(3)
    coded = mp3(clean, 32_000)
    assert coded.sample_rate == clean.sample_rate
    assert coded.duration == pytest.approx(clean.duration, abs=0.12)
    assert decibels(coded.samples) == pytest.approx(decibels(clean.samples), abs=1.5)
    assert not np.array_equal(coded.samples[:1000], clean.samples[:1000])


def test_the_report_tells_harmless_from_harmful(tone_model):
    sounds = [tone(pitch, seed=pitch) for pitch in range(12)]
    queries = tone_model.embed_text([f"tone {pitch}" for pitch in range(12)])
    damages = {
        "quieter": lambda waveform: gain(waveform, -20),
        "drowned": lambda waveform: noise(waveform, -30.0),
    }
    found = robustness(tone_model, sounds, queries, np.arange(12), damages=damages)
    assert found["quieter"].cosine == pytest.approx(1, abs=1e-4)
    assert found["quieter"].overlap == 1.0
    assert found["quieter"].recall_at_10.difference.estimate == 0.0
    assert found["drowned"].cosine < 0.95
    assert found["drowned"].cosine_5_percent <= found["drowned"].cosine


def test_all_damages_can_be_done_to_a_short_clip(tone_model):
    clean = tone(2, duration=0.05)
    for damage in DAMAGES.values():
        assert np.isfinite(tone_model.embed_audio([damage(clean)])).all()


def test_no_sounds_are_an_error(tone_model):
    with pytest.raises(EvaluationError, match="no sounds"):
        robustness(tone_model, [], np.eye(12), [])
