"""A sound in memory.  Samples of one channel + their rate -> a checked, immutable Waveform."""

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

from wavtext.errors import AudioError, EmptyAudioError

Samples: TypeAlias = Float[np.ndarray, " samples"]

SILENCE = 10.0 ** (-90 / 20)  # peak below which a sound is silence: -90 dBFS, 1 step of 16 bits

_PCM_SCALES = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


@dataclass(frozen=True, slots=True, eq=False)
class Waveform:
    """One channel of sound; full scale is [-1, 1], and what goes beyond it is kept.

    Float samples of any precision are taken as they are, int16, int32 and uint8 ones are scaled
    as PCM. Several channels are refused: averaging them is the caller's decision.

    Attributes:
        samples: (samples,) float32, finite, at least one.
        sample_rate: Samples a second (Hz).

    Raises:
        EmptyAudioError: There are no samples, or some are not finite numbers.
        AudioError: The samples are not one channel of numbers, or the rate is not positive.
    """

    samples: Samples
    sample_rate: int  # Hz

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample_rate", _as_rate(self.sample_rate))
        object.__setattr__(self, "samples", _as_mono_float32(self.samples))

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return len(self.samples) / self.sample_rate

    def resample(self, sample_rate: int) -> "Waveform":
        """The same sound at another rate (Hz), as `load_audio` resamples files."""
        if sample_rate == self.sample_rate:
            return self
        import soxr

        return Waveform(
            soxr.resample(self.samples, self.sample_rate, sample_rate, quality="HQ"), sample_rate
        )


def is_silent(samples: Samples) -> bool:
    """Whether no sample reaches -90 dBFS, one step of 16 bits: nothing that a model could hear."""
    return peak(samples) < SILENCE


def peak(samples: Samples) -> float:
    """Largest magnitude; 0 when there are no samples, NaN when one is not a number."""
    if not len(samples):
        return 0.0
    return float(np.maximum(np.max(samples), -np.min(samples)))


def _as_rate(rate: object) -> int:
    if not isinstance(rate, int | np.integer) or isinstance(rate, bool) or rate <= 0:
        raise AudioError(
            f"A waveform's sample_rate is {rate!r}; it must be a whole number of Hz above 0."
        )
    return int(rate)


def _as_mono_float32(samples: object) -> Samples:
    array = np.asarray(samples)
    if array.ndim != 1:
        raise AudioError(
            f"A waveform has one channel, shape (samples,), not {array.shape}.",
            help="Average the channels: samples.mean(axis=0) for (channels, samples), "
            "axis=1 for (samples, channels).",
        )
    if not len(array):
        raise EmptyAudioError("The waveform holds no samples.")
    if array.dtype.kind == "f":
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, refused below
            array = np.ascontiguousarray(array, dtype=np.float32)
    elif array.dtype in _PCM_SCALES:
        array = (array / _PCM_SCALES[array.dtype]).astype(np.float32)
    elif array.dtype == np.uint8:
        array = (array.astype(np.float32) - 128.0) / np.float32(128.0)
    else:
        raise AudioError(
            f"A waveform's samples are {array.dtype}, whose full scale is unknown.",
            help="Give floats in [-1, 1], or int16, int32 or uint8 as PCM files hold them.",
        )
    if not math.isfinite(peak(array)):
        where = int(np.flatnonzero(~np.isfinite(array))[0])
        raise EmptyAudioError(
            f"The waveform holds values that are not numbers (NaN or infinite), "
            f"the first at sample {where}.",
            help="Export the sound again from its source.",
        )
    return array
