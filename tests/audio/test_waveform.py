"""A Waveform holds one channel of finite float32 samples, and says what is wrong with others."""

import dataclasses

import numpy as np
import pytest

from wavtext.audio.waveform import Waveform, is_silent, peak
from wavtext.errors import AudioError, EmptyAudioError


def test_samples_become_float32_and_duration_is_in_seconds():
    waveform = Waveform(np.zeros(22_050) + 0.5, 44_100)
    assert waveform.samples.dtype == np.float32
    assert waveform.duration == 0.5


def test_a_list_of_floats_is_a_sound():
    assert Waveform([0.0, 0.5, -0.5], 8_000).samples.tolist() == [0.0, 0.5, -0.5]


def test_a_waveform_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Waveform(np.ones(4), 8_000).sample_rate = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (np.array([-32_768, 0, 16_384], np.int16), [-1.0, 0.0, 0.5]),
        (np.array([-(2**31), 0, 2**30], np.int32), [-1.0, 0.0, 0.5]),
        (np.array([0, 128, 192], np.uint8), [-1.0, 0.0, 0.5]),
    ],
)
def test_pcm_integers_are_scaled_to_full_scale(samples, expected):
    assert Waveform(samples, 8_000).samples.tolist() == expected


def test_integers_of_unknown_scale_are_refused():
    with pytest.raises(AudioError, match=r"int64.*Give floats"):
        Waveform(np.array([1, 2, 3], np.int64), 8_000)


def test_what_exceeds_full_scale_is_kept():
    assert Waveform(np.array([3.0, -2.0]), 8_000).samples.tolist() == [3.0, -2.0]


@pytest.mark.parametrize("shape", [(2, 100), (100, 2), ()])
def test_several_channels_are_refused_with_how_to_average(shape):
    with pytest.raises(AudioError, match=r"samples.mean\(axis=0\)"):
        Waveform(np.zeros(shape), 8_000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_no_number_is_refused_with_its_place(value):
    with pytest.raises(EmptyAudioError, match=r"not numbers .* at sample 2"):
        Waveform(np.array([0.0, 1.0, value, 0.0]), 8_000)


def test_no_samples_are_refused():
    with pytest.raises(EmptyAudioError, match="no samples"):
        Waveform(np.empty(0), 8_000)


@pytest.mark.parametrize("rate", [0, -1, 44_100.0, True, "44100"])
def test_a_rate_that_is_no_positive_whole_number_is_refused(rate):
    with pytest.raises(AudioError, match="sample_rate"):
        Waveform(np.ones(4), rate)


def test_silence_is_a_peak_below_minus_90_dbfs():
    assert is_silent(np.zeros(100, np.float32))
    assert is_silent(np.empty(0, np.float32))
    assert is_silent(np.full(100, 2.0**-15, np.float32))  # one step of 16 bits
    assert not is_silent(np.full(100, -(2.0**-14), np.float32))


def test_peak_counts_both_signs():
    assert peak(np.array([0.1, -0.5, 0.25], np.float32)) == 0.5
