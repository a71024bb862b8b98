"""Waveform to log-mel spectrogram.  (samples,) -> (frames, mels).

The one front end of training and search (docs/decisions/0010-one-front-end.md): a float32 real FFT
over blocks of frames that fit the cache, then only the bins that the mel bank uses.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
from jaxtyping import Float

from wavtext.audio.mel import MelNorm, MelScale, mel_bank
from wavtext.errors import AudioError, ConfigError, EmptyAudioError

_BLOCK = 32  # frames at a time: samples and spectra stay in a core's cache
# Multiplications of one matrix product: OpenBLAS starts threads above, which on a busy machine cost
# 50 times what they save (5 -> 300 ms for 10 s of sound).
_MAX_PRODUCT = 1 << 18
# Frames of one matrix product: of 12 rows and more, OpenBLAS's AVX2 kernels sum some otherwise than
# others, so that a frame's last bit would depend on its place.
_MAX_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class LogMelConfig:
    """Log-mel front end. Defaults: Deshmukh et al. 2022, section 4.2, and PANNs' conventions.

    PANNs' conventions (Kong et al. 2020, as torchlibrosa computes them): periodic Hann window,
    centred frames, reflection at the edges, power 2, Slaney's mel scale and norm, no lower bound
    relative to the maximum.
    """

    sample_rate: int = 44_100  # Hz
    n_fft: int | None = None  # samples; None: the window's length
    win_length: int = 1024  # samples
    hop_length: int = 320  # samples
    n_mels: int = 64  # bands
    f_min: float = 50.0  # Hz
    f_max: float = 8_000.0  # Hz
    mel_scale: MelScale = "slaney"  # how bands are spaced
    mel_norm: MelNorm = "slaney"  # bands of equal area, or of equal height
    amin: float = 1e-10  # power; less is taken as this: the floor of the dB scale
    bank_sample_rate: int | None = None  # Hz that the mel bank is laid out for; None: sample_rate.
    # Only MS-CLAP 2023 differs: it hears 44.1 kHz through a bank made for 32 kHz.

    def __post_init__(self) -> None:
        for name in ("sample_rate", "win_length", "hop_length", "n_mels"):
            if getattr(self, name) < 1:
                raise ConfigError(f"'{name}' is {getattr(self, name)}; it must be 1 or more.")
        if self.win_length < 2:
            raise ConfigError("'win_length' is 1; it must be 2 or more.")
        if self.n_fft is not None and self.n_fft < self.win_length:
            raise ConfigError(
                f"'n_fft' is {self.n_fft}; it must not be below 'win_length', {self.win_length}."
            )
        if self.bank_sample_rate is not None and self.bank_sample_rate < 1:
            raise ConfigError(f"'bank_sample_rate' is {self.bank_sample_rate}; it must be above 0.")
        nyquist = (self.bank_sample_rate or self.sample_rate) / 2
        if not 0 <= self.f_min < self.f_max <= nyquist:
            raise ConfigError(
                f"'f_min' is {self.f_min} and 'f_max' is {self.f_max}; they must rise and lie in "
                f"0 to {nyquist:g} Hz, half of 'sample_rate'."
            )
        for name, known in (("mel_scale", ("slaney", "htk")), ("mel_norm", ("slaney", "none"))):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"'{name}' is {getattr(self, name)!r}; it must be one of {', '.join(known)}."
                )
        if not (math.isfinite(self.amin) and self.amin > 0):
            raise ConfigError(f"'amin' is {self.amin}; it must be a power above 0.")

    @property
    def fft_length(self) -> int:
        """Samples of one FFT: `n_fft`, or the window's length."""
        return self.win_length if self.n_fft is None else self.n_fft

    def num_frames(self, num_samples: int) -> int:
        """Frames that `num_samples` give."""
        return num_samples // self.hop_length + 1


def log_mel(
    samples: Float[np.ndarray, " samples"], config: LogMelConfig
) -> Float[np.ndarray, "frames mels"]:
    """Log-mel spectrogram in dB, frames = samples // hop_length + 1.

    Frames are centred and the sound is reflected at its edges; one shorter than half a frame is
    reflected as often as needed, as NumPy's "reflect" does, and a single sample repeats.

    Args:
        samples: Float samples at the config's rate, full scale [-1, 1].
        config: The front end.

    Returns:
        10 log10(max(mel power, amin)), float32.

    Raises:
        EmptyAudioError: There are no samples.
        AudioError: The samples are not one channel of floats.
    """
    if samples.ndim != 1 or samples.dtype.kind != "f":
        raise AudioError(
            f"log_mel takes float samples of one channel, not {samples.dtype} {samples.shape}.",
            help="Make a wavtext.Waveform of them, which scales integers.",
        )
    if not len(samples):
        raise EmptyAudioError("log_mel was given no samples.")
    kernel = _kernel(config)
    n_fft, hop = config.fft_length, config.hop_length
    edges = (n_fft // 2, n_fft - n_fft // 2)
    padded = np.pad(samples.astype(np.float32, copy=False), edges, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop]
    frames = frames[: config.num_frames(len(samples))]
    result = np.empty((-(-len(frames) // _BLOCK) * _BLOCK, config.n_mels), np.float32)
    block = np.zeros((_BLOCK, n_fft), np.float32)
    spectrum = np.empty((_BLOCK, n_fft // 2 + 1), np.complex64)
    squares = spectrum.view(np.float32)[:, 2 * kernel.first : 2 * kernel.last]
    power = np.empty((_BLOCK, kernel.last - kernel.first), np.float32)
    stacked = power.reshape(-1, kernel.rows, power.shape[1])
    projected = result.reshape(-1, _BLOCK // kernel.rows, kernel.rows, config.n_mels)
    for index, begin in enumerate(range(0, len(frames), _BLOCK)):
        part = frames[begin : begin + _BLOCK]
        np.multiply(part, kernel.window, out=block[: len(part)])
        np.fft.rfft(block, out=cast(Any, spectrum))
        np.square(squares, out=squares)
        np.add(squares[:, 0::2], squares[:, 1::2], out=power)
        np.matmul(stacked, kernel.bank, out=projected[index])
    result = result[: len(frames)]
    np.maximum(result, np.float32(config.amin), out=result)
    np.log10(result, out=result)
    result *= np.float32(10.0)
    return result


class _Kernel(NamedTuple):
    window: Float[np.ndarray, " n_fft"]
    first: int  # of the bins that the bank uses
    last: int  # one past them
    bank: Float[np.ndarray, "bins mels"]
    rows: int  # frames of one matrix product


@lru_cache(maxsize=16)
def _kernel(config: LogMelConfig) -> _Kernel:
    n_fft, length = config.fft_length, config.win_length
    window = np.zeros(n_fft, np.float32)
    begin = (n_fft - length) // 2
    phase = np.arange(length) * (2 * np.pi / length)
    window[begin : begin + length] = 0.5 - 0.5 * np.cos(phase)  # periodic Hann
    bank = mel_bank(
        sample_rate=config.bank_sample_rate or config.sample_rate,
        n_fft=n_fft,
        n_mels=config.n_mels,
        f_min=config.f_min,
        f_max=config.f_max,
        scale=config.mel_scale,
        norm=config.mel_norm,
    )
    used = np.flatnonzero(bank.any(axis=1))
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    bank = np.ascontiguousarray(bank[first:last], dtype=np.float32)
    rows = _MAX_ROWS
    while rows > 1 and rows * bank.size > _MAX_PRODUCT:
        rows //= 2
    return _Kernel(window, first, last, bank, rows)
