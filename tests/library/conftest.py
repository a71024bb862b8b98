"""Synthesised sounds in a folder, and the stub model, for the library's tests."""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import soundfile

sys.path.insert(0, str(Path(__file__).parent))  # stub_model.py, also for child processes

from sound_factory import RATE, Write, synthesise
from stub_model import StubModel


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder in memory where the system has one: the library syncs every commit to the disk."""
    memory = Path("/dev/shm")
    place = memory if memory.is_dir() and os.access(memory, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


@pytest.fixture
def write_sound(tmp_path: Path) -> Write:
    """write_sound("a/b.wav", "hum", duration=1.0, seed=0) -> the file's path, below sounds/."""

    def write(name: str, kind: str, duration: float = 1.0, seed: int = 0) -> Path:
        path = tmp_path / "sounds" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, synthesise(kind, duration, seed), RATE)
        return path

    return write


@pytest.fixture
def sounds(write_sound: Write, tmp_path: Path) -> Path:
    """A folder of eight sounds, two of each kind."""
    for seed in range(2):
        for kind in ("hum", "tone", "whistle", "hiss"):
            write_sound(f"{kind}{seed}.wav", kind, seed=seed)
    return tmp_path / "sounds"


@pytest.fixture
def model() -> StubModel:
    return StubModel()
