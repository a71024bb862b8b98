"""Any sound file -> mono float32 samples at the rate you ask for, whole or as a stream.

libsndfile reads first; ffmpeg (PyAV) reads what it cannot, and goes on where it breaks off. MP3 is
ffmpeg's alone, because libsndfile's MP3 decoder writes its warnings to the terminal.
docs/decisions/0011-decoding.md says why.
"""

import logging
import math
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import soxr

from wavtext.audio import clipping, faults
from wavtext.audio.readers import (
    AudioInfo,
    CannotReadError,
    Channels,
    Reader,
    SoundFileReader,
    mean_of_channels,
)
from wavtext.audio.waveform import Samples, Waveform, peak
from wavtext.errors import AudioError, EmptyAudioError

__all__ = ["AUDIO_SUFFIXES", "AudioInfo", "load_audio", "probe", "stream_audio"]

_SOUND = (
    "aac ac3 aif aifc aiff amr ape au awb bwf caf dff dsf eac3 flac m4a m4b m4r mka mp2 mp3 mpc "
    "oga ogg opus ra rf64 snd sph spx tta voc w64 wav wave wma wv"
)
_VIDEO = "3g2 3gp asf avi flv m2ts m4v mkv mov mp4 mpeg mpg mts mxf ogv vob webm wmv"

AUDIO_SUFFIXES = frozenset(f".{name}" for name in f"{_SOUND} {_VIDEO}".split())
"""Lower-case suffixes that an indexer takes for sound, the sound of video included."""

WarningCallback = Callable[[str], None]

_log = logging.getLogger("wavtext.audio")
_log.addHandler(logging.NullHandler())


def load_audio(
    path: str | Path,
    sample_rate: int | None = None,
    *,
    start: float = 0.0,
    duration: float | None = None,
    restore_clipping: bool = False,
    on_warning: WarningCallback | None = None,
) -> Waveform:
    """A file's sound, its channels averaged, resampled with soxr (HQ).

    Args:
        path: A sound or video file.
        sample_rate: Hz; None: the file's own.
        start: Seconds to leave out.
        duration: Seconds to read at most; None: to the end.
        restore_clipping: Rebuild what is clipped at full scale, each channel by itself
            (wavtext.audio.clipping).
        on_warning: Called with one line when the file is damaged or cut short but what came before
            could be read; None: logged to "wavtext.audio".

    Raises:
        DecodeError: The file is missing, unreadable, not sound, or broken before its first sample.
        EmptyAudioError: It holds no samples (from `start` on), or values that are not numbers.
    """
    path = Path(path)
    rate, blocks = _open_stream(
        path, sample_rate, start, duration, 60.0, restore_clipping, on_warning
    )
    return Waveform(np.concatenate(list(blocks)), rate)


def stream_audio(
    path: str | Path,
    sample_rate: int | None = None,
    *,
    block_duration: float = 60.0,
    start: float = 0.0,
    duration: float | None = None,
    restore_clipping: bool = False,
    on_warning: WarningCallback | None = None,
) -> Iterator[Samples]:
    """The same samples as `load_audio`, in blocks of about `block_duration` seconds.

    Memory is bounded by the block, whatever the file's length. Arguments and errors are those of
    `load_audio`; errors come with the first block, or with a later one for values that are not
    numbers.

    Yields:
        (samples,) float32, never empty.
    """
    if not block_duration > 0:
        raise AudioError(f"'block_duration' is {block_duration}; it must be above 0 seconds.")
    path = Path(path)
    _, blocks = _open_stream(
        path, sample_rate, start, duration, block_duration, restore_clipping, on_warning
    )
    yield from blocks


def probe(path: str | Path) -> AudioInfo:
    """What the file is: duration, rate, channels, format; it is opened, not decoded.

    Raises:
        DecodeError: The file is missing, unreadable or not sound.
    """
    path = Path(path)
    head = faults.read_head(path)
    with closing(_open(path, head)) as reader:
        return reader.info


def _open_stream(
    path: Path,
    sample_rate: int | None,
    start: float,
    duration: float | None,
    block_duration: float,
    restore_clipping: bool,
    on_warning: WarningCallback | None,
) -> tuple[int, Iterator[Samples]]:
    """The output's rate and its blocks; the first one is decoded already."""
    if not (math.isfinite(start) and start >= 0):
        raise AudioError(f"'start' is {start}; it must be 0 or more seconds.")
    if duration is not None and not duration > 0:
        raise AudioError(f"'duration' is {duration}; it must be above 0 seconds.")
    if sample_rate is not None and sample_rate < 1:
        raise AudioError(f"'sample_rate' is {sample_rate}; it must be above 0 Hz.")
    native = _native_blocks(path, start, on_warning)
    first = next(native, None)
    if first is None:
        raise faults.empty(path, start)
    rate = first[0]
    wanted = sample_rate or rate

    def blocks() -> Generator[Channels]:
        with closing(native):
            yield first[1]
            for _, block in native:
                yield _spread(block, len(first[1]))

    channels = blocks()
    if duration is not None:
        channels = _limited(channels, max(1, round(duration * rate)))
    if restore_clipping:
        channels = clipping.restored(channels, rate)
    stream = _gathered(_mixed(channels), max(1, round(block_duration * rate)))
    stream = _finite(stream, path, start, rate)
    if wanted != rate:
        stream = _resampled(stream, rate, wanted)
    return wanted, stream


def _native_blocks(
    path: Path, start: float, on_warning: WarningCallback | None
) -> Generator[tuple[int, Channels]]:
    """(rate, block) from `start` on; one reader goes on where the other breaks off."""
    head = faults.read_head(path)
    rate = position = num_read = 0
    reasons: list[str] = []
    opened = False
    flaw = ""
    for make in _readers(path, head, start):
        try:
            reader = make(path)
        except CannotReadError as error:
            reasons.append(str(error))
            continue
        with closing(reader):
            if num_read and reader.info.sample_rate != rate:
                continue
            opened = True
            if not num_read:
                rate = reader.info.sample_rate
                position = round(start * rate)
            before, found = num_read, ""
            try:
                for block in reader.blocks(position):
                    position += block.shape[1]
                    num_read += block.shape[1]
                    yield rate, block
            except CannotReadError as error:
                found = "it is damaged or cut short"
                reasons.append(str(error))
            # Where one reader breaks, the other loses a piece too; but a length that libsndfile
            # takes from a header is wrong if ffmpeg finds more.
            if found or reader.flaw:
                flaw = flaw or found or reader.flaw
            elif num_read > before and flaw != "it is damaged or cut short":
                flaw = ""
        if num_read and not flaw:
            return
    if not opened:
        raise faults.not_sound(path, head, reasons)
    if num_read == 0:
        if reasons and start == 0:
            raise faults.broken(path, reasons)
        return
    message = f"{path}: {flaw}; the {position / rate:.1f} s that can be read are used."
    if on_warning is None:
        _log.warning("%s", message)
    else:
        on_warning(message)


def _readers(path: Path, head: bytes, start: float) -> list[Callable[[Path], Reader]]:
    """The readers in the order in which to try them."""
    sync = head[0] == 0xFF and head[1:2] >= b"\xe0"  # of an MPEG or ADTS frame
    if sync or head.startswith(b"ID3") or path.suffix.lower() in (".mp3", ".mp2"):
        return [_pyav_reader]
    # libsndfile 1.2.2 breaks off in some Opus files, and in Vorbis it seeks to wrong samples.
    if head.startswith(b"OggS") and (start > 0 or b"OpusHead" in head[:64]):
        return [_pyav_reader, SoundFileReader]
    return [SoundFileReader, _pyav_reader]


def _pyav_reader(path: Path) -> Reader:
    from wavtext.audio.pyav_reader import PyavReader  # loads ffmpeg: 0.1 s that WAV does not need

    return PyavReader(path)


def _open(path: Path, head: bytes) -> Reader:
    reasons: list[str] = []
    for make in _readers(path, head, 0.0):
        try:
            return make(path)
        except CannotReadError as error:
            reasons.append(str(error))
    raise faults.not_sound(path, head, reasons)


def _spread(block: Channels, num_channels: int) -> Channels:
    """The block with as many channels as those before it; another number is mixed first."""
    if len(block) == num_channels:
        return block
    return np.repeat(mean_of_channels(block)[None], num_channels, axis=0)


def _mixed(blocks: Generator[Channels]) -> Generator[Samples]:
    with closing(blocks):
        for block in blocks:
            yield mean_of_channels(block)


def _limited(blocks: Generator[Channels], num_samples: int) -> Generator[Channels]:
    """The first `num_samples` of a stream, which is closed after them."""
    with closing(blocks):
        for block in blocks:
            yield block[:, :num_samples]
            num_samples -= block.shape[1]
            if num_samples <= 0:
                break


def _gathered(blocks: Iterator[Samples], num_samples: int) -> Iterator[Samples]:
    """The stream in blocks of at least `num_samples`, the last one excepted."""
    held: list[Samples] = []
    count = 0
    for block in blocks:
        held.append(block)
        count += len(block)
        if count >= num_samples:
            yield np.concatenate(held)
            held, count = [], 0
    if count:
        yield np.concatenate(held)


def _finite(blocks: Iterator[Samples], path: Path, start: float, rate: int) -> Iterator[Samples]:
    position = start * rate
    for block in blocks:
        if not math.isfinite(peak(block)):
            first = (position + int(np.flatnonzero(~np.isfinite(block))[0])) / rate
            raise EmptyAudioError(
                f"{path}: holds values that are not numbers (NaN or infinite), "
                f"the first at {first:.2f} s.",
                help="Export the sound again from its source.",
            )
        position += len(block)
        yield block


def _resampled(blocks: Iterator[Samples], rate: int, wanted: int) -> Iterator[Samples]:
    stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32", quality="HQ")
    nothing = np.empty(0, np.float32)
    first, count = nothing, 0
    for block in blocks:
        first = first if len(first) else block[:1]
        result = stream.resample_chunk(block)
        count += len(result)
        if len(result):
            yield result
    result = stream.resample_chunk(nothing, last=True)
    if len(result):
        yield result
    elif not count:
        yield first  # shorter than half a sample of the new rate: one is kept
