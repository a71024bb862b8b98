"""Audio fingerprints: the same recording, re-encoded, resampled, louder or trimmed, is recognised.

Samples at 8 kHz -> one 32-bit word per 16 ms: the signs of the energy differences between
neighbouring bands and frames (Haitsma & Kalker 2002), and a short vector of the whole clip by which
candidates are found. Two clips are near duplicates when the words differ in few bits.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt8, UInt32

SAMPLE_RATE = 8_000  # Hz: what a telephone keeps, any re-encoding keeps
MAX_DURATION = 60.0  # s: longer clips are known by their beginning
_WINDOW = 1024  # samples, 128 ms
_HOP = 128  # samples, 16 ms
_BANDS = 33
_F_MIN, _F_MAX = 150.0, 3_500.0  # Hz
_FLOOR = 1e-6  # of the loudest band: quieter differences are coding noise
_LEAST_CHANCE = 0.1  # of two bits differing by chance; below it the bits say too little
_SEGMENTS = 8  # of the descriptor, over the clip's time
DESCRIPTOR_SIZE = _SEGMENTS * _BANDS


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What a clip is recognised by."""

    words: UInt32[np.ndarray, " frames"]
    descriptor: Float[np.ndarray, " segments*bands"]  # unit length; all zero for silence


def fingerprint(samples: Float[np.ndarray, " samples"]) -> Fingerprint:
    """The fingerprint of mono samples at SAMPLE_RATE; the quiet beginning and end are left out."""
    energy = _band_energy(samples[: round(MAX_DURATION * SAMPLE_RATE)])  # (frames, bands)
    loudest = float(energy.max(initial=0.0))
    if loudest <= 0.0:
        return Fingerprint(np.zeros(0, np.uint32), np.zeros(DESCRIPTOR_SIZE, np.float32))
    level = np.log(np.maximum(energy, _FLOOR * loudest))
    loud = np.flatnonzero(energy.sum(axis=1) > 1e-4 * energy.sum(axis=1).max())
    level = level[loud[0] : loud[-1] + 1]
    # A frame before the first, so that even one frame has a word.
    steps = np.diff(np.diff(level, axis=1), axis=0, prepend=np.diff(level[:1], axis=1) * 0)
    words = (steps > 0) @ (np.uint32(1) << np.arange(_BANDS - 1, dtype=np.uint32))
    return Fingerprint(words.astype(np.uint32), _descriptor(level))


def difference(
    one: UInt32[np.ndarray, " frames"], other: UInt32[np.ndarray, " frames"], max_lag: int = 16
) -> float:
    """How far apart two fingerprints are: 0 for equal ones, about 0.5 for unrelated sounds.

    The share of differing bits at the best alignment within `max_lag` frames, scaled so that two
    sounds whose bits are set as often, but independently, get 0.5: bands in which neither has any
    sound would otherwise pass for agreement. At least three quarters of the shorter one overlap.
    1 when there is nothing to compare.
    """
    bits = [_unpack(words) for words in (one, other)]
    shorter = min(len(each) for each in bits)
    if not shorter:
        return 1.0
    density = [each.mean(axis=0) for each in bits]
    chance = float((density[0] * (1 - density[1]) + density[1] * (1 - density[0])).mean())
    if chance < _LEAST_CHANCE:
        return 1.0
    best = 1.0
    for lag in range(-max_lag, max_lag + 1):
        a, b = (one[lag:], other) if lag >= 0 else (one, other[-lag:])
        overlap = min(len(a), len(b))
        if overlap >= 0.75 * shorter:
            differing = int(np.bitwise_count(a[:overlap] ^ b[:overlap]).sum()) / (32 * overlap)
            best = min(best, 0.5 * differing / chance)
    return best


def _unpack(words: UInt32[np.ndarray, " frames"]) -> UInt8[np.ndarray, "frames bits"]:
    little_endian = np.ascontiguousarray(words, dtype="<u4").view(np.uint8)
    return np.unpackbits(little_endian.reshape(len(words), 4), axis=1, bitorder="little")


def _descriptor(level: Float[np.ndarray, "frames bands"]) -> Float[np.ndarray, " segments*bands"]:
    edges = np.linspace(0, len(level), _SEGMENTS + 1)
    parts = [
        level[int(a) : max(int(np.ceil(b)), int(a) + 1)].mean(axis=0) for a, b in _pairs(edges)
    ]
    vector = np.concatenate(parts)
    vector -= vector.mean()
    length = float(np.linalg.norm(vector))
    return (vector / length if length > 0 else vector).astype(np.float32)


def _pairs(edges: Float[np.ndarray, " n"]) -> list[tuple[float, float]]:
    return [(float(a), float(b)) for a, b in itertools.pairwise(edges)]


def _band_energy(samples: Float[np.ndarray, " samples"]) -> Float[np.ndarray, "frames bands"]:
    padded = np.pad(samples.astype(np.float32, copy=False), (_WINDOW // 2, _WINDOW // 2))
    if len(padded) < _WINDOW:
        return np.zeros((0, _BANDS), np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    window, bank = _kernel()
    spectrum = np.fft.rfft(frames * window, axis=1)
    return (spectrum.real**2 + spectrum.imag**2) @ bank


@lru_cache(maxsize=1)
def _kernel() -> tuple[Float[np.ndarray, " window"], Float[np.ndarray, "bins bands"]]:
    edges = np.geomspace(_F_MIN, _F_MAX, _BANDS + 1)  # Hz
    frequencies = np.fft.rfftfreq(_WINDOW, 1 / SAMPLE_RATE)
    # Triangles between neighbouring edges, wide enough to hold a bin at the low end.
    centres = np.sqrt(edges[:-1] * edges[1:])
    widths = np.maximum(edges[1:] - edges[:-1], SAMPLE_RATE / _WINDOW)
    distance = np.abs(frequencies[:, None] - centres[None, :]) / widths[None, :]
    bank = np.maximum(1 - distance, 0)
    return np.hanning(_WINDOW).astype(np.float32), bank.astype(np.float32)
