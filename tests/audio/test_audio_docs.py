"""The example of docs/audio.md runs."""

import re
from pathlib import Path

import soundfile

PAGE = Path(__file__).parents[2] / "docs" / "audio.md"


def test_the_example_of_the_audio_page_runs(tmp_path, monkeypatch, chirp):
    monkeypatch.chdir(tmp_path)
    soundfile.write("owl.flac", chirp(6.0, 48_000), 48_000)
    soundfile.write("night-of-ten-hours.wav", chirp(12.0, 8_000), 8_000)
    [example] = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict = {}
    exec(example, names)
    assert names["info"].duration == 6.0
    assert names["part"].duration == 1.5
    assert names["end"] == 12.0
    assert names["spectrogram"].shape == (5 * 44_100 // 320 + 1, 64)
