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
