"""Windows cover the clip, end where it ends, and depend on its samples only."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wavtext.audio import windows
from wavtext.audio.windows import WindowConfig, iter_windows, window_spans
from wavtext.errors import ConfigError, EmptyAudioError

RATE = 100  # Hz: a tiny rate keeps minutes small
CONFIG = WindowConfig()  # 5 s windows side by side, 1.25 s at least


def noise(num_samples: int, seed: int = 0) -> np.ndarray:
    """Loud at every sample, so that nothing is trimmed."""
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1, 1], num_samples)
    return (generator.uniform(0.1, 1.0, num_samples) * signs).astype(np.float32)


def split(samples: np.ndarray, cuts: list[float]) -> list[np.ndarray]:
    return np.split(samples, sorted(round(cut * len(samples)) for cut in cuts))


def cut(samples, config=CONFIG, rate=RATE):
    return list(iter_windows([samples], rate, config))


configs = st.builds(
    lambda duration, hop, least: WindowConfig(
        duration=duration, hop=hop * duration, min_duration=least * duration
    ),
    st.floats(1.0, 8.0),
    st.floats(0.2, 1.0),
    st.floats(0.05, 1.0),
)


@settings(deadline=None)
@given(num_samples=st.integers(1, 5_000), config=configs)
def test_spans_cover_every_sample_and_end_with_the_clip(num_samples, config):
    spans = window_spans(num_samples, RATE, config)
    lengths = config.lengths(RATE)
    covered = np.zeros(num_samples, bool)
    for span in spans:
        covered[span.start : span.stop] = True
        assert span.length in lengths
    assert covered.all()
    assert spans[0].start == 0
    assert spans[-1].stop == num_samples
    starts = [span.start for span in spans]
    assert starts == sorted(set(starts))


@settings(deadline=None)
@given(num_samples=st.integers(1, 3_000), config=configs)
def test_windows_are_the_spans_of_the_clip(num_samples, config):
    samples = noise(num_samples)
    found = cut(samples, config)
    spans = window_spans(num_samples, RATE, config)
    assert len(found) == len(spans)
    for (start, end, window), span in zip(found, spans, strict=True):
        assert (start, end) == (span.start / RATE, span.stop / RATE)
        expected = np.resize(samples[span.start : span.stop], span.length)
        np.testing.assert_array_equal(window, expected)


@settings(deadline=None, max_examples=60)
@given(
    lead=st.integers(0, 7_000),
    body=st.integers(1, 3_000),
    gap=st.integers(0, 7_000),
    tail=st.integers(0, 7_000),
    cuts=st.lists(st.floats(0, 1), max_size=8),
    config=configs,
)
def test_windows_do_not_depend_on_how_the_stream_is_split(lead, body, gap, tail, cuts, config):
    samples = np.concatenate(
        [np.zeros(lead), noise(body), np.zeros(gap), 0.5 * noise(body // 2), np.zeros(tail)]
    ).astype(np.float32)
    whole = cut(samples, config)
    pieces = list(iter_windows(split(samples, cuts), RATE, config))
    assert len(whole) == len(pieces)
    for one, other in zip(whole, pieces, strict=True):
        assert one[:2] == other[:2]
        assert np.array_equal(one.samples, other.samples)


@settings(deadline=None)
@given(
    lead=st.integers(0, 20_000),
    num_samples=st.integers(1, 9_000),
    tail=st.integers(0, 6_000),
    config=configs,
)
def test_silence_at_the_ends_moves_the_times_and_nothing_else(lead, num_samples, tail, config):
    samples = noise(num_samples) * np.linspace(0.01, 1, num_samples, dtype=np.float32)
    samples[0] = samples[-1] = 0.5  # nothing of the bare clip is trimmed
    padded = np.concatenate([np.zeros(lead), samples, np.zeros(tail)]).astype(np.float32)
    for bare, found in zip(cut(samples, config), cut(padded, config), strict=True):
        assert found.start == pytest.approx(bare.start + lead / RATE)
        assert found.end == pytest.approx(bare.end + lead / RATE)
        np.testing.assert_array_equal(found.samples, bare.samples)


@pytest.mark.parametrize("gain", [10 ** (12 / 20), 10 ** (-12 / 20)])
def test_gain_changes_no_window_but_its_loudness(gain):
    decay = np.exp(-np.arange(30 * RATE) / RATE)  # falls by 60 dB in 6.9 s
    samples = (0.2 * decay * noise(30 * RATE)).astype(np.float32)
    quiet, loud = cut(samples), cut((gain * samples).astype(np.float32))
    assert [window[:2] for window in quiet] == [window[:2] for window in loud]


@pytest.mark.parametrize(
    ("duration", "length"),
    [(0.01, 1.25), (1.1, 1.25), (1.25, 1.25), (1.26, 2.5), (2.51, 5.0), (4.99, 5.0), (5.0, 5.0)],
)
def test_a_short_clip_repeats_up_to_the_smallest_length_that_holds_it(duration, length):
    samples = noise(round(duration * RATE))
    [(start, end, window)] = cut(samples)
    assert (start, end) == (0.0, duration)
    assert len(window) == round(length * RATE)
    np.testing.assert_array_equal(window, np.resize(samples, len(window)))


def test_a_long_clip_ends_with_a_window_at_its_end():
    assert [window[:2] for window in cut(noise(12 * RATE))] == [(0, 5), (5, 10), (7, 12)]
    assert [window[:2] for window in cut(noise(10 * RATE))] == [(0, 5), (5, 10)]


def test_a_duration_that_is_no_multiple_is_the_last_length():
    config = WindowConfig(duration=7.0, hop=7.0, min_duration=1.25)
    assert config.lengths(RATE) == [125, 250, 500, 700]
    assert [len(window.samples) for window in cut(noise(6 * RATE), config)] == [700]


def test_silence_in_the_middle_is_kept():
    samples = np.concatenate([noise(100), np.zeros(30 * RATE), noise(100)]).astype(np.float32)
    found = cut(samples)
    assert found[0].start == 0.0
    assert found[-1].end == 32.0
    assert not found[2].samples.any()


def test_a_quiet_floor_60_db_below_the_peak_is_trimmed_and_one_50_db_below_is_not():
    for decibels, start in [(-62, 10.0), (-50, 0.0)]:
        floor = 10 ** (decibels / 20) * np.sign(noise(10 * RATE))
        samples = np.concatenate([floor, np.ones(3 * RATE)]).astype(np.float32)
        assert cut(samples)[0].start == start


def test_at_most_a_minute_of_trailing_silence_is_trimmed():
    for silence, end in [(60, 65.0 - 60), (61, 66.0 - 60), (600, 605.0 - 60)]:
        samples = np.concatenate([noise(5 * RATE), np.zeros(silence * RATE)]).astype(np.float32)
        assert cut(samples)[-1].end == end


def test_an_hour_of_leading_silence_is_trimmed():
    samples = np.concatenate([np.zeros(3_600 * RATE), noise(5 * RATE)]).astype(np.float32)
    assert [window[:2] for window in cut(samples)] == [(3_600.0, 3_605.0)]


def test_a_silent_clip_is_refused_by_name():
    quiet = np.full(200 * RATE, 2.0**-16, np.float32)
    with pytest.raises(EmptyAudioError, match=r"^night.wav is silent: .* -90 dBFS"):
        list(iter_windows([quiet], RATE, CONFIG, name="night.wav"))


@pytest.mark.parametrize("blocks", [[], [np.empty(0, np.float32)]])
def test_an_empty_stream_is_refused(blocks):
    with pytest.raises(EmptyAudioError, match="no samples"):
        list(iter_windows(blocks, RATE, CONFIG))


def test_memory_is_bounded_by_two_minutes_whatever_the_stream_holds(monkeypatch):
    held: list[int] = []
    append = windows._Fifo.append

    def spy(fifo, block):
        append(fifo, block)
        held.append(sum(len(each) for each in fifo._blocks))

    monkeypatch.setattr(windows._Fifo, "append", spy)
    generator = np.random.default_rng(0)

    def stream():
        for _ in range(600):
            seconds = 10 * RATE
            yield noise(seconds) if generator.random() < 0.5 else np.zeros(seconds, np.float32)

    count = sum(1 for _ in iter_windows(stream(), RATE, CONFIG))
    assert count > 1_000
    assert max(held) <= (2 * 60 + 2 * 10) * RATE


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"duration": 0.0}, "duration"),
        ({"hop": -1.0}, "hop"),
        ({"hop": 6.0}, "hop"),
        ({"min_duration": 5.5}, "min_duration"),
        ({"duration": float("inf")}, "duration"),
    ],
)
def test_settings_out_of_range_are_named(arguments, name):
    with pytest.raises(ConfigError, match=name):
        WindowConfig(**arguments)
