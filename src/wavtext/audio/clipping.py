"""Clipped peaks, rebuilt.  Blocks of channels -> the same, nearer to what they were unclipped.

What was recorded or mixed too loud has plateaus where its peaks were, all at the level of its
loudest sample, which need not be full scale any more.  Each plateau is replaced by the cubic that
goes on from the samples on both sides of it with their slopes (Hermite's), so that a model hears
nearly what it would have heard of the unclipped sound (docs/decisions/0103-clipped-peaks.md).
"""

from collections import deque
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from wavtext.audio.readers import Channels
from wavtext.audio.waveform import Samples, Waveform

TOLERANCE = 1e-4  # of the level: 16 bits end at - 32,768 and 32,767
HIGHEST = 2.0  # of a rebuilt peak, in levels
LONGEST = 0.05  # s; a longer plateau is no clipped peak
HORIZON = 60.0  # s in which the loudest sample is sought, all that a stream can look ahead ...
MOST_VALUES = 1 << 25  # ... or fewer, of many channels
_BESIDE = 2  # samples on each side that a slope takes


def restored(blocks: Generator[Channels], sample_rate: int) -> Generator[Channels]:
    """The stream with its clipped peaks rebuilt, each channel by itself.

    The samples do not depend on how the stream was split; a plateau is held back until it ends.
    What is not clipped comes out as it went in.

    Args:
        blocks: (channels, samples) each, never empty, all of as many channels.
        sample_rate: Hz.
    """
    longest = round(LONGEST * sample_rate)
    with closing(blocks):
        ahead = deque(_look_ahead(blocks, sample_rate))
        if not ahead:
            return
        level = _level(np.concatenate(ahead, axis=1), sample_rate)
        held, known = ahead[0][:, :0], 0  # as it came; how much of it was passed on already
        for block in chain((ahead.popleft() for _ in range(len(ahead))), blocks):
            held = np.concatenate([held, block], axis=1)
            found = _plateaus_of(held, level)
            until = _decided(held.shape[1], found, longest)
            if until > known:
                yield _rebuilt(held, level, found, longest)[:, known:until]
            known = max(known, until)
            begin = max(0, known - _BESIDE)
            held, known = held[:, begin:], known - begin
        if held.shape[1] > known:
            yield _rebuilt(held, level, _plateaus_of(held, level), longest)[:, known:]


def restore(waveform: Waveform) -> Waveform:
    """A waveform with its clipped peaks rebuilt."""
    channels, rate = waveform.samples[None], waveform.sample_rate
    level = _level(channels, rate)
    found = _plateaus_of(channels, level)
    samples = _rebuilt(channels, level, found, round(LONGEST * rate))[0]
    return waveform if samples is waveform.samples else Waveform(samples, rate)


class _Plateaus(NamedTuple):
    """Stretches of samples at the level, of one sign each, in one channel."""

    begin: np.ndarray  # (plateaus,)
    end: np.ndarray  # (plateaus,), past the last sample
    sign: np.ndarray  # (plateaus,) float32


def _horizon(channels: int, sample_rate: int) -> int:
    return max(1, min(round(HORIZON * sample_rate), MOST_VALUES // channels))


def _look_ahead(blocks: Generator[Channels], sample_rate: int) -> Generator[Channels]:
    """The first blocks, as many as reach the horizon."""
    count = 0
    for block in blocks:
        yield block
        count += block.shape[1]
        if count >= _horizon(len(block), sample_rate):
            break


def _level(channels: Channels, sample_rate: int) -> Float[np.ndarray, " channels"]:
    """The loudest sample of each channel, up to the horizon."""
    heard = channels[:, : _horizon(len(channels), sample_rate)]
    heard = np.ascontiguousarray(heard)  # interleaved channels take ten times as long
    return np.maximum(heard.max(axis=1), -heard.min(axis=1))


def _plateaus_of(held: Channels, level: Float[np.ndarray, " channels"]) -> list[_Plateaus]:
    """Those of each channel."""
    return [_plateaus(*each) for each in zip(held, level, strict=True)]


def _plateaus(samples: Samples, level: float) -> _Plateaus:
    margin = np.float32(TOLERANCE * level)
    at = np.flatnonzero(np.abs(samples) >= level - margin)  # few, mostly: the rest is for these
    at = at[(np.abs(samples[at]) <= level + margin) & (samples[at] != 0)]
    sign = np.sign(samples[at])
    new = np.ones(len(at), bool)
    new[1:] = (np.diff(at) > 1) | (sign[1:] != sign[:-1])
    first = np.flatnonzero(new)
    last = np.append(first[1:], len(at))[: len(first)] - 1
    return _Plateaus(at[first], at[last] + 1, sign[first])


def _decided(until: int, found: list[_Plateaus], longest: int) -> int:
    """How many of `until` samples later ones cannot change; no channel's plateau is cut there."""
    begin = np.concatenate([each.begin for each in found])
    end = np.concatenate([each.end for each in found])
    short = end - begin <= longest
    begin, end = begin[short], end[short]
    cut = end > until - _BESIDE  # needs what follows
    while cut.any():
        until = int(begin[cut].min())
        cut = (begin < until) & (until < end)
    return until


def _rebuilt(
    held: Channels,
    level: Float[np.ndarray, " channels"],
    found: list[_Plateaus],
    longest: int,
) -> Channels:
    """What is decided, rebuilt; the same arrays where that is nothing."""
    parts = [_rebuild(*each, longest) for each in zip(held, level, found, strict=True)]
    return parts[0][None] if len(parts) == 1 else np.stack(parts)


def _rebuild(samples: Samples, level: float, found: _Plateaus, longest: int) -> Samples:
    """One channel with its plateaus rebuilt, but those at its ends or longer than `longest`."""
    begin, end, sign = found
    length = end - begin
    inside = (begin >= _BESIDE) & (end <= len(samples) - _BESIDE)
    chosen = inside & (length > 1) & (length <= longest)
    begin, end, sign, length = begin[chosen], end[chosen], sign[chosen], length[chosen]
    if not len(begin):
        return samples
    left, right = sign * samples[begin - 1], sign * samples[end]
    steps = (length + 1).astype(np.float32)  # from `left` to `right`
    rise = steps * np.maximum(left - sign * samples[begin - 2], 0)
    fall = steps * np.maximum(right - sign * samples[end + 1], 0)
    which = np.repeat(np.arange(len(begin)), length)
    first = np.cumsum(length) - length
    place = np.arange(len(which)) - first[which]
    t = (place + 1).astype(np.float32) / steps[which]
    u = 1 - t
    peak = (
        u * u * (1 + 2 * t) * left[which]
        + t * t * (1 + 2 * u) * right[which]
        + u * t * (u * rise[which] + t * fall[which])
    )
    above = np.maximum(np.maximum.reduceat(peak, first) - level, TOLERANCE * level)
    lower = np.minimum(1, (HIGHEST - 1) * level / above)  # as high as a rebuilt peak may be
    result = samples.copy()
    result[begin[which] + place] = sign[which] * (
        level + lower[which] * np.maximum(peak - level, 0)
    )
    return result
