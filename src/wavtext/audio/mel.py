"""The mel filter bank.  Settings -> the weight of each FFT bin in each band.

Triangles between points that lie evenly on the mel scale. Two scales: Slaney's (linear to 1 kHz,
logarithmic above; Auditory Toolbox, 1998) and HTK's (2595 log10(1 + f / 700)). Slaney's norm gives
each triangle the same area, 2 / its width in Hz.
"""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float

MelScale = Literal["slaney", "htk"]
MelNorm = Literal["slaney", "none"]

_LINEAR_HZ = 200.0 / 3  # Hz a mel, below the break
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _LINEAR_HZ
_LOG_STEP = math.log(6.4) / 27  # natural logarithm of the frequency ratio of a mel, above the break


def hz_to_mel(frequency: Float[np.ndarray, "..."], scale: MelScale) -> Float[np.ndarray, "..."]:
    """Hz to mel."""
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + frequency / 700.0)
    above = _BREAK_MEL + np.log(np.maximum(frequency, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(frequency < _BREAK_HZ, frequency / _LINEAR_HZ, above)


def mel_to_hz(mel: Float[np.ndarray, "..."], scale: MelScale) -> Float[np.ndarray, "..."]:
    """Mel to Hz."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ, above)


def mel_bank(
    *,
    sample_rate: int,
    n_fft: int,
    n_mels: int,
    f_min: float,
    f_max: float,
    scale: MelScale,
    norm: MelNorm,
) -> Float[np.ndarray, "bins mels"]:
    """Weights of the n_fft // 2 + 1 bins in each band, float64; a band between bins is all zero."""
    bins = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)  # Hz
    ends = hz_to_mel(np.array([f_min, f_max]), scale)
    points = mel_to_hz(np.linspace(ends[0], ends[1], n_mels + 2), scale)  # Hz
    lower, centre, upper = points[:-2], points[1:-1], points[2:]
    rising = (bins[:, None] - lower) / (centre - lower)
    falling = (upper - bins[:, None]) / (upper - centre)
    bank = np.maximum(0.0, np.minimum(rising, falling))
    return bank * (2.0 / (upper - lower)) if norm == "slaney" else bank
