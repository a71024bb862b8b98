"""The front end equals independent implementations, and its own definition at the edges."""

import os
import platform
import subprocess
import sys

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavtext import LogMelConfig, log_mel
from wavtext.audio.mel import hz_to_mel, mel_bank, mel_to_hz
from wavtext.config import from_dict, to_dict
from wavtext.errors import AudioError, ConfigError, EmptyAudioError

PAPER = LogMelConfig()
PANNS = LogMelConfig(sample_rate=32_000, f_max=14_000.0)
COMPACT = LogMelConfig(
    sample_rate=22_050, hop_length=512, n_mels=72, f_min=0.0, f_max=8_914.0, mel_scale="htk"
)


def sounds(rate: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    time = np.arange(3 * rate) / rate
    white = generator.standard_normal(len(time))
    brown = np.cumsum(white) / 300
    return {
        "white noise": 0.1 * white,
        "brown noise": brown / np.abs(brown).max(),
        "tone": 0.5 * np.sin(2 * np.pi * 440 * time),
        "sweep": 0.9 * np.sin(2 * np.pi * (50 + 2_000 * time) * time),
        "clicks": (np.arange(len(time)) % 4_000 == 0).astype(float),
        "quiet": 1e-4 * white,
        "half silent": np.where(time < 1.5, 0.0, 0.3 * white),
        "full-scale square": np.sign(np.sin(2 * np.pi * 100 * time)),
    }


@pytest.mark.parametrize("config", [PAPER, PANNS], ids=["paper", "PANNs"])
@pytest.mark.parametrize("name", list(sounds(100)))
def test_log_mel_equals_torchlibrosa(config, name):
    torch = pytest.importorskip("torch")
    stft = pytest.importorskip("torchlibrosa.stft")
    spectrogram = stft.Spectrogram(n_fft=1024, hop_length=320, win_length=1024)
    bank = stft.LogmelFilterBank(
        sr=config.sample_rate,
        n_fft=1024,
        n_mels=64,
        fmin=50,
        fmax=int(config.f_max),
        ref=1.0,
        amin=1e-10,
        top_db=None,
    )
    samples = sounds(config.sample_rate)[name].astype(np.float32)
    with torch.no_grad():
        expected = bank(spectrogram(torch.from_numpy(samples)[None]))[0, 0].numpy()
    found = log_mel(samples, config)
    assert found.shape == expected.shape == (len(samples) // 320 + 1, 64)
    assert found.dtype == np.float32
    error = np.abs(found - expected)
    near = expected > expected.max() - 60
    assert error[near].max() <= 5e-3
    assert error.max() <= 0.2


@pytest.mark.parametrize("config", [PAPER, PANNS, COMPACT], ids=["paper", "PANNs", "compact"])
def test_log_mel_equals_the_definition_in_float64(config):
    """A slow loop over frames with a complex FFT of float64 and librosa's filter bank."""
    samples = sounds(config.sample_rate)["sweep"][:20_000]
    bank = librosa.filters.mel(
        sr=config.sample_rate,
        n_fft=1024,
        n_mels=config.n_mels,
        fmin=config.f_min,
        fmax=config.f_max,
        htk=config.mel_scale == "htk",
        dtype=np.float64,
    )
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    padded = np.pad(samples, 512, mode="reflect")
    rows = []
    for index in range(len(samples) // config.hop_length + 1):
        frame = padded[index * config.hop_length :][:1024] * window
        power = np.abs(np.fft.fft(frame)[:513]) ** 2
        rows.append(10 * np.log10(np.maximum(bank @ power, 1e-10)))
    expected = np.array(rows)
    found = log_mel(samples.astype(np.float32), config)
    near = expected > expected.max() - 60
    assert np.abs(found - expected)[near].max() <= 5e-3


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize("norm", ["slaney", "none"])
@pytest.mark.parametrize(
    ("rate", "n_fft", "n_mels", "f_min", "f_max"),
    [
        (44_100, 1024, 64, 50.0, 8_000.0),
        (32_000, 1024, 64, 50.0, 14_000.0),
        (22_050, 1024, 72, 0.0, 8_914.0),
        (48_000, 2048, 128, 0.0, 24_000.0),
        (16_000, 512, 40, 125.0, 7_500.0),
    ],
)
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_the_mel_bank_equals_librosas(scale, norm, rate, n_fft, n_mels, f_min, f_max):
    expected = librosa.filters.mel(
        sr=rate,
        n_fft=n_fft,
        n_mels=n_mels,
        fmin=f_min,
        fmax=f_max,
        htk=scale == "htk",
        norm=None if norm == "none" else norm,
        dtype=np.float64,
    )
    found = mel_bank(
        sample_rate=rate,
        n_fft=n_fft,
        n_mels=n_mels,
        f_min=f_min,
        f_max=f_max,
        scale=scale,
        norm=norm,
    )
    np.testing.assert_allclose(found.T, expected, rtol=1e-7, atol=1e-12)


@settings(deadline=None)
@given(frequency=st.floats(0.0, 24_000.0), scale=st.sampled_from(["slaney", "htk"]))
def test_mel_and_hz_are_inverse(frequency, scale):
    mel = hz_to_mel(np.array([frequency]), scale)
    assert mel_to_hz(mel, scale)[0] == pytest.approx(frequency, abs=1e-6)


@settings(deadline=None)
@given(
    num_samples=st.integers(1, 6_000),
    hop=st.integers(1, 800),
    win=st.integers(2, 300),
    extra=st.integers(0, 300),
)
def test_frames_are_samples_by_hop_plus_one(num_samples, hop, win, extra):
    hop = max(hop, num_samples // 200)
    config = LogMelConfig(
        sample_rate=8_000,
        n_fft=win + extra,
        win_length=win,
        hop_length=hop,
        n_mels=8,
        f_max=4_000.0,
    )
    samples = np.random.default_rng(num_samples).standard_normal(num_samples).astype(np.float32)
    found = log_mel(samples, config)
    assert found.shape == (num_samples // hop + 1, 8)
    assert config.num_frames(num_samples) == len(found)
    assert np.isfinite(found).all()


@pytest.mark.parametrize("num_samples", [1, 2, 3, 100, 511, 512, 513, 1_023])
def test_a_short_sound_is_reflected_as_often_as_needed(num_samples):
    samples = np.random.default_rng(0).standard_normal(num_samples).astype(np.float32)
    around = np.pad(samples, 2_048, mode="reflect")
    found = log_mel(samples, PAPER)
    # Frames of the long sound centred on the same samples see the same values.
    long = log_mel(around[2_048 - 640 : 2_048 + num_samples + 2_048], PAPER)
    np.testing.assert_allclose(found, long[2 : 2 + len(found)], atol=1e-2)


def test_a_window_shorter_than_the_fft_is_centred_in_it():
    config = LogMelConfig(n_fft=2048, win_length=1024)
    samples = sounds(44_100)["white noise"][:30_000].astype(np.float32)
    spectrum = librosa.stft(
        samples, n_fft=2048, hop_length=320, win_length=1024, pad_mode="reflect"
    )
    bank = librosa.filters.mel(sr=44_100, n_fft=2048, n_mels=64, fmin=50, fmax=8_000)
    expected = 10 * np.log10(np.maximum(bank @ np.abs(spectrum) ** 2, 1e-10)).T
    np.testing.assert_allclose(log_mel(samples, config), expected, atol=5e-3)


def test_a_bank_laid_out_for_another_rate_is_applied_to_the_bins_as_they_come():
    config = LogMelConfig(f_max=14_000.0, bank_sample_rate=32_000)
    samples = sounds(44_100)["white noise"][:30_000].astype(np.float32)
    spectrum = librosa.stft(samples, n_fft=1024, hop_length=320, pad_mode="reflect")
    bank = librosa.filters.mel(sr=32_000, n_fft=1024, n_mels=64, fmin=50, fmax=14_000)
    expected = 10 * np.log10(np.maximum(bank @ np.abs(spectrum) ** 2, 1e-10)).T
    np.testing.assert_allclose(log_mel(samples, config), expected, atol=5e-3)
    with pytest.raises(ConfigError, match="f_max"):
        LogMelConfig(f_max=20_000.0, bank_sample_rate=32_000)


def test_a_frame_does_not_depend_on_what_surrounds_it():
    """The same samples give the same bits wherever they stand, and whatever follows."""
    samples = sounds(44_100)["white noise"].astype(np.float32)
    whole = log_mel(samples, PAPER)
    part = log_mel(samples[: 320 * 100], PAPER)
    np.testing.assert_array_equal(part[2:98], whole[2:98])
    later = log_mel(samples[320 * 37 :], PAPER)
    np.testing.assert_array_equal(later[2:200], whole[39:237])


SAME_FRAME_EVERYWHERE = """
import numpy as np
from wavtext import LogMelConfig, load_model, log_mel

small = LogMelConfig(n_mels=40, hop_length=1024)
for config in (LogMelConfig(), small, load_model().config.log_mel):
    period = np.random.default_rng(0).standard_normal(config.hop_length).astype(np.float32)
    frames = log_mel(np.tile(period, 70), config)[3:-3]
    assert (frames == frames[0]).all(), config
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names kernels of x86")
@pytest.mark.parametrize("kernels", ["Haswell", "Nehalem"])
def test_a_frame_is_the_same_in_every_place_on_older_processors(kernels: str):
    """A sound that repeats with each hop has one frame, by the BLAS kernels of other x86 CPUs."""
    environment = os.environ | {"OPENBLAS_CORETYPE": kernels}
    subprocess.run([sys.executable, "-c", SAME_FRAME_EVERYWHERE], env=environment, check=True)


def test_silence_is_the_floor():
    np.testing.assert_allclose(log_mel(np.zeros(5_000, np.float32), PAPER), -100.0, atol=1e-4)


def test_float64_is_taken_and_the_input_is_left_alone():
    samples = sounds(44_100)["white noise"][:10_000]
    before = samples.copy()
    np.testing.assert_array_equal(
        log_mel(samples, PAPER), log_mel(samples.astype(np.float32), PAPER)
    )
    np.testing.assert_array_equal(samples, before)


@pytest.mark.parametrize(
    "samples", [np.zeros((2, 100), np.float32), np.zeros(100, np.int16), np.zeros(100, complex)]
)
def test_what_is_no_channel_of_floats_is_refused(samples):
    with pytest.raises(AudioError, match="one channel"):
        log_mel(samples, PAPER)


def test_no_samples_are_refused_by_the_front_end():
    with pytest.raises(EmptyAudioError):
        log_mel(np.empty(0, np.float32), PAPER)


@pytest.mark.parametrize(
    "values",
    [
        {"hop_length": 0},
        {"n_mels": 0},
        {"sample_rate": -1},
        {"win_length": 1},
        {"n_fft": 512},
        {"f_min": -1.0},
        {"f_min": 9_000.0},
        {"f_max": 30_000.0},
        {"amin": 0.0},
        {"mel_scale": "bark"},
        {"mel_norm": "area"},
    ],
)
def test_front_end_settings_out_of_range_are_named(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        LogMelConfig(**values)


def test_settings_survive_toml():
    for config in (PAPER, COMPACT, LogMelConfig(n_fft=2048)):
        assert from_dict(LogMelConfig, to_dict(config), where="model.toml") == config
