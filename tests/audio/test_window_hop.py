"""Windows that overlap: their starts by hand."""

import numpy as np

from wavtext.audio.windows import WindowConfig, iter_windows, window_spans

OVERLAPPING = WindowConfig(duration=2.0, hop=0.5, min_duration=1.0)


def test_the_hop_is_the_time_between_starts_and_the_last_window_ends_with_the_clip():
    spans = window_spans(37, 10, OVERLAPPING)
    assert [(each.start, each.stop) for each in spans] == [
        (0, 20), (5, 25), (10, 30), (15, 35), (17, 37),
    ]  # fmt: skip


def test_a_stream_is_cut_at_the_same_times():
    sound = np.full(37, 0.5, np.float32)
    found = list(iter_windows([sound[:11], sound[11:]], 10, OVERLAPPING))
    assert [each.start for each in found] == [0.0, 0.5, 1.0, 1.5, 1.7]
    assert [each.end for each in found] == [2.0, 2.5, 3.0, 3.5, 3.7]


def test_the_last_window_of_a_long_stream_of_small_blocks_is_whole():
    """Beyond the first minute, what is behind the next window must stay for the last one."""
    sound = np.random.default_rng(0).uniform(0.1, 0.5, 903).astype(np.float32)
    config = WindowConfig(duration=5.0, hop=5.0, min_duration=1.25)
    blocks = [sound[begin : begin + 7] for begin in range(0, len(sound), 7)]
    found = list(iter_windows(blocks, 10, config))
    assert [each.start for each in found] == [*np.arange(0, 86, 5), 85.3]
    for each in found:
        begin = round(each.start * 10)
        np.testing.assert_array_equal(each.samples, sound[begin : begin + 50])
