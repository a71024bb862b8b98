"""One open sound file.  A path -> blocks of float32 channels at the file's own rate.

Two readers behind one protocol: libsndfile (SoundFileReader, fast) and ffmpeg (pyav_reader.py,
which reads what libsndfile cannot).  Neither mixes channels: ffmpeg's own down-mix is √2 louder
than the mean for stereo.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import numpy as np
import soundfile
from jaxtyping import Float

from wavtext.audio.waveform import Samples

Channels: TypeAlias = Float[np.ndarray, "channels samples"]

_CHUNK = 1 << 16  # frames of one read, at most: what is lost where a file is damaged
_CHUNK_VALUES = 1 << 18  # of all channels
_LOWEST_RATE = 100  # Hz; below, a header is damaged or the file holds no sound
_FORMATS = {"WAVEX": "wav", "SVX": "iff", "MPC2K": "mpc", "NIST": "sph"}
# What libsndfile notes of a WAV's or AIFF's samples: the length in the header, and the real one.
_SHORT_CHUNK = re.compile(r"^ *(?:data|SSND) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
_UNKNOWN_LENGTH = 0x7FFF_0000  # bytes; programs that write to a pipe claim 2 or 4 GiB
_OGG_WITHOUT_END = "without an End-Of-Stream"


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a sound file is, without decoding it."""

    duration: float | None  # s; None where the file does not say
    sample_rate: int  # Hz
    channels: int
    format: str  # the container in one lower-case word: wav, flac, ogg, mp3, mp4, ...
    codec: str  # the coding in lower case: pcm_16, vorbis, opus, aac, wmav2, ...


class CannotReadError(Exception):
    """This reader cannot make sense of the file; another one may."""


class Reader(Protocol):
    """An open sound file."""

    info: AudioInfo
    flaw: str  # what was found to be wrong with the file so far, in words; empty: nothing

    def blocks(self, start: int) -> Iterator[Channels]:
        """Blocks from frame `start` to the end; raises CannotReadError where it breaks."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


class SoundFileReader:
    """A file read by libsndfile: WAV, RF64, BWF, AIFF, FLAC, Ogg, CAF, AU and their kin."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = soundfile.SoundFile(path)
        except (soundfile.SoundFileError, OSError, TypeError, ValueError) as error:
            raise CannotReadError(_reason(error)) from error
        try:
            checked_rate(self._file.samplerate)
        except CannotReadError:
            self._file.close()
            raise
        kind: str = self._file.format
        self.info = AudioInfo(
            duration=self._file.frames / self._file.samplerate or None,
            sample_rate=self._file.samplerate,
            channels=self._file.channels,
            format=_FORMATS.get(kind, kind.lower()),
            codec=self._file.subtype.lower(),
        )
        self.flaw = ""
        if _is_cut_short(self._file.extra_info):
            self.flaw = "it is cut short"

    def blocks(self, start: int) -> Iterator[Channels]:
        """Blocks of 65,536 frames or a second, from frame `start` to the end."""
        file = self._file
        count = max(1, min(_CHUNK, _CHUNK_VALUES // file.channels, max(file.samplerate, 1_000)))
        try:
            if start:
                file.seek(min(start, file.frames))
            position = start
            while len(frames := file.read(count, dtype="float32", always_2d=True)):
                position += len(frames)
                yield frames.T
        except (soundfile.SoundFileError, OSError) as error:
            raise CannotReadError(_reason(error)) from error
        if position < file.frames - file.samplerate // 10:
            self.flaw = "it is cut short"

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def checked_rate(rate: int) -> int:
    """The rate (Hz), if sound can have it."""
    if rate < _LOWEST_RATE:
        raise CannotReadError(f"its header claims {rate} samples a second")
    return rate


def _is_cut_short(notes: str) -> bool:
    """Whether libsndfile's notes say that samples are missing at the end."""
    chunk = _SHORT_CHUNK.search(notes)
    if chunk and int(chunk[2]) < int(chunk[1]) < _UNKNOWN_LENGTH:
        return True
    return _OGG_WITHOUT_END in notes


def mean_of_channels(channels: Channels) -> Samples:
    """The average of the channels, as loud as one of them when all are equal."""
    if len(channels) == 1:
        return np.ascontiguousarray(channels[0])
    with np.errstate(over="ignore", invalid="ignore"):  # what is infinite is refused later
        total = channels[0] + channels[1]
        for channel in channels[2:]:
            total += channel
        total *= np.float32(1 / len(channels))
    return total


def _reason(error: Exception) -> str:
    text = getattr(error, "error_string", "") or str(error)
    return text.strip().rstrip(".") or type(error).__name__
