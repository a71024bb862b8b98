"""Clipped peaks are rebuilt: nearer to the unclipped sound, whatever the blocks; all else stays."""

import numpy as np
import pytest
import soundfile

from wavtext.audio import clipping
from wavtext.audio.clipping import HIGHEST, restore, restored
from wavtext.audio.decode import load_audio, stream_audio
from wavtext.audio.waveform import Waveform

RATE = 44_100


def voice(duration: float = 1.0, peak: float = 1.5) -> np.ndarray:
    """(samples,): a few partials that fade, driven to `peak` full scales."""
    time = np.arange(round(duration * RATE)) / RATE
    tone = sum(np.sin(2 * np.pi * f * time + f) / k for k, f in enumerate((220, 503, 1171), 1))
    tone *= np.exp(-2 * time)
    return (peak * tone / np.abs(tone).max()).astype(np.float32)


def clipped(samples: np.ndarray) -> np.ndarray:
    return np.clip(samples, -1, 1)


def error(some: np.ndarray, true: np.ndarray) -> float:
    """Power of the difference relative to the sound, in dB."""
    return float(10 * np.log10(np.mean((some - true) ** 2) / np.mean(true**2)))


def in_blocks(channels: np.ndarray, size) -> np.ndarray:
    """What becomes of a stream whose blocks have so many samples."""

    def blocks():
        begin = 0
        while begin < channels.shape[1]:
            end = begin + size()
            yield channels[:, begin:end]
            begin = end

    found = list(restored(blocks(), RATE))
    assert all(block.shape[1] for block in found)
    return np.concatenate(found, axis=1)


def test_what_was_clipped_comes_nearer_to_what_it_was():
    true = voice()
    before = clipped(true)
    after = restore(Waveform(before, RATE)).samples
    assert error(after, true) < error(before, true) - 10
    assert np.array_equal(after[np.abs(before) < 0.999], before[np.abs(before) < 0.999])
    assert (np.abs(after) >= np.abs(before)).all()


def test_a_sine_clipped_lightly_is_a_sine_again():
    time = np.arange(RATE) / RATE
    true = (1.2 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    after = restore(Waveform(clipped(true), RATE)).samples
    assert np.abs(after - true)[10:-10].max() < 0.02


def test_16_bits_are_clipped_at_32_767():
    true = voice()
    pcm = np.clip(np.round(true * 32_768), -32_768, 32_767).astype(np.int16)
    after = restore(Waveform(pcm, RATE)).samples
    assert error(after, true) < error(clipped(true), true) - 10


@pytest.mark.parametrize(
    "samples",
    [
        voice(peak=0.9),
        voice(peak=1.0),
        np.sign(voice()) * np.float32(0.7),  # plateaus without slopes: a square wave
        np.round(voice(peak=0.1) * 128) / np.float32(128),  # coarse steps
        np.ones(RATE, np.float32),
        np.tile(np.float32([0, 1, 0, -1]), 1000),
        np.zeros(10, np.float32),
        np.float32([1.0]),
        np.float32([1.0, 1.0]),
    ],
    ids=["quiet", "full", "square", "coarse", "constant", "single", "zero", "one", "two"],
)
def test_what_is_not_clipped_stays(samples):
    assert np.allclose(restore(Waveform(samples, RATE)).samples, samples, atol=2e-4)


def test_a_rebuilt_peak_has_a_limit():
    steep = np.zeros(2000, np.float32)
    steep[500:1500] = 1.0
    steep[499] = steep[1500] = 0.3
    found = restore(Waveform(steep, RATE)).samples
    assert found.max() == pytest.approx(HIGHEST, abs=1e-3)
    long = np.zeros(20_000, np.float32)
    long[5000:15_000], long[4999] = 1.0, 0.5
    assert np.array_equal(restore(Waveform(long, RATE)).samples, long)


@pytest.mark.parametrize("seed", range(12))
def test_blocks_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    walk = 0.02 * (1 + seed % 4) * rng.standard_normal((2, 30_000)).cumsum(axis=1)
    loud = clipped(walk).astype(np.float32)
    loud[:, 12_000:18_000] = 1.0  # longer than a clipped peak
    whole = np.stack([restore(Waveform(channel, RATE)).samples for channel in loud])
    assert not np.array_equal(whole, loud)
    assert np.array_equal(in_blocks(loud, lambda: int(rng.integers(1, 9000))), whole)


def test_single_samples_are_blocks_too():
    loud = clipped(voice(0.05))
    whole = restore(Waveform(loud, RATE)).samples
    assert np.array_equal(in_blocks(loud[None], lambda: 1)[0], whole)


def test_channels_are_rebuilt_before_they_are_mixed(tmp_path):
    left, right = voice(), 0.4 * voice()[::-1]
    path = tmp_path / "loud.wav"
    soundfile.write(path, clipped(np.stack([left, right], axis=1)), RATE, subtype="PCM_16")
    true = (left + right) / 2
    plain, better = load_audio(path).samples, load_audio(path, restore_clipping=True).samples
    assert error(better, true) < error(plain, true) - 10
    blocks = stream_audio(path, block_duration=0.1, restore_clipping=True)
    assert np.array_equal(np.concatenate(list(blocks)), better)


@pytest.mark.parametrize("level", [0.25, 0.9, 1.0])
def test_the_level_does_not_matter(level):
    loud = clipped(voice())
    whole = restore(Waveform(loud, RATE)).samples
    quiet = restore(Waveform(np.float32(level) * loud, RATE)).samples
    assert np.allclose(quiet, np.float32(level) * whole, atol=1e-5)


def test_the_level_is_the_first_minute_s(monkeypatch):
    monkeypatch.setattr(clipping, "HORIZON", 0.5)
    quiet, loud = clipped(voice(0.6)), np.float32(2) * clipped(voice(0.6))
    both = np.concatenate([quiet, loud])
    found = restore(Waveform(both, RATE)).samples
    assert np.array_equal(found[: len(quiet)], restore(Waveform(quiet, RATE)).samples)
    assert np.array_equal(found[len(quiet) :], loud)
    assert np.array_equal(in_blocks(both[None], lambda: 7000)[0], found)


def test_what_is_not_a_number_is_no_warning():
    broken = clipped(voice())
    broken[[100, 101, 102]] = np.nan, np.inf, -np.inf
    broken[103:106] = 1.0
    broken[-3:] = np.nan
    assert np.concatenate(list(restored((b for b in [broken[None]]), RATE)), 1).shape == (1, RATE)
