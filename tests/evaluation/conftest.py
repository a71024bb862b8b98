"""Sounds of twelve pitches with a manifest, and the model that hears them."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from tone_model import ToneModel, write_tone

from wavtext.corpora.manifest import Clip, write_manifest


@pytest.fixture
def tone_model() -> ToneModel:
    return ToneModel()


@pytest.fixture
def tone_clips(tmp_path: Path) -> list[Clip]:
    return [
        Clip(
            clip_id=f"clip{pitch:02d}",
            path=write_tone(tmp_path / f"tone {pitch}.wav", pitch, seed=pitch),
            captions=(f"tone {pitch}", f"a tone of pitch {pitch}"),
            split="test",
        )
        for pitch in range(12)
    ]


@pytest.fixture
def tone_manifest(tone_clips: list[Clip], tmp_path: Path) -> Path:
    write_manifest(tmp_path / "tones.jsonl", tone_clips)
    return tmp_path / "tones.jsonl"
