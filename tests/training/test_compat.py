"""What the originals do to a sound first, by hand; and their own log-mels against ours."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open

from wavtext.audio.log_mel import LogMelConfig, log_mel
from wavtext.errors import ConfigError
from wavtext.training.compat import prepare_like_original

RATE = 100  # Hz: a second is a hundred samples


def prepare(kind: str, channels: np.ndarray, seed: int = 0) -> np.ndarray:
    return prepare_like_original(kind, channels, RATE, np.random.default_rng(seed))


@pytest.mark.parametrize(("kind", "duration"), [("msclap-2022", 5), ("msclap-2023", 7)])
def test_msclap_plays_the_channels_one_after_the_other_and_tiles(kind: str, duration: int):
    left, right = np.full(100, 0.5), np.full(100, -0.5)
    found = prepare(kind, np.stack([left, right]))
    assert len(found) == duration * RATE
    expected = np.tile(np.concatenate([left, right]), 4)[: duration * RATE]
    np.testing.assert_array_equal(found, expected)


def test_msclap_crops_long_sounds_at_random():
    sound = np.arange(2000.0)[None]
    crops = [prepare("msclap-2022", sound, seed) for seed in range(5)]
    assert all(len(crop) == 500 for crop in crops)
    assert all(np.array_equal(np.diff(crop), np.ones(499)) for crop in crops)
    assert len({crop[0] for crop in crops}) > 1
    np.testing.assert_array_equal(crops[0], prepare("msclap-2022", sound, 0))


def test_laion_averages_channels_rounds_to_16_bits_and_repeats_whole():
    sound = np.stack([np.full(300, 0.75), np.full(300, 0.25)])
    found = prepare("laion-clap", sound)
    assert len(found) == 1000
    level = np.float32(16383 / 32767.0)  # 0.5, cut to an integer
    np.testing.assert_allclose(found[:900], level)
    assert not found[900:].any()  # a fourth time does not fit whole


def test_laion_crops_long_sounds_at_random():
    ramp = np.linspace(-1, 1, 3000)[None]
    starts = {float(prepare("laion-clap", ramp, seed)[0]) for seed in range(5)}
    assert len(starts) > 1
    assert len(prepare("laion-clap", ramp)) == 1000


def test_other_kinds_have_no_preparation_of_their_own():
    with pytest.raises(ConfigError, match=r"'htsat' has no preparation.*msclap-2022"):
        prepare("htsat", np.zeros((1, 10)))


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "suffix"),
    [
        ("cnn14_panns_32k_tiny", ""),
        ("cnn14_msclap_44k_tiny", ""),
        ("htsat_msclap_32k_tiny", "_1.5s"),
        ("htsat_msclap_44k_tiny", "_1.5s"),
        ("htsat_msclap_44k_long_tiny", "_10.0s"),
    ],
)
def test_our_log_mel_is_the_one_that_published_encoders_were_given(
    shared: Path, name: str, suffix: str
):
    with safe_open(shared / "reference" / f"{name}.safetensors", "np") as file:
        about = json.loads(file.metadata()["config"])
        waves = file.get_tensor(f"in.wave{suffix}").astype(np.float32) / 32768
        theirs = file.get_tensor(f"out.logmel{suffix}")[:, 0]
    config = LogMelConfig(
        sample_rate=about["sample_rate"],
        win_length=about["n_fft"],
        hop_length=about["hop"],
        n_mels=about["mel"],
        f_min=about["fmin"],
        f_max=about["fmax"],
    )
    for wave, expected in zip(waves, theirs, strict=True):
        ours = log_mel(wave, config)
        loud = expected > expected.max() - 60
        assert np.abs(ours - expected)[loud].max() < 5e-3
        assert np.abs(ours - expected).max() < 0.2


@pytest.mark.parametrize(("mel_scale", "mel_norm"), [("slaney", "slaney"), ("htk", None)])
def test_our_log_mel_is_the_one_that_transformers_gives_laion(mel_scale: str, mel_norm: str | None):
    """clap-htsat-unfused takes Slaney's bank, the fused model HTK's: 48 kHz, hop 480."""
    from transformers import ClapFeatureExtractor
    from transformers.audio_utils import power_to_db, spectrogram, window_function

    rng = np.random.default_rng(0)
    time = np.arange(96_000) / 48_000
    wave = 0.5 * np.sin(2 * np.pi * 440 * time * (1 + time)) + 0.05 * rng.standard_normal(96_000)
    extractor = ClapFeatureExtractor(frequency_min=50, frequency_max=14_000)
    bank = extractor.mel_filters_slaney if mel_scale == "slaney" else extractor.mel_filters
    power = spectrogram(
        wave, window_function(1024, "hann"), frame_length=1024, hop_length=480, power=2.0,
        mel_filters=bank,
    )  # fmt: skip
    theirs = power_to_db(power, min_value=1e-10).T
    config = LogMelConfig(
        sample_rate=48_000, win_length=1024, hop_length=480, n_mels=64, f_min=50, f_max=14_000,
        mel_scale=mel_scale, mel_norm=mel_norm or "none",
    )  # type: ignore[arg-type]  # fmt: skip
    ours = log_mel(wave.astype(np.float32), config)
    loud = theirs > theirs.max() - 60
    assert np.abs(ours - theirs)[loud].max() < 5e-3
