"""One open sound file, read by ffmpeg.  A path -> blocks of float32 channels.

For what libsndfile cannot read: M4A/AAC, MP3, WMA, AMR, the sound of video.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np
import soxr

from wavtext.audio.readers import AudioInfo, CannotReadError, Channels, checked_rate

_PREROLL = 1.0  # s decoded before a seek's target, for codecs that build on what came before
_FORMATS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "matroska",
    "mpegts": "ts",
}
# Playlists name other files, and texts are no sound: never follow or render them.
_REFUSED = {"hls", "dash", "concat", "sdp", "imf", "tty", "lavfi", "webm_dash_manifest"}
_NO_SEEK = {"aac", "ac3", "eac3", "dts", "truehd", "mlp", "loas", "amr"}  # bare frames, no times
_KNOWS_DURATION = {"mp4", "matroska", "asf", "mp3", "flac", "wav", "ogg"}
_FULL_SCALE = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}


class PyavReader:
    """The best sound stream of a file, read by ffmpeg."""

    def __init__(self, path: Path) -> None:
        try:
            self._file = _File(path)
        except OSError as error:
            raise CannotReadError(_reason(error)) from error
        try:
            self._container: Any = av.open(
                self._file,
                metadata_errors="replace",
                container_options={"protocol_whitelist": "file"},
            )
            self._open_stream()
        except CannotReadError:
            self.close()
            raise
        except Exception as error:  # damaged files raise much besides FFmpegError
            self.close()
            raise CannotReadError(_reason(error)) from error
        self.flaw = ""

    def _open_stream(self) -> None:
        name: str = self._container.format.name
        if name in _REFUSED:
            raise CannotReadError(f"a {name} file, not a sound")
        self._stream = self._container.streams.best("audio")
        if self._stream is None:
            raise CannotReadError("it holds no sound, only pictures or text")
        context = self._stream.codec_context
        if context is None:
            raise CannotReadError("its sound is in a coding that ffmpeg does not know")
        if not context.channels:
            raise CannotReadError("its sound has no channels")
        self._rate: int = checked_rate(context.sample_rate)
        duration: float | None = None
        if self._stream.duration:
            duration = float(self._stream.duration * self._stream.time_base)
        elif self._container.duration:
            duration = self._container.duration / av.time_base
        self.info = AudioInfo(
            duration=duration,
            sample_rate=self._rate,
            channels=context.channels,
            format=_FORMATS.get(name, name.split(",")[0]),
            codec=context.codec.canonical_name,
        )

    def blocks(self, start: int) -> Iterator[Channels]:
        """Blocks of one codec frame each, from sample `start` to the end."""
        position = 0
        try:
            for position, block in self._positioned(start):
                if position + block.shape[1] > start:
                    yield block[:, max(0, start - position) :]
                position += block.shape[1]
        except (av.error.FFmpegError, ValueError, OSError, IndexError) as error:
            raise CannotReadError(_reason(error)) from error
        declared = self.info.duration
        if declared and self.info.format in _KNOWS_DURATION:
            missing = declared - position / self._rate
            if missing > max(0.2, 0.01 * declared):
                self.flaw = "part of it is missing"

    def _positioned(self, start: int) -> Iterator[tuple[int, Channels]]:
        """(position in the clip, channels) of each frame, from one at or before `start` on."""
        frames = self._frames()
        frame = next(frames, None)
        if frame is None:
            return
        position = 0
        if start > _PREROLL * self._rate and self.info.format not in _NO_SEEK:
            sought = self._seek(start, frame)
            if sought is None:  # decode from the beginning
                self._container.seek(0)
                frames = self._frames()
                frame = next(frames, None)
            else:
                frame, frames, position = sought
        yield from _counted(frame, frames, position, self._rate)

    def _seek(self, start: int, first: Any) -> tuple[Any, Iterator[Any], int] | None:
        """(frame, frames after it, its position) a little before `start`; None: it cannot be told.

        Args:
            start: The sample wanted.
            first: The stream's first frame: the clip begins with its first decoded sample.
        """
        if first.pts is None:
            return None
        tick = self._stream.time_base
        try:
            target = first.pts + int((start / self._rate - _PREROLL) / tick)
            self._container.seek(target, stream=self._stream)
            frames = self._frames()
            frame = next(frames, None)
        except av.error.FFmpegError:
            return None
        if frame is None or frame.pts is None:
            return None
        position = round(float((frame.pts - first.pts) * tick * self._rate))
        # Some containers count in milliseconds; frames of equal length tell the sample exactly.
        exact = first.samples + round((position - first.samples) / frame.samples) * frame.samples
        if abs(exact - position) <= tick * self._rate + 1:
            position = exact
        return (frame, frames, position) if 0 <= position <= start else None

    def _frames(self) -> Iterator[Any]:
        """Decoded frames; damaged packets are left out and noted."""
        for packet in self._container.demux(self._stream):
            try:
                yield from packet.decode()
            except av.error.InvalidDataError:
                self.flaw = "it is damaged"

    def close(self) -> None:
        """Let go of the file."""
        if hasattr(self, "_container"):
            self._container.close()
        self._file.close()


class _File:
    """A file for ffmpeg, whose names need not be UTF-8 and whose seeks may fail in silence."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.name = str(path)
        self.read = self._file.read
        self.tell = self._file.tell
        self.close = self._file.close

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError):  # before the begin, as damaged headers ask for
            return -1


def _counted(
    frame: Any, frames: Iterator[Any], position: int, rate: int
) -> Iterator[tuple[int, Channels]]:
    while frame is not None:
        block = _float_channels(frame)
        if frame.sample_rate != rate:  # streams spliced together
            block = soxr.resample(block.T, frame.sample_rate, rate).T
        yield position, block
        position += block.shape[1]
        frame = next(frames, None)


def _float_channels(frame: Any) -> Channels:
    """The frame's channels, integers scaled to full scale [-1, 1]."""
    array = frame.to_ndarray()
    if not frame.format.is_planar:
        array = array.reshape(-1, len(frame.layout.channels)).T
    name = frame.format.name.removesuffix("p")
    if array.dtype.kind == "f":
        return array.astype(np.float32, copy=False)
    scaled = array.astype(np.float32 if array.dtype.itemsize < 4 else np.float64)
    if name == "u8":
        scaled -= 128.0
    return (scaled / _FULL_SCALE[name]).astype(np.float32, copy=False)


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", "") or str(error)
    return text.strip().rstrip(".") or type(error).__name__
