"""Sounds made of sines and noise: `python scripts/synthesise.py FOLDER`.

For demos and tests where no recordings can be had. Each recipe is a few lines, seeded by its name,
so that two machines make the same file. They resemble their names as a sketch resembles a picture.
"""

import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

SAMPLE_RATE = 44_100  # Hz
Array = np.ndarray
Recipe = Callable[[np.random.Generator], Array]


def synthesise(name: str, path: Path) -> Path:
    """Write the recipe's sound as 16-bit WAV, its peak at -3 dB."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    sound = RECIPES[name](random)
    sound = sound / max(np.abs(sound).max(), 1e-9) * 10 ** (-3 / 20)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound.astype(np.float32), SAMPLE_RATE, subtype="PCM_16")
    return path


def seconds(duration: float) -> Array:
    """The times of the samples, s."""
    return np.arange(round(duration * SAMPLE_RATE)) / SAMPLE_RATE


def tone(frequency: Array | float, duration: float, *partials: float) -> Array:
    """A harmonic tone: `frequency` in Hz, fixed or per sample; amplitudes of partials 1, 2, ..."""
    steps = np.broadcast_to(np.asarray(frequency, dtype=float), seconds(duration).shape)
    phase = 2 * np.pi * np.cumsum(steps) / SAMPLE_RATE
    return sum((a * np.sin((i + 1) * phase) for i, a in enumerate(partials or (1.0,))), 0 * phase)


def noise(random: np.random.Generator, duration: float, low: float, high: float) -> Array:
    """Noise between two frequencies in Hz, of unit variance."""
    white = np.fft.rfft(random.standard_normal(seconds(duration).size))
    frequencies = np.fft.rfftfreq(seconds(duration).size, 1 / SAMPLE_RATE)
    band = np.fft.irfft(white * ((frequencies >= low) & (frequencies <= high)))
    band = np.resize(band, seconds(duration).size)
    return band / band.std()


def decay(duration: float, half_life: float) -> Array:
    """An envelope that falls by half every `half_life` seconds."""
    return 0.5 ** (seconds(duration) / half_life)


def swell(duration: float, period: float, depth: float = 1.0) -> Array:
    """An envelope that comes and goes every `period` seconds."""
    return 1 - depth * (0.5 + 0.5 * np.cos(2 * np.pi * seconds(duration) / period))


def place(duration: float, event: Callable[[], Array], times: Array | list[float]) -> Array:
    """The same kind of event at several times, in seconds."""
    out = np.zeros(round(duration * SAMPLE_RATE))
    for time in times:
        start = round(time * SAMPLE_RATE)
        piece = event()[: max(out.size - start, 0)]
        out[start : start + piece.size] += piece
    return out


def struck(duration: float, half_life: float, *frequencies: float) -> Array:
    """A struck body: inharmonic partials that ring out, the higher the sooner."""
    base = frequencies[0]
    parts = [tone(f, duration) * decay(duration, half_life * base / f) for f in frequencies]
    return sum(parts, np.zeros(seconds(duration).size))


def chirp(duration: float, start: float, end: float, *partials: float) -> Array:
    """A tone that glides between two frequencies in Hz, fading in and out."""
    n = seconds(duration).size
    return tone(np.linspace(start, end, n), duration, *partials) * np.hanning(n)


def knock(r: np.random.Generator, low: float, high: float, half_life: float) -> Array:
    """A short burst of band noise."""
    return noise(r, 0.3, low, high) * decay(0.3, half_life)


RECIPES: dict[str, Recipe] = {
    "rain_on_a_roof": lambda r: (
        noise(r, 5, 1000, 12000) * 0.3
        + place(5, lambda: 3 * knock(r, 500, 6000, 0.005), r.uniform(0, 4.9, 200))
    ),
    "wind_howling": lambda r: (
        noise(r, 5, 50, 500) * swell(5, 2.5) + 0.5 * noise(r, 5, 400, 700) * swell(5, 1.7)
    ),
    "ocean_waves": lambda r: noise(r, 6, 50, 4000) * swell(6, 3) ** 2,
    "thunder_rumble": lambda r: noise(r, 5, 20, 150) * decay(5, 1.0) * (1 + swell(5, 0.4)),
    "stream_of_water": lambda r: (
        noise(r, 4, 300, 5000) * 0.2
        + place(4, lambda: chirp(0.05, *r.uniform(400, 1500, 2)), r.uniform(0, 3.9, 150))
    ),
    "fire_crackling": lambda r: (
        0.1 * noise(r, 5, 50, 600)
        + place(5, lambda: knock(r, 1000, 9000, 0.004) * r.uniform(0.2, 2), r.uniform(0, 4.7, 60))
    ),
    "police_siren": lambda r: tone(900 + 400 * np.sin(2 * np.pi * seconds(5) / 4), 5, 1, 0.5, 0.3),
    "ambulance_siren": lambda r: tone(np.where(seconds(4) % 1 < 0.5, 660, 880), 4, 1, 0.4, 0.2),
    "alarm_clock_beeping": lambda r: tone(2000, 4, 1, 0.2) * (seconds(4) % 0.5 < 0.25),
    "church_bell": lambda r: struck(5, 1.2, 220, 441, 527, 660, 884, 1170),
    "bicycle_bell": lambda r: place(
        2, lambda: struck(0.5, 0.1, 2400, 3150, 5200), [0.0, 0.1, 0.2, 0.9, 1.0, 1.1]
    ),
    "telephone_ringing": lambda r: (
        (tone(440, 4) + tone(480, 4)) * np.sign(swell(4, 0.05)) * (seconds(4) % 2 < 1)
    ),
    "clock_ticking": lambda r: place(
        5, lambda: knock(r, 2000, 6000, 0.006), list(np.arange(0, 5, 0.5))
    ),
    "footsteps_on_wood": lambda r: place(
        5, lambda: knock(r, 60, 500, 0.03), list(np.arange(0.1, 4.8, 0.55))
    ),
    "footsteps_on_gravel": lambda r: place(
        5, lambda: knock(r, 1500, 9000, 0.06), list(np.arange(0.1, 4.8, 0.6))
    ),
    "door_knock": lambda r: place(2, lambda: knock(r, 80, 700, 0.02), [0.2, 0.5, 0.8, 1.1]),
    "door_slam": lambda r: noise(r, 1.5, 30, 900) * decay(1.5, 0.06),
    "door_creaking": lambda r: tone(
        250 + 120 * swell(2, 2) + 20 * r.standard_normal(1), 2, *([0.4] * 12)
    ),
    "glass_breaking": lambda r: (
        noise(r, 2, 3000, 15000) * decay(2, 0.05)
        + place(
            2, lambda: struck(0.3, 0.05, *r.uniform(2500, 9000, 3)) * 0.5, r.uniform(0.05, 1, 25)
        )
    ),
    "metal_hit": lambda r: struck(3, 0.4, 310, 847, 1390, 2212, 3307, 4780),
    "wooden_block_hit": lambda r: struck(0.5, 0.03, 820, 1430, 2050),
    "hand_clap": lambda r: place(2, lambda: knock(r, 800, 5000, 0.02), [0.1, 0.7, 1.3]),
    "applause": lambda r: place(5, lambda: knock(r, 800, 5000, 0.02), r.uniform(0, 4.8, 400)),
    "gun_shot": lambda r: noise(r, 2, 40, 8000) * decay(2, 0.05),
    "explosion": lambda r: (
        noise(r, 4, 20, 400) * decay(4, 0.5) + 0.3 * noise(r, 4, 20, 2000) * (decay(4, 0.15))
    ),
    "car_engine_idling": lambda r: (
        tone(28, 4, *(1 / np.arange(1, 25))) + 0.3 * noise(r, 4, 30, 900)
    ),
    "car_horn": lambda r: tone(420, 2, *([0.5] * 10)) + tone(500, 2, *([0.5] * 10)),
    "helicopter": lambda r: noise(r, 4, 30, 700) * (1 - swell(4, 0.09)) ** 3,
    "electric_hum": lambda r: tone(50, 3, 1, 0.8, 0.4, 0.5, 0.2, 0.3),
    "vacuum_cleaner": lambda r: noise(r, 4, 200, 9000) + tone(310, 4, 2, 1, 1),
    "steam_hiss": lambda r: noise(r, 3, 4000, 16000),
    "bird_chirping": lambda r: place(
        4, lambda: chirp(0.12, *r.uniform(3000, 6000, 2)), r.uniform(0, 3.8, 18)
    ),
    "crow_call": lambda r: place(
        3,
        lambda: chirp(0.35, 900, 650, *([0.5] * 12)) * (1 + 0.5 * knock_noise(r, 0.35)),
        [0.2, 1.2],
    ),
    "owl_hoot": lambda r: place(4, lambda: chirp(0.5, 380, 340, 1, 0.1), [0.2, 1.0, 1.6, 2.6]),
    "crickets_at_night": lambda r: (
        tone(4500, 5) * (seconds(5) % 0.03 < 0.015) * (seconds(5) % 0.6 < 0.3)
    ),
    "dog_barking": lambda r: place(
        3, lambda: chirp(0.18, 650, 380, *([0.6] * 8)) + chirp(0.18, 300, 250), [0.1, 0.5, 1.6, 2.0]
    ),
    "cat_meow": lambda r: chirp(1.2, 500, 750, 1, 0.8, 0.6, 0.3) + chirp(1.2, 750, 450, 0.5, 0.4),
    "whistle_blow": lambda r: tone(2800 + 120 * np.sign(swell(2, 0.05) - 0.5), 2, 1, 0.2),
    "piano_note": lambda r: tone(261.6, 3, 1, 0.5, 0.3, 0.2, 0.1) * decay(3, 0.5),
    "drum_roll": lambda r: place(
        3, lambda: knock(r, 150, 5000, 0.02), list(np.arange(0, 2.9, 0.05))
    ),
    "laser_zap": lambda r: chirp(0.6, 3000, 200, 1, 0.5),
}


def knock_noise(r: np.random.Generator, duration: float) -> Array:
    """Rough broadband noise to roughen a tone."""
    return noise(r, duration, 100, 3000)


if __name__ == "__main__":
    for each in RECIPES:
        print(synthesise(each, Path(sys.argv[1]) / f"{each}.wav"))
