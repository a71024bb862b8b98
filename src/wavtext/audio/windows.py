"""A stream of samples -> deterministic windows, in bounded memory.

Silence at both ends is trimmed, so that a lead-in does not move what a model hears; then window i
starts at i × hop, and the last window is aligned with the end, overlapping its predecessor, so that
nothing is cut. A clip shorter than a window repeats from its start up to the smallest allowed
length that holds it. The same samples give the same windows however the stream was split.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

import numpy as np

from wavtext.audio.waveform import SILENCE, Samples, peak
from wavtext.errors import ConfigError, EmptyAudioError

TRIM_BELOW_PEAK = 10.0 ** (-60 / 20)  # silence at the ends is what stays 60 dB below the peak ...
PEAK_HORIZON = 60.0  # s ... of the first minute of sound, all that a stream can look ahead
MAX_TRAILING = 60.0  # s of silence held back; what a longer one has before them is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """How a clip is cut into the windows that get an embedding each."""

    duration: float = 5.0  # s, of a window
    hop: float = 5.0  # s, from one window's start to the next
    min_duration: float = 1.25  # s; a short clip repeats to this × 1, 2, 4, ... or to `duration`

    def __post_init__(self) -> None:
        for name in ("duration", "hop", "min_duration"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ConfigError(f"'{name}' is {value}; it must be a number of seconds above 0.")
        for name in ("hop", "min_duration"):
            if getattr(self, name) > self.duration:
                raise ConfigError(
                    f"'{name}' is {getattr(self, name)} s; it must not exceed 'duration', "
                    f"{self.duration} s."
                )

    def lengths(self, sample_rate: int) -> list[int]:
        """The window lengths that occur, in samples, ascending; the last is `duration`."""
        full = max(1, round(self.duration * sample_rate))
        lengths: list[int] = []
        length = self.min_duration
        while (samples := max(1, round(length * sample_rate))) < full:
            lengths.append(samples)
            length *= 2
        return [*dict.fromkeys(lengths), full]


class Span(NamedTuple):
    """A window's place in the trimmed clip, in samples; repeated where `length` > stop - start."""

    start: int
    stop: int
    length: int


class ClipWindow(NamedTuple):
    """A window with its place in the clip as it came, silence included."""

    start: float  # s
    end: float  # s; of a repeated clip, where the clip really ends
    samples: Samples


def window_spans(num_samples: int, sample_rate: int, config: WindowConfig) -> list[Span]:
    """Where the windows of a trimmed clip of `num_samples` lie."""
    lengths = config.lengths(sample_rate)
    full = lengths[-1]
    if num_samples <= 0:
        return []
    if num_samples <= full:
        return [Span(0, num_samples, min(each for each in lengths if each >= num_samples))]
    starts = [*range(0, num_samples - full, _hop(sample_rate, config)), num_samples - full]
    return [Span(start, start + full, full) for start in starts]


def iter_windows(
    blocks: Iterable[Samples], sample_rate: int, config: WindowConfig, *, name: str = "The sound"
) -> Iterator[ClipWindow]:
    """Cut a stream into windows, holding about two minutes of it at most.

    Args:
        blocks: The clip's samples, (samples,) each, in order, split anywhere.
        sample_rate: Hz.
        config: How to cut.
        name: What to call the clip in an error: its path.

    Yields:
        (start, end, samples): seconds in the clip as it came, and (length,) float32.

    Raises:
        EmptyAudioError: The stream holds no samples, or none that reaches -90 dBFS.
    """
    full = config.lengths(sample_rate)[-1]
    hop = _hop(sample_rate, config)
    held = _Fifo()  # from `start`, or from `full` before the end where that is earlier
    start = 0  # of the next window, in the trimmed clip
    offset = -1  # of the trimmed clip in the whole one
    for position, block in _trim(blocks, sample_rate, name):
        offset = position if offset < 0 else offset
        held.append(block)
        # Strictly more than a window: the last one is laid by the clip's end.
        while held.stop - start > full:
            yield _window(held, Span(start, start + full, full), offset, sample_rate)
            start += hop
        held.drop_before(min(start, held.stop - full))
    if held.stop <= full:
        span = window_spans(held.stop, sample_rate, config)[0]
    else:
        span = Span(held.stop - full, held.stop, full)
    yield _window(held, span, offset, sample_rate)


def _hop(sample_rate: int, config: WindowConfig) -> int:
    return max(1, round(config.hop * sample_rate))


def _trim(blocks: Iterable[Samples], sample_rate: int, name: str) -> Iterator[tuple[int, Samples]]:
    """The stream without the silence at its ends: (position in the clip, samples), no gaps."""
    stream = iter(blocks)
    skipped, first = _skip_silence(stream, name)
    horizon = round(PEAK_HORIZON * sample_rate)
    head = _take(chain([first], stream), horizon)
    threshold = max(peak(head[:horizon]) * TRIM_BELOW_PEAK, SILENCE)
    lead = int(np.argmax(np.abs(head) >= threshold))
    most_held = round(MAX_TRAILING * sample_rate)
    held = _Fifo()  # starts at the trimmed clip's first sample; holds what may be trailing silence
    for block in chain([head[lead:]], stream):
        held.append(block)
        loud = np.flatnonzero(np.abs(block) >= threshold)
        sure = held.stop - most_held
        if len(loud):
            sure = max(sure, held.stop - len(block) + int(loud[-1]) + 1)
        if sure > held.start:
            yield skipped + lead + held.start, held.read(held.start, sure)
            held.drop_before(sure)


def _skip_silence(stream: Iterator[Samples], name: str) -> tuple[int, Samples]:
    """(samples left out, the block from the first one on that reaches -90 dBFS)."""
    skipped = 0
    for block in stream:
        audible = np.abs(block) >= SILENCE
        if audible.any():
            first = int(np.argmax(audible))
            return skipped + first, block[first:]
        skipped += len(block)
    if not skipped:
        raise EmptyAudioError(f"{name} holds no samples.")
    raise EmptyAudioError(
        f"{name} is silent: no sample reaches -90 dBFS.", help="There is nothing to find in it."
    )


def _take(stream: Iterator[Samples], num_samples: int) -> Samples:
    """At least `num_samples` of the stream in one array, or all of it."""
    taken: list[Samples] = []
    while num_samples > 0 and (block := next(stream, None)) is not None:
        taken.append(block)
        num_samples -= len(block)
    return np.concatenate(taken) if taken else np.empty(0, np.float32)


class _Fifo:
    """The part of a stream between `start` and `stop`, in samples from the stream's begin."""

    def __init__(self) -> None:
        self._blocks: deque[Samples] = deque()
        self._first = 0  # position of the first block's first sample
        self.start = 0
        self.stop = 0

    def append(self, block: Samples) -> None:
        if len(block):
            self._blocks.append(block)
            self.stop += len(block)

    def read(self, start: int, stop: int) -> Samples:
        """A copy of the samples from `start` to `stop`."""
        parts: list[Samples] = []
        position = self._first
        for block in self._blocks:
            if position >= stop:
                break
            parts.append(block[max(0, start - position) : stop - position])
            position += len(block)
        return np.concatenate(parts)

    def drop_before(self, position: int) -> None:
        self.start = max(self.start, position)
        while self._blocks and self._first + len(self._blocks[0]) <= self.start:
            self._first += len(self._blocks.popleft())


def _window(held: "_Fifo", span: Span, offset: int, sample_rate: int) -> ClipWindow:
    samples = held.read(span.start, span.stop)
    if len(samples) < span.length:
        samples = np.resize(samples, span.length)
    start, end = (span.start + offset) / sample_rate, (span.stop + offset) / sample_rate
    return ClipWindow(start, end, samples)
