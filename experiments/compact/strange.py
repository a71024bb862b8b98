"""Sounds like none of the collection's, for a student to hear with its teacher (moments.py).

What a teacher hears in a sound can be asked of any sound; one that few of the collection's are
like is heard as it would be only by a student that has heard such sounds.  So: played up to an
octave faster or slower, backwards, as loud over time or as dull as another sound, or made of nothing
but noise, hum and clicks.
"""

from collections.abc import Callable

import numpy as np
from generate import crop_of

RATE = 22_050  # Hz
Draw = Callable[[], np.ndarray]


def strange(rng: np.random.Generator, draw: Draw, samples: int) -> np.ndarray:
    """A sound (samples,) as none of the collection's is.

    Args:
        rng: Chooses.
        draw: Gives a sound (samples,) int16.
        samples: At RATE.
    """
    sound = texture(rng, samples) if rng.random() < 0.25 else paced(rng, draw(), samples)
    if rng.random() < 0.15:
        sound = sound[::-1]
    if rng.random() < 0.3:
        sound = sound * loudness(paced(rng, draw(), samples), rng.integers(200, 4000))
    if rng.random() < 0.3:
        sound = shaped(sound, paced(rng, draw(), samples))
    return sound if np.abs(sound).max() > 1e-3 else noise(rng, samples)


def paced(rng: np.random.Generator, sound: np.ndarray, samples: int) -> np.ndarray:
    """A crop of a sound played at up to twice or half its speed."""
    rate = 2 ** rng.uniform(-1, 1)
    part = crop_of(rng, sound, int(samples * rate) + 2, 0.0)
    at = np.arange(samples) * rate
    return np.interp(at, np.arange(len(part)), part).astype(np.float32)


def texture(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Noise, hum and clicks, each there or not, loud or soft, steady or in pulses."""
    time = np.arange(samples) / RATE
    sound = np.zeros(samples)
    for part in (noise, hum, clicks):
        if rng.random() < 0.6:
            heard = coloured(rng, part(rng, samples)) if rng.random() < 0.7 else part(rng, samples)
            if rng.random() < 0.5:
                often = 2 ** rng.uniform(-1, 5)  # Hz
                pulse = 0.5 + 0.5 * np.sin(2 * np.pi * (often * time + rng.random()))
                heard = heard * pulse ** (2 ** rng.uniform(-1, 4))
            sound += heard * 10 ** (-rng.uniform(0, 20) / 20)
    return sound.astype(np.float32)


def hum(rng: np.random.Generator, samples: int) -> np.ndarray:
    """A tone of power 1 with overtones, that wavers."""
    time = np.arange(samples) / RATE
    waver = rng.uniform(0, 0.06) * np.sin(2 * np.pi * (2 ** rng.uniform(-2, 4) * time))
    waver += rng.uniform(-0.3, 0.3) * time / time[-1] * (rng.random() < 0.5)
    lowest = 2 ** rng.uniform(5, 11)  # Hz
    phase = 2 * np.pi * np.cumsum(lowest * (1 + waver)) / RATE
    steep, count = rng.uniform(0.3, 2), int(min(30, 8_000 / lowest))
    tones = [
        np.sin(n * phase + rng.uniform(0, 6.3)) * rng.exponential() / n**steep
        for n in range(1, max(2, count))
    ]
    return of_power_one(np.sum(tones, axis=0))


def clicks(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Struck resonances of power 1, seldom or often, even or not."""
    often = 2 ** rng.uniform(0, 6)  # a second
    count = max(1, int(often * samples / RATE))
    even = np.linspace(0, samples - 1, count)
    at = even + rng.normal(0, rng.choice([0, 0.1, 1]) * RATE / often, count)
    struck = np.zeros(samples)
    struck[np.clip(at, 0, samples - 1).astype(int)] = rng.exponential(1, count)
    time = np.arange(RATE // 2) / RATE
    rings = sum(
        np.sin(2 * np.pi * 2 ** rng.uniform(7, 13) * time) * np.exp(-time * 2 ** rng.uniform(2, 9))
        for _ in range(rng.integers(1, 5))
    )
    size = samples + len(time)
    sound = np.fft.irfft(np.fft.rfft(struck, size) * np.fft.rfft(rings, size), size)[:samples]
    return of_power_one(sound)


def noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Steady noise of power 1, from a little brighter than white to darker than brown."""
    white = np.fft.rfft(rng.standard_normal(samples))
    hertz = np.maximum(np.fft.rfftfreq(samples, 1 / RATE), 30)
    return of_power_one(np.fft.irfft(white * hertz ** -rng.uniform(-0.2, 1.2), samples))


def of_power_one(sound: np.ndarray) -> np.ndarray:
    """Silence stays as it is."""
    return (sound / np.sqrt((sound**2).mean() or 1.0)).astype(np.float32)


def coloured(rng: np.random.Generator, sound: np.ndarray) -> np.ndarray:
    """Through a smooth curve over the octaves from 40 Hz, of 5 dB deviation at each of seven
    points.
    """
    decibels = rng.normal(0, 5, 7)
    hertz = np.maximum(np.fft.rfftfreq(len(sound), 1 / RATE), 40)
    at = np.log2(hertz / 40) / np.log2(RATE / 2 / 40) * 6
    curve = 10 ** (np.interp(at, np.arange(7), decibels) / 20)
    return np.fft.irfft(np.fft.rfft(sound) * curve, len(sound)).astype(np.float32)


def shaped(sound: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A sound through the mean spectrum of another, smoothed to a sixth of an octave or so."""
    spectrum = np.fft.rfft(sound)
    octave = np.log2(np.maximum(np.arange(len(spectrum)) * RATE / len(sound), 30))
    band = ((octave - octave[0]) * 6).astype(int)
    count = np.maximum(np.bincount(band), 1)

    def smooth(spectrum: np.ndarray) -> np.ndarray:
        level = np.sqrt(np.bincount(band, np.abs(spectrum) ** 2) / count)[band]
        return level / max(level.max(), 1e-9)

    weight = smooth(np.fft.rfft(other)) / np.maximum(np.sqrt(smooth(spectrum)), 0.03)
    return np.fft.irfft(spectrum * weight, len(sound)).astype(np.float32)


def loudness(sound: np.ndarray, window: int) -> np.ndarray:
    """(samples,) -> its level over time, of so many samples each, from 0 to 1."""
    cut = np.abs(np.pad(sound, (0, -len(sound) % window))).reshape(-1, window).max(1)
    at = np.arange(len(sound)) / window - 0.5
    return np.interp(at, np.arange(len(cut)), cut) / max(cut.max(), 1e-4)
